"""Who disturbs others in benchmarks/isolation.py; each can be switched on and off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from isolating.rig import Rig

import p2pdo
from p2pdo.driving.results import TaskStatus

DEADLINE = 8.0  # seconds for what crashes or leaks, where a machine hardly lets its worker start
KINDS = ("crash", "leak", "loop")
LIMITED = {kind: f"{kind}, limited" for kind in KINDS}
STRANGER = {kind: f"a stranger's {kind}" for kind in KINDS}
_LIVES = 4  # of processes, until their workload is given up
_PROGRAM = Path(__file__).with_name("stranger.py")


class Disturber(Protocol):
    times: int | None
    """How often it has failed, where it begins again."""

    async def on(self) -> None: ...
    async def off(self) -> None:
        """Returns when nothing of it is left that could disturb."""


class Switched:
    """A worker process that is at one task for ever, and heeds signals as switches."""

    times = None

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, place: Rig, name: str, prefix: str = "") -> AsyncIterator[Disturber]:
        async with place.net.driver(["n0"]) as driver:
            pid = (await driver.send_and_wait(f"{prefix}process", to="n0")).unwrap()
            await driver.send(f"{prefix}{name}", to="n0")
            yield cls(pid)

    async def on(self) -> None:
        os.kill(self._pid, signal.SIGUSR1)

    async def off(self) -> None:
        os.kill(self._pid, signal.SIGUSR2)


class Stranger:
    """A process group of its own, begun outside of p2pdo; stopped while it is off."""

    times = None

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, kind: str, nice: int) -> AsyncIterator[Disturber]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_PROGRAM), kind, str(nice)),
            start_new_session=True,
        )
        disturber = cls(process.pid)
        try:
            await disturber.off()
            yield disturber
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def on(self) -> None:
        os.killpg(self._pid, signal.SIGCONT)

    async def off(self) -> None:
        os.killpg(self._pid, signal.SIGSTOP)


class Repeated:
    """A task that fails, sent again and again; off when the last one has."""

    def __init__(self, place: Rig, name: str) -> None:
        self._place = place
        self._name = name
        self.times = 0
        self._on = asyncio.Event()
        self._idle = asyncio.Event()  # no task is under way
        self._idle.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, place: Rig, name: str) -> AsyncIterator[Disturber]:
        disturber = cls(place, name)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(disturber._repeat())
            yield disturber
            work.cancel()

    async def on(self) -> None:
        self._on.set()

    async def off(self) -> None:
        self._on.clear()
        if self._name == "loop_here":
            await self._place.nodes.ask("enough")
        await self._idle.wait()

    async def _repeat(self) -> None:
        while True:
            async with self._place.net.driver(["n0"]) as driver:
                for _ in range(_LIVES):
                    await self._once(driver)

    async def _once(self, driver: p2pdo.Tasks) -> None:
        while not self._on.is_set():  # it may be off again before this one wakes
            await self._on.wait()
        self._idle.clear()
        if self._name == "loop_here":
            await self._place.nodes.ask("loop")
        result = await driver.send_and_wait(self._name, to="n0", deadline=DEADLINE)
        self.times += result.status is TaskStatus.FAILED
        self._idle.set()


@contextlib.asynccontextmanager
async def disturbers(place: Rig, nice: int) -> AsyncIterator[dict[str, Disturber]]:
    async with contextlib.AsyncExitStack() as block:
        enter = block.enter_async_context
        yield {
            "control": await enter(Switched.started(place, "rest")),
            "crash": await enter(Repeated.started(place, "crash")),
            "leak": await enter(Repeated.started(place, "leak")),
            "loop": await enter(Switched.started(place, "loop")),
            LIMITED["crash"]: await enter(Repeated.started(place, "limited_crash")),
            LIMITED["leak"]: await enter(Repeated.started(place, "limited_leak")),
            LIMITED["loop"]: await enter(Switched.started(place, "loop", "limited_")),
            **{STRANGER[kind]: await enter(Stranger.started(kind, nice)) for kind in STRANGER},
            "loop here": await enter(Repeated.started(place, "loop_here")),
        }
