"""How fast one Lead Client serves many clients, over a real coordinator and real gRPC.

    python benchmarks/lead_client.py [--json]

Coordinator and node share this process and its event loop, so the figures include the
coordinator's own work (SQLite with full synchronisation). Half of the clients are created while
the others are busy. What is measured:

    at once    400 tasks for 100 clients, each handler sleeps 20 ms on its client's thread; the
               wall time against the longest client's own work
    paced      the same, each client's tasks 40 ms apart
    blocked    the same, with one more client blocked for 2 s: what do the others notice?
    no-op      tasks per second with asynchronous handlers that do nothing

Times are from the arrival of a task at the Lead Client to the start of its handler.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from p2pdo.transports import rpc  # before anything that imports grpc

# isort: split
from p2pdo.coordinator.service import serving
from p2pdo.node.control import Control, Identity
from p2pdo.node.executors import Executor, Handler, Task, WorkloadContext
from p2pdo.node.lead_client import LeadClient
from p2pdo.types import WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as pb, coordinator_pb2_grpc as pb_grpc

NODE = "n1"
SLEEP = 0.020
PACE = 0.040
WALL_BOUND = 1.3  # × the longest client's own work
START_BOUND = 0.010  # s from arrival to the handler's start, median and p95


@dataclass
class Book:
    """What happened at the node: per workload the numbers in order of their start, and when."""

    arrived: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    order: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    finished: int = 0

    def start(self, task: Task) -> None:
        self.started[task.task_id] = time.perf_counter()
        self.order[task.workload_id].append(task.number)

    def delays(self) -> list[float]:
        """From arrival to the handler's start; of a client's first waiting task only."""
        return sorted(self.started[task] - self.arrived[task] for task in self.started)


class Work(Executor):
    """Sleeps on its thread, or does nothing on the loop."""

    def __init__(self, _context: WorkloadContext, book: Book) -> None:
        self._book = book

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"sleep": self._sleep, "nothing": self._nothing}

    def _sleep(self, task: Task) -> object:
        self._book.start(task)
        time.sleep(task.payload)  # type: ignore[arg-type]
        return task.number

    async def _nothing(self, task: Task) -> object:
        self._book.order[task.workload_id].append(task.number)
        return task.number


class TimedLead:
    """Notes when tasks arrive at the Lead Client."""

    def __init__(self, lead: LeadClient, book: Book) -> None:
        self._lead = lead
        self._book = book
        self.stream_opened = lead.stream_opened

    @property
    def default_credit(self) -> int:
        return self._lead.default_credit

    def take_orders(self, tasks: Sequence[Task], ends: Sequence[tuple[WorkloadId, str]]) -> None:
        now = time.perf_counter()
        for task in tasks:
            self._book.arrived[task.task_id] = now
        self._lead.take_orders(tasks, ends)


class Rig:
    """One coordinator, one node, and a user of both."""

    def __init__(self, user: Any, book: Book) -> None:
        self.user = user
        self.book = book

    async def submit(self, count: int) -> list[str]:
        """Workloads of kind "tasks", as many as asked for."""
        spec = json.dumps({"kind": "tasks", "executor": "work", "nodes": [NODE]})
        replies = []
        for _ in range(count):
            request = pb.SubmitRequest(request_id=f"request {time.perf_counter_ns()}", spec=spec)
            replies.append(await self.user.Submit(request))
        return [reply.workload_id for reply in replies]

    async def send(self, workload: str, name: str, payload: Any, count: int = 1) -> None:
        task = pb.NewTask(node=NODE, name=name, payload=json.dumps(payload))
        await self.user.SendTasks(
            pb.SendTasksRequest(
                workload_id=workload,
                request_id=f"send {time.perf_counter_ns()}",
                tasks=[task] * count,
            )
        )

    async def results(self, workload: str, count: int) -> list[int]:
        """The first `count` results as the coordinator has them, in order of acceptance."""
        found: list[int] = []
        call = self.user.Watch(pb.WatchRequest(workload_id=workload))
        async for event in call:
            if event.WhichOneof("event") == "result":
                assert event.result.ok, event.result.payload
                found.append(json.loads(event.result.payload))
                if len(found) == count:
                    call.cancel()
                    return found
        raise AssertionError(f"{workload}: {len(found)} results of {count}")


@contextlib.asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    book = Book()
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(folder, "127.0.0.1:0"))
        control = Control(address, Identity(NODE, "127.0.0.1:1"))
        await stack.enter_async_context(control.joined(timeout=10))
        executors = {"work": lambda context: Work(context, book)}
        lead = LeadClient(NODE, executors, grant=control.grant, report=control.report)
        await stack.enter_async_context(lead.running())
        group = await stack.enter_async_context(asyncio.TaskGroup())
        serve = group.create_task(control.serve(TimedLead(lead, book)))
        channel = rpc.make_channel(address)
        try:
            yield Rig(pb_grpc.CoordinatorStub(channel), book)
        finally:
            serve.cancel()
            await channel.close()


async def sleepers(
    rig: Rig, *, clients: int, each: int, pace: float = 0.0, blocked: float = 0.0
) -> dict[str, list[int]]:
    """Sends `each` tasks to each client; half of the clients begin while the others work.

    Returns the results of each, and checks that nothing was lost or reordered.
    """
    names = await rig.submit(clients + 1)
    blocker = names.pop()
    async with asyncio.TaskGroup() as group:
        watches = {name: group.create_task(rig.results(name, each)) for name in names}
        if blocked:
            await rig.send(blocker, "sleep", blocked)
        for half in (names[: clients // 2], names[clients // 2 :]):
            for place, name in enumerate(half):
                group.create_task(_send(rig, name, each, pace, place / len(half)))
            await asyncio.sleep(0)
    results = {name: watch.result() for name, watch in watches.items()}
    for name, numbers in results.items():
        assert numbers == list(range(each)), f"{name}: {numbers}"
        assert rig.book.order[name] == list(range(each)), f"{name}: {rig.book.order[name]}"
    return results


async def _send(rig: Rig, name: str, each: int, pace: float, phase: float) -> None:
    if not pace:
        await rig.send(name, "sleep", SLEEP, each)
        return
    loop = asyncio.get_running_loop()
    begin = loop.time() + phase * pace
    for k in range(each):
        await asyncio.sleep(begin + k * pace - loop.time())
        await rig.send(name, "sleep", SLEEP)
