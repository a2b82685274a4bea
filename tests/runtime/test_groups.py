from __future__ import annotations

import asyncio
import contextlib

import pytest

from p2pdo.runtime.groups import task_group
from p2pdo.testing import clock


async def fail(error: Exception) -> None:
    raise error


def test_a_single_failure_is_raised_as_it_is_however_deep() -> None:
    async def main() -> None:
        async with task_group() as outer:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail(ValueError("deep")))
            outer.create_task(asyncio.sleep(1))

    with pytest.raises(ValueError, match="deep"):
        clock.run(main())


def test_several_failures_stay_a_group() -> None:
    async def main() -> None:
        async with task_group() as group:
            group.create_task(fail(ValueError("one")))
            group.create_task(fail(KeyError("two")))

    with pytest.raises(ExceptionGroup) as failures:
        clock.run(main())
    assert len(failures.value.exceptions) == 2


def test_without_a_failure_it_is_a_task_group() -> None:
    async def main() -> int:
        async with task_group() as group:
            task = group.create_task(asyncio.sleep(1, result=7))
        return task.result()

    assert clock.run(main()) == 7


def test_a_cancellation_that_meets_a_failing_group_is_not_forgotten() -> None:
    """Who tries again after every failure can be ended at any moment."""
    tries = 0

    async def try_for_ever() -> None:
        nonlocal tries
        while True:
            tries += 1
            with contextlib.suppress(ValueError):
                async with task_group() as group:
                    group.create_task(slow_to_go())
                    await asyncio.sleep(0.1)
                    raise ValueError("again")
            await asyncio.sleep(1)

    async def slow_to_go() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)

    async def main() -> None:
        trying = asyncio.create_task(try_for_ever())
        await asyncio.sleep(0.5)
        trying.cancel()  # while the failed group waits for its other task
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await trying

    clock.run(main())
    assert tries == 1


async def fail_when_told_to_end() -> None:
    try:
        await asyncio.sleep(100)
    finally:
        raise KeyError("on the way out")


def test_a_timeout_around_a_failing_group_leaves_nothing_behind() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), task_group() as group:
                group.create_task(fail_when_told_to_end())
        await asyncio.sleep(1)  # nobody has cancelled this

    clock.run(main())


def test_a_group_in_a_failing_group_leaves_nothing_behind() -> None:
    async def groups() -> None:
        async with task_group() as outer:
            outer.create_task(fail(ValueError("outer")))
            async with task_group() as inner:
                inner.create_task(fail_when_told_to_end())

    async def main() -> None:
        with pytest.raises(ValueError, match="outer"):
            await groups()
        await asyncio.sleep(1)

    clock.run(main())


def test_a_task_that_fails_at_the_end_of_its_group_cancels_nobody() -> None:
    async def fail_late() -> None:
        await asyncio.sleep(1)
        raise ValueError("late")

    async def main() -> tuple[int, float]:
        with contextlib.suppress(ValueError):
            async with task_group() as group:
                group.create_task(fail_late())
                group.create_task(asyncio.sleep(100))
        await asyncio.sleep(5)
        life = asyncio.current_task()
        assert life is not None
        return life.cancelling(), asyncio.get_running_loop().time()

    assert clock.run(main()) == (0, 6.0)
