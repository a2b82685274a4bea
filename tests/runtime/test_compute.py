from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from p2pdo.algorithms.consensus import Consensus
from p2pdo.errors import LocalProtocolError, WorkloadFailed
from p2pdo.problems.combined import Scaled
from p2pdo.problems.quadratic import Quadratic
from p2pdo.runtime.compute import (
    LONG,
    TRIED,
    TRIED_MOST,
    ShortInPlace,
    ThreadCompute,
    may_be_in_place,
)
from p2pdo.types import Array


@pytest.mark.asyncio
async def test_a_thread_that_cannot_be_started_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    compute = ThreadCompute("workload w1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(WorkloadFailed, match="workload w1: can't start new thread"):
            await compute.run(list, "lost")

    assert await compute.run(list, "ok") == ["o", "k"]
    compute.close()


# ---- in place, where it is short ----


class Script:
    """Steps that take as long as it says, by a clock that goes on only in them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_loop: list[float] = []
        self.loop_thread = threading.get_ident()

    def clock(self) -> float:
        return self.now

    def step(self, seconds: float) -> float:
        self.now += seconds
        if threading.get_ident() == self.loop_thread:
            self.on_loop.append(seconds)
        return seconds


async def steps_on_loop(durations: Sequence[float]) -> list[float]:
    """Those of the steps that were taken in place."""
    script = Script()
    compute = ShortInPlace(ThreadCompute("w"), script.clock)
    for seconds in durations:
        assert await compute.run(script.step, seconds) == seconds
    compute.close()
    return script.on_loop


SHORT, TOO_LONG = LONG / 100, LONG * 1000


@pytest.mark.asyncio
async def test_steps_are_taken_in_place_once_they_have_shown_to_be_short() -> None:
    assert await steps_on_loop([SHORT] * (TRIED + 5)) == [SHORT] * 5


@pytest.mark.asyncio
async def test_a_long_step_on_the_thread_begins_the_trial_anew() -> None:
    assert await steps_on_loop([SHORT] * (TRIED - 1) + [TOO_LONG] + [SHORT] * TRIED) == []


@pytest.mark.asyncio
async def test_after_one_long_step_in_place_the_next_are_on_the_thread_at_once() -> None:
    trial = [SHORT] * TRIED
    found = await steps_on_loop([*trial, TOO_LONG, *trial, *trial, SHORT, SHORT])
    assert found == [TOO_LONG, SHORT, SHORT]


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(5))
async def test_however_steps_vary_few_that_are_long_hold_the_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rarely = rng.random(20_000) < rng.uniform(0.001, 0.1)
    on_loop = await steps_on_loop([TOO_LONG if long else SHORT for long in rarely])
    doublings = (TRIED_MOST // TRIED).bit_length()
    assert sum(s == TOO_LONG for s in on_loop) <= doublings + len(rarely) / TRIED_MOST


@pytest.mark.asyncio
async def test_the_loop_has_its_turn_between_steps_that_never_wait() -> None:
    script = Script()
    compute = ShortInPlace(ThreadCompute("w"), script.clock)
    turns: list[float] = []

    async def other() -> None:
        while True:
            turns.append(script.now)
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    for _ in range(TRIED):
        await compute.run(script.step, SHORT)
    turns.clear()
    for _ in range(5000):
        await compute.run(script.step, LONG / 10)
    running.cancel()
    compute.close()
    assert max(np.diff(turns)) <= 1.2 * LONG


@pytest.mark.asyncio
async def test_what_a_step_in_place_raises_is_raised_to_its_caller() -> None:
    compute = ShortInPlace(ThreadCompute("w"), lambda: 0.0)
    for _ in range(TRIED):
        await compute.run(int)
    with pytest.raises(ValueError, match="invalid literal"):
        await compute.run(int, "x")
    assert await compute.run(threading.get_ident) == threading.get_ident()
    compute.close()


class Users(Quadratic):
    """It may do anything in its gradient."""


class SaysSo(Quadratic):
    in_place = True


class UsersMethod(Consensus):
    """So may this."""


def test_only_code_that_says_so_shares_the_thread_of_the_loop() -> None:
    matrices = np.eye(2), np.ones(2)
    assert may_be_in_place(Consensus(), Quadratic(*matrices))
    assert may_be_in_place(Consensus(), SaysSo(*matrices))
    assert not may_be_in_place(Consensus(), Users(*matrices))
    assert not may_be_in_place(UsersMethod(), Quadratic(*matrices))
    assert not may_be_in_place(Consensus(), Scaled(Users(*matrices), 2.0))


@pytest.mark.asyncio
async def test_a_workload_computes_on_one_thread_of_its_own_that_ends_when_idle() -> None:
    import threading

    compute = ThreadCompute("w", idle=0.05)
    threads = {await compute.run(threading.get_ident) for _ in range(20)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    (thread,) = [t for t in threading.enumerate() if t.ident in threads]
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert await compute.run(threading.get_ident) is not None  # a new one
    compute.close()
    with pytest.raises(LocalProtocolError, match="after close"):
        await compute.run(threading.get_ident)


@pytest.mark.asyncio
async def test_what_a_computation_raises_is_raised_to_its_caller() -> None:
    compute = ThreadCompute("w")

    def stops() -> None:
        raise StopIteration("x")

    def fails() -> None:
        raise KeyError("boom")

    with pytest.raises(LocalProtocolError, match="left a computation"):
        await compute.run(stops)
    with pytest.raises(KeyError, match="boom"):
        await compute.run(fails)
    compute.close()


@pytest.mark.asyncio
async def test_a_caller_that_is_cancelled_does_not_break_the_thread() -> None:
    import threading

    compute, gate = ThreadCompute("w"), threading.Event()
    waiting = asyncio.create_task(compute.run(gate.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    assert await compute.run(sum, [1, 2]) == 3
    compute.close()


@pytest.mark.asyncio
async def test_a_waiting_thread_keeps_nothing_of_what_it_has_computed_with() -> None:
    import threading

    compute, gone = ThreadCompute("w"), threading.Event()
    value = np.zeros(1)
    weakref.finalize(value, gone.set)
    assert await compute.run(len, value) == 1
    del value
    assert await asyncio.to_thread(gone.wait, 10)
    compute.close()


@pytest.mark.asyncio
async def test_a_computation_that_fails_lets_go_of_what_it_was_given_once_it_is_told() -> None:
    import threading

    def fails(_: Array) -> None:
        raise KeyError("boom")

    compute, gone = ThreadCompute("w"), threading.Event()
    value = np.zeros(1)
    weakref.finalize(value, gone.set)
    gc.disable()
    try:
        with contextlib.suppress(KeyError):
            await compute.run(fails, value)
        del value
        assert await asyncio.to_thread(gone.wait, 10)
    finally:
        gc.enable()
        compute.close()
