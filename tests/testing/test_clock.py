from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import selectors
import time
from typing import Any

import pytest

from p2pdo.simulation.clock import running_loop
from p2pdo.testing import clock


def test_an_hour_takes_no_time_and_is_exact() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert clock.run(main()) == 3600
    assert time.perf_counter() - began < 1


def test_timers_fire_in_order_of_time() -> None:
    async def main() -> list[float]:
        fired: list[float] = []

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append(seconds)

        async with asyncio.TaskGroup() as group:
            for seconds in (3.0, 0.5, 100.0, 2.0):
                group.create_task(after(seconds))
        return fired

    assert clock.run(main()) == [0.5, 2.0, 3.0, 100.0]


def test_a_timeout_is_met_at_its_very_moment() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.25):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert clock.run(main()) == 7.25


def test_a_wait_that_nobody_can_end_is_a_deadlock_that_names_who_waits() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="the forgotten one")

    with pytest.raises(clock.Deadlock, match="the forgotten one"):
        clock.run(main())


def test_time_stands_still_while_something_is_ready() -> None:
    async def main() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert clock.run(main()) == 0


class OfAsyncio(asyncio.SelectorEventLoop):
    """Time that jumps under asyncio's own turn."""

    def __init__(self) -> None:
        self.now = 0.0
        loop = self

        class Jumping(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Jumping())

    def time(self) -> float:
        return self.now


@pytest.mark.parametrize("seed", range(5))
def test_calls_come_in_the_order_of_asyncios_own_loop_also_at_equal_times(seed: int) -> None:
    def order(loop: asyncio.AbstractEventLoop) -> list[tuple[float, int]]:
        rng, numbers = random.Random(seed), itertools.count()  # noqa: S311
        came: list[tuple[float, int]] = []
        timers: list[asyncio.TimerHandle] = []

        def call(number: int) -> None:
            came.append((loop.time(), number))
            for _ in range(rng.choice((0, 1, 2)) if len(came) < 900 else 0):
                if rng.random() < 0.2:
                    loop.call_soon(call, next(numbers))
                else:  # few times, so many are equal
                    delay = rng.choice((0.0, 0.1, 0.2, 0.3))
                    timers.append(loop.call_later(delay, call, next(numbers)))
            if timers and rng.random() < 0.4:
                timers[rng.randrange(len(timers))].cancel()

        with contextlib.closing(loop):
            timers += [
                loop.call_later(rng.choice((1.0, 1.1)), call, next(numbers)) for _ in range(400)
            ]
            for timer in timers[::3] + timers[1::3]:  # so many that they are cleared out
                timer.cancel()
            loop.call_later(50, loop.stop)
            loop.run_forever()
        return came

    ours = order(clock.VirtualTimeLoop())
    assert len(ours) > 100
    assert ours == order(OfAsyncio())


def test_what_is_posted_comes_among_the_timers_in_the_order_of_time() -> None:
    came: list[object] = []

    async def main() -> None:
        loop = running_loop()
        loop.call_later(2, came.append, "timer")
        loop.post(1.0, lambda: came.append(loop.time()))
        loop.post(3.0, lambda: came.append(loop.time()))
        loop.post_soon(lambda: came.append("soon"))
        await asyncio.sleep(4)

    clock.run(main())
    assert came == ["soon", 1.0, "timer", 3.0]
