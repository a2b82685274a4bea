"""Clients of workloads whose executor runs in worker processes, and what tests do with these."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import worker_site

from p2pdo.node.client import ClientActor
from p2pdo.node.executors import Result, Task, tasks_of
from p2pdo.node.workers.executor import worker_executor
from p2pdo.node.workers.spec import Part, WorkerSpec
from p2pdo.node.workplace import Workplace
from p2pdo.types import TaskId, WorkloadId
from p2pdo.wire.plain import decode_data

HELPERS = Path(__file__).parent
TASKS = list(tasks_of(worker_site.Site))
COUNTER = {"counter": Part("worker_site:Counter", {"start": 7})}


def spec(**settings: Any) -> WorkerSpec:
    given = {"name": "trainer", "path": "worker_site:Site", "tasks": TASKS, "processes": 2}
    return WorkerSpec(**{**given, **settings})


class Client:
    """A workload's client at a node that offers one executor in worker processes."""

    def __init__(self, spec: WorkerSpec, **offers: Any) -> None:
        self.results: asyncio.Queue[Result] = asyncio.Queue()
        self._sent = 0
        self.actor = ClientActor(
            "n1",
            WorkloadId("w/1"),
            "trainer",
            Workplace({"trainer": worker_executor(spec)}, **offers),
            took=lambda _: None,
            finished=self.results.put_nowait,
            inbox=8,
        )

    async def send(self, name: str, payload: Any = None) -> TaskId:
        task_id = TaskId(f"t-{self._sent}")
        task = Task(task_id, WorkloadId("w/1"), "trainer", name, self._sent, 1, payload)
        self._sent += 1
        await self.actor.ref.tell(task)
        return task_id

    async def answer(self) -> Any:
        async with asyncio.timeout(20):
            return decode_data(json.loads((await self.results.get()).payload))

    async def do(self, name: str, payload: Any = None) -> Any:
        await self.send(name, payload)
        return await self.answer()

    async def pids(self) -> list[int]:
        """Of rank 0's group: itself and its siblings."""
        pid = (await self.do("where"))["pid"]
        return sorted(child.pid for child in psutil.Process(pid).parent().children())


@contextlib.asynccontextmanager
async def client(spec: WorkerSpec, **offers: Any) -> AsyncIterator[Client]:
    opened = Client(spec, **offers)
    async with opened.actor.running():
        yield opened


async def read(path: Path) -> int:
    return int(await asyncio.to_thread(path.read_text))


class Watched:
    """Processes whose end can be waited for, whoever their parent is."""

    def __init__(self, pids: list[int]) -> None:
        self._fds = [os.pidfd_open(pid) for pid in pids]

    def have_ended(self, within: float = 10) -> bool:
        ready = [bool(select.select([fd], [], [], within)[0]) for fd in self._fds]
        for fd in self._fds:
            os.close(fd)
        return all(ready)


def my_children() -> Iterator[int]:
    return (child.pid for child in psutil.Process().children(recursive=True))


def wait_until_stopped(pid: int) -> None:
    """Waits for the next time that a child of this process stands still."""
    os.waitid(os.P_PID, pid, os.WSTOPPED)
