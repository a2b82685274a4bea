from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from p2pdo.algorithms.consensus import Consensus
from p2pdo.errors import WorkloadFailed
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
