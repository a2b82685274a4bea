from __future__ import annotations

import asyncio
import time

import pytest

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
