"""Who is disturbed in benchmarks/isolation.py: a run and a driver, and what they get done."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from isolating.rig import NODES, Rig

import p2pdo

TASK_PAUSE = 0.008  # seconds between two tasks


@dataclass(frozen=True)
class Reading:
    """What was done and used up to now; all of it grows.

    Attributes:
        seconds: by the nodes' clock.
        cpu: seconds of the nodes' process.
        busy: seconds of all cores of the machine together; 0 where it does not tell.
    """

    seconds: float
    cpu: float
    busy: float
    rounds: int
    tasks: int


@dataclass(frozen=True)
class Rates:
    """What a window came to: per second, and CPU seconds of the nodes per round."""

    rounds: float
    tasks: float
    cpu: float
    busy_cores: float
    node_cores: float

    @classmethod
    def between(cls, first: Reading, last: Reading) -> Rates:
        seconds = last.seconds - first.seconds
        rounds = max(last.rounds - first.rounds, 1)
        cpu = last.cpu - first.cpu
        return cls(
            rounds / seconds,
            max(last.tasks - first.tasks, 1) / seconds,
            cpu / rounds,
            (last.busy - first.busy) / seconds,
            cpu / seconds,
        )


class Victims:
    """Two workloads that go on all the time."""

    def __init__(self, place: Rig) -> None:
        self._place = place
        self._tasks = 0

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        net = self._place.net
        run = await net.submit("gradient-tracking", "counted", nodes=NODES, rounds=10**9)
        async for metric in run.metrics():
            if metric.iteration:
                break
        async with net.driver(["n0"]) as driver, asyncio.TaskGroup() as group:
            working = group.create_task(self._work(driver))
            yield
            working.cancel()
        await run.stop()

    async def _work(self, driver: p2pdo.Tasks) -> None:
        while True:
            (await driver.send_and_wait("nothing", to="n0")).unwrap()
            self._tasks += 1
            await asyncio.sleep(TASK_PAUSE)

    async def read(self) -> Reading:
        seconds, cpu, rounds = await self._place.nodes.ask("work")
        return Reading(seconds, cpu, busy_seconds(), rounds, self._tasks)

    async def rates(self, seconds: float) -> Rates:
        first = await self.read()
        await asyncio.sleep(seconds)
        return Rates.between(first, await self.read())


def busy_seconds() -> float:
    """For which the machine's cores were not idle, since it was started; 0 where nobody tells."""
    try:
        times = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = (int(time) for time in times)
    ticks = user + nice + system + interrupts + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")
