"""kill -9 of a driver and of the coordinator: real processes, and nodes in this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.wire.v1 import coordinator_pb2 as pb

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

COORDINATOR = "from p2pdo.coordinator.daemon import main; main()"
SHOW = "from p2pdo.cli import main; main()"
DRIVER = """
import asyncio, sys, p2pdo
async def main():
    async with p2pdo.connect(sys.argv[1]) as net, net.driver() as tasks:
        await tasks.broadcast("hold")
        print(tasks.workload_id, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


class Work(p2pdo.Executor):
    def __init__(self, ended: asyncio.Event | None = None) -> None:
        self.ended = ended or asyncio.Event()

    @p2pdo.task
    def echo(self, task: p2pdo.Task) -> object:
        return task.payload

    @p2pdo.task
    async def hold(self, _task: p2pdo.Task) -> object:
        await asyncio.Event().wait()
        return None

    async def close(self) -> None:
        self.ended.set()


class Process:
    """A coordinator that is killed and started again, at one address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self.address = "127.0.0.1:0"

    async def start(self) -> None:
        arguments = ["--listen", self.address, "--state", str(self._folder), "--insecure"]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COORDINATOR, *arguments, *self._options),
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.address = (await self._process.stdout.readline()).decode().split()[-1]

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()


@contextlib.asynccontextmanager
async def network(
    folder: Path, work: Work, *options: str
) -> AsyncIterator[tuple[Process, p2pdo.RemoteNetwork]]:
    coordinator = Process(folder / "coordinator", *options)
    await coordinator.start()
    try:
        async with (
            running_nodes(["a", "b"], coordinator.address, folder, executors={"w": lambda: work}),
            p2pdo.connect(coordinator.address) as net,
        ):
            yield coordinator, net
    finally:
        await coordinator.kill()


async def test_every_result_comes_once_although_the_coordinator_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(tmp_path, Work()) as (coordinator, net):
        watch, told, connections = net.client.watch, [], []

        async def counted(workload: str, seen: int) -> AsyncIterator[pb.WorkloadEvent]:
            connections.append(seen)
            async for event in watch(workload, seen):
                if event.HasField("result"):
                    told.append(event.result.task_id)
                yield event

        monkeypatch.setattr(net.client, "watch", counted)
        values: list[int] = []
        async with net.driver() as tasks:
            for turn in range(3):
                sent = [await tasks.send("echo", turn * 100 + i, to="ab"[i % 2]) for i in range(60)]
                values += [(await future).value for future in sent[:20]]
                await coordinator.kill()
                await coordinator.start()
                values += [(await future).value for future in sent[20:]]
        assert values == [turn * 100 + i for turn in range(3) for i in range(60)]
        assert len(told) == len(set(told)) == 180
        assert connections == sorted(connections)
        assert len(connections) >= 4
        assert connections[1] >= 20


async def test_a_driver_that_is_killed_leaves_nothing_and_show_says_why(tmp_path: Path) -> None:
    work = Work()
    async with network(tmp_path, work, "--driver-grace", "1") as (coordinator, net):
        driver = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DRIVER, coordinator.address), stdout=subprocess.PIPE
        )
        assert driver.stdout is not None
        workload = (await driver.stdout.readline()).decode().strip()
        assert (await net.client.workload(workload)).status == "running"
        driver.kill()
        await driver.communicate()
        await work.ended.wait()  # the nodes have let go of it
        shown = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SHOW, "show", workload, "--json"),
            *("--coordinator", coordinator.address),
            stdout=subprocess.PIPE,
        )
        answer = json.loads((await shown.communicate())[0])["data"]
        assert answer["status"] == "stopped"
        assert "nobody has watched it for 1 s: its driver is gone" in answer["error"]["message"]
