"""A function that waits in the middle for the loop: on a thread, and in turns with virtual time."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from p2pdo.errors import WorkloadStopped
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.runtime.foreign import Exited
from p2pdo.runtime.stages import ThreadStage, TurnStage
from p2pdo.testing import clock

LIMIT = 30


async def double(x: int) -> int:
    await asyncio.sleep(0.01)
    if x < 0:
        raise ValueError(x)
    return 2 * x


def add_up(wait_for: Any) -> list[int]:
    found = []
    for x in (1, -1, 3):
        try:
            found.append(wait_for(lambda x=x: double(x)))
        except ValueError as error:
            found.append(error.args[0])
    return found


@pytest.mark.asyncio
async def test_what_is_waited_for_is_given_or_raised() -> None:
    compute = ThreadCompute("w")
    try:
        assert await ThreadStage(compute).run(add_up) == [2, -1, 6]
    finally:
        compute.close()


@pytest.mark.asyncio
async def test_an_exit_on_the_thread_is_a_failure_and_not_the_loops_end() -> None:
    compute = ThreadCompute("w")
    try:
        with pytest.raises(Exited, match="SystemExit: 3"):
            await compute.run(sys.exit, 3)
        assert await compute.run(abs, -1) == 1
    finally:
        compute.close()


def test_in_virtual_time_nothing_happens_while_it_computes() -> None:
    times: list[float] = []

    async def tick() -> None:
        while True:
            times.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.004)

    async def main() -> list[int]:
        ticking = asyncio.create_task(tick())
        try:
            return await TurnStage().run(add_up)
        finally:
            ticking.cancel()

    first, again = clock.run(main()), times.copy()
    times.clear()
    assert clock.run(main()) == first == [2, -1, 6]
    assert times == again, "two runs take the same steps"


@pytest.mark.parametrize("stage", ["thread", "turns"])
def test_its_own_failure_is_raised(stage: str) -> None:
    def fails(wait_for: Any) -> None:
        wait_for(lambda: double(1))
        raise KeyError("mine")

    async def main() -> None:
        compute = ThreadCompute("w")
        try:
            await (ThreadStage(compute) if stage == "thread" else TurnStage()).run(fails)
        finally:
            compute.close()

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())


@pytest.mark.asyncio
async def test_when_it_is_cancelled_every_wait_raises_and_it_is_waited_for() -> None:
    compute = ThreadCompute("w")
    waiting, told = threading.Event(), []

    async def never() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def persists(wait_for: Any) -> None:
        for _ in range(3):
            try:
                wait_for(never)
            except WorkloadStopped as error:
                told.append(error.code)

    async with asyncio.timeout(LIMIT):
        running = asyncio.create_task(ThreadStage(compute).run(persists))
        await asyncio.to_thread(waiting.wait, LIMIT)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    compute.close()
    assert told == ["workload-stopped"] * 3


@pytest.mark.asyncio
async def test_a_wait_that_is_cancelled_before_it_began_raises_too() -> None:
    compute = ThreadCompute("w")
    ended = threading.Event()

    def asks(wait_for: Any) -> None:
        try:
            while True:
                wait_for(lambda: asyncio.sleep(0))
        finally:
            ended.set()

    for _ in range(50):
        ended.clear()
        running = asyncio.create_task(ThreadStage(compute).run(asks))
        await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
        assert ended.is_set()
    compute.close()


@pytest.mark.asyncio
async def test_one_that_does_not_wait_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pdo.runtime.stages._GRACE", 0.01)
    compute = ThreadCompute("w")
    go_on, began, told = threading.Event(), threading.Event(), []

    def computes(wait_for: Any) -> None:
        began.set()
        go_on.wait(LIMIT)
        try:
            wait_for(lambda: double(1))
        except WorkloadStopped:
            told.append("over")

    running = asyncio.create_task(ThreadStage(compute).run(computes))
    await asyncio.to_thread(began.wait, LIMIT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    go_on.set()
    await compute.run(lambda: None)  # behind it on its thread
    compute.close()
    assert told == ["over"]
