"""A node that is killed in the middle of a driver's tasks, and started again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


class Holder(p2pdo.Executor):
    def __init__(self, entered: asyncio.Event) -> None:
        self.entered = entered

    @p2pdo.task
    async def hold(self, _task: p2pdo.Task) -> object:
        self.entered.set()
        await asyncio.Event().wait()
        return None

    @p2pdo.task
    def echo(self, task: p2pdo.Task) -> object:
        return task.payload


class Node:
    """One that can be killed: it says no goodbye, and what it had is gone."""

    def __init__(self, address: str, folder: Path) -> None:
        self.entered = asyncio.Event()
        self._address = address
        self._folder = folder
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        up = asyncio.Event()
        self._life = asyncio.create_task(self._run(up))
        await up.wait()

    async def _run(self, up: asyncio.Event) -> None:
        executors = {"holder": lambda: Holder(self.entered)}
        async with running_nodes(["a"], self._address, self._folder, executors=executors):
            up.set()
            await asyncio.Event().wait()

    async def kill(self) -> None:
        assert self._life is not None
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life


async def test_what_was_aborted_stays_so_and_the_rest_is_done_by_its_successor(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        p2pdo.connect(address) as net,
    ):
        node = Node(address, tmp_path)
        await node.start()
        async with net.driver(["a"]) as tasks:
            held = await tasks.send("hold", to="a")
            await node.entered.wait()
            many = [await tasks.send("echo", i, to="a") for i in range(100)]
            await tasks.abort(many[1::2], "not needed")  # before it is killed; it holds the first
            await node.kill()
            await tasks.abort([held, *many[2::4]], "not needed")  # while nobody is there
            await node.start()
            assert (await held).status == "aborted"
            told = str((await held).error)
            assert "not needed; " in told
            assert "the node" in told
            results = [await one for one in many]
            assert [i for i, result in enumerate(results) if result.is_ok] == list(range(0, 100, 4))
            assert all(result.value == i for i, result in enumerate(results) if result.is_ok)
            assert {result.status for result in results if not result.is_ok} == {"aborted"}
            assert (await tasks.send_and_wait("echo", 7, to="a")).value == 7  # credit is whole
            again = await tasks.send("hold", to="a")
            assert (await tasks.send_and_wait("hold", to="a", deadline=0.01)).status == "aborted"
            await tasks.abort([again], "enough")
            assert (await again).status == "aborted"
        await node.kill()
