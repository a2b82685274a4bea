"""What worker processes may use: the bucket, and who holds them to it, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.node.workers.allowance import LOOK, PERIOD, Allowance, next_look
from p2pdo.node.workers.limit import CpuLimit
from p2pdo.testing import clock

shares = st.floats(0.01, 8.0)
steps = st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0)), max_size=50)


# ---- the bucket ----


@given(shares, steps)
def test_what_is_used_is_never_more_than_what_was_earned_and_what_is_owed(
    share: float, steps: list[tuple[float, float]]
) -> None:
    bucket = Allowance(share)
    for seconds, used in steps:
        bucket = bucket.after(bucket.at + seconds, used)
        assert bucket.credit <= share * PERIOD
    total = sum(used for _, used in steps)
    owed = max(-bucket.credit, 0.0)
    assert total <= share * bucket.at + owed + 1e-9 * (1 + total)


@given(shares, steps)
def test_after_its_rest_the_bucket_is_full_and_not_before(
    share: float, steps: list[tuple[float, float]]
) -> None:
    bucket = Allowance(share)
    for seconds, used in steps:
        bucket = bucket.after(bucket.at + seconds, used)
        assert (bucket.rest > 0) == (bucket.credit < 0)
        if rest := bucket.rest:
            full = share * PERIOD
            assert bucket.after(bucket.at + rest, 0.0).credit == pytest.approx(full, rel=1e-6)
            assert bucket.after(bucket.at + rest / 2, 0.0).credit < full


@given(shares, st.lists(st.floats(0.001, 1.0), max_size=50), st.floats(0.0, 1.0))
def test_who_uses_less_than_its_share_never_rests(
    share: float, times: list[float], part: float
) -> None:
    bucket = Allowance(share)
    for seconds in times:
        bucket = bucket.after(bucket.at + seconds, part * share * seconds * (1 - 1e-9))
        assert bucket.credit > -1e-12


@given(shares, steps, st.floats(0.0, 1.0))
def test_a_look_more_changes_nothing_for_who_is_overdrawn(
    share: float, steps: list[tuple[float, float]], cut: float
) -> None:
    """Looks at any times give the same credit, as long as the bucket does not run over."""
    bucket = Allowance(share, credit=-1e6)
    once = twice = bucket
    for seconds, used in steps:
        once = once.after(once.at + seconds, used)
        twice = twice.after(twice.at + cut * seconds, cut * used)
        twice = twice.after(once.at, (1 - cut) * used)
    assert twice.credit == pytest.approx(once.credit, rel=1e-9)


def test_who_does_nothing_is_looked_at_more_and_more_seldom() -> None:
    waits = [LOOK]
    while len(waits) < 2 or waits[-1] != waits[-2]:
        waits.append(next_look(waits[-1], 0.0))
    assert waits == sorted(waits)
    assert waits[-1] == 1.0
    assert next_look(waits[-1], 0.01) == LOOK


# ---- who holds them to it ----


@dataclass
class Busy:
    """A process of some threads; computes while it is to and is let."""

    pid: int
    threads: int
    wants: bool = True
    runs: bool = True
    used: float = 0.0
    stops: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    gone_on: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def pass_to_now(self) -> float:
        now = asyncio.get_running_loop().time()
        if self.wants and self.runs:
            self.used += self.threads * (now - self._since)
        self._since = now
        return self.used

    def want(self, is_wanted: bool) -> None:
        self.pass_to_now()
        self.wants = is_wanted

    def stop(self) -> None:
        self.pass_to_now()
        self.stops += self.runs
        self.runs = False
        self.stopped.set()
        self.gone_on.clear()

    def go_on(self) -> None:
        self.pass_to_now()
        self.runs = True
        self.stopped.clear()
        self.gone_on.set()


class LateMeter:
    """Reads them all, after a delay that differs."""

    def __init__(self, processes: Sequence[Busy], longest: float = 0.0, seed: int = 0) -> None:
        self._processes = processes
        self._chance = np.random.default_rng(seed)
        self._longest = longest

    async def read(self, leaders: Sequence[int]) -> float:
        assert list(leaders) == [process.pid for process in self._processes]
        await asyncio.sleep(self._chance.uniform(0.0, self._longest))
        return sum(process.pass_to_now() for process in self._processes)

    def close(self) -> None:
        self._processes = []


@contextlib.asynccontextmanager
async def held(
    processes: Sequence[Busy], share: float, *, late: float = 0.0, seed: int = 0
) -> AsyncIterator[CpuLimit]:
    limit = CpuLimit("they", share, lambda: LateMeter(processes, late, seed))
    async with held_to(limit, processes):
        yield limit


@contextlib.asynccontextmanager
async def held_to(limit: CpuLimit, processes: Sequence[Busy]) -> AsyncIterator[None]:
    holding = asyncio.create_task(limit.hold(processes))
    yield
    holding.cancel()
    await asyncio.wait({holding})
    assert holding.cancelled()
    assert all(process.runs for process in processes)


async def used_by(processes: Sequence[Busy], share: float, seconds: float, **how: float) -> float:
    """CPU seconds that they get out of a limit."""
    async with held(processes, share, **how):  # type: ignore[arg-type]
        await asyncio.sleep(seconds)
        return sum(process.pass_to_now() for process in processes)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_they_do_they_get_their_share_and_no_more(seed: int) -> None:
    chance = np.random.default_rng(seed)
    share, threads = chance.uniform(0.02, 0.9), int(chance.choice([1, 1, 2, 8]))
    late, seconds = float(chance.choice([0.0, 0.05])), 200.0

    async def be_moody(process: Busy) -> None:
        while True:
            process.want(is_wanted=chance.random() < 0.7)
            await asyncio.sleep(chance.exponential())

    async def main() -> tuple[float, int]:
        processes = [Busy(pid, threads) for pid in range(int(chance.choice([1, 3])))]
        moods = [asyncio.create_task(be_moody(process)) for process in processes]
        used = await used_by(processes, share, seconds, seed=seed, late=late)
        for mood in moods:
            mood.cancel()
        return used, threads * len(processes)

    used, parallel = clock.run(main())
    unseen = parallel * (1.0 + late)  # the longest look
    assert used <= share * (seconds + PERIOD) + unseen
    assert used > 0.3 * share * seconds  # it wants to most of the time


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("late", [0.0, 0.03])
def test_who_takes_all_that_it_gets_gets_its_share(share: float, late: float) -> None:
    async def main() -> float:
        return await used_by([Busy(1, 1)], share, 100.0, late=late)

    assert clock.run(main()) == pytest.approx(100 * share, rel=0.05)


def test_who_does_less_is_never_stopped() -> None:
    async def work(process: Busy) -> None:
        await asyncio.sleep(PERIOD)  # the bucket is empty at first
        while True:  # a tenth of a core, by little
            process.want(is_wanted=True)
            await asyncio.sleep(0.01)
            process.want(is_wanted=False)
            await asyncio.sleep(0.09)

    async def main() -> None:
        process = Busy(1, 1, wants=False)
        working = asyncio.create_task(work(process))
        used = await used_by([process], 0.2, 50.0)
        working.cancel()
        assert process.stops == 0
        assert used == pytest.approx(5.0, rel=0.05)

    clock.run(main())


def test_all_ranks_share_what_there_is_and_stand_still_together() -> None:
    async def main() -> None:
        ranks = [Busy(pid, 1) for pid in range(4)]
        assert await used_by(ranks, 1.0, 50.0) == pytest.approx(50.0, rel=0.05)
        assert len({rank.stops for rank in ranks}) == 1
        assert ranks[0].stops > 100

    clock.run(main())


def test_the_limit_holds_over_processes_that_come_after_each_other() -> None:
    """Each lives for less than the time between two looks, so nobody ever reads what it used."""

    async def main() -> float:
        used = 0.0
        alive: list[Busy] = []
        limit = CpuLimit("they", 0.2, lambda: LateMeter(alive))
        loop = asyncio.get_running_loop()
        while loop.time() < 60:
            alive = [Busy(1, 1)]
            async with held_to(limit, alive):
                await asyncio.sleep(0)
                if not alive[0].runs:
                    await alive[0].gone_on.wait()
                await asyncio.sleep(0.9 * LOOK)
                used += alive[0].pass_to_now()
        return used / loop.time()

    assert 0.15 < clock.run(main()) < 0.21


def test_one_who_is_told_to_end_runs_at_once_and_what_it_uses_is_owed() -> None:
    async def main() -> None:
        process = Busy(1, 1)
        async with held([process], 0.1) as limit:
            await process.stopped.wait()
            with limit.lifted():
                await asyncio.wait_for(process.gone_on.wait(), 1e-6)
                stops = process.stops
                await asyncio.sleep(2)
                assert process.stops == stops
            before = process.pass_to_now()
            await asyncio.sleep(15)  # it has used its share of 20 seconds
            assert process.pass_to_now() - before < 2 * LOOK

    clock.run(main())


def test_one_that_starts_while_others_stand_still_stands_still_too() -> None:
    async def main() -> None:
        processes = [Busy(1, 1)]
        async with held(processes, 0.01) as limit:
            await processes[0].stopped.wait()
            processes.append(Busy(2, 1))
            limit.look()
            await asyncio.wait_for(processes[1].stopped.wait(), 1e-6)

    clock.run(main())


def test_an_idle_one_that_gets_work_is_looked_at_at_once() -> None:
    async def main() -> None:
        process = Busy(1, 1, wants=False)
        async with held([process], 0.1) as limit:
            await asyncio.sleep(20.3)
            process.want(is_wanted=True)
            limit.look()
            await asyncio.wait_for(process.stopped.wait(), 2 * LOOK)

    clock.run(main())


def test_who_stands_still_for_long_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        process = Busy(1, 1)
        async with held([process], 0.1) as limit:
            with limit.lifted():
                await asyncio.sleep(3)
            await asyncio.sleep(1)

    clock.run(main())
    assert "they has used up its CPU limit and waits for" in caplog.text


def test_where_there_is_no_limit_nobody_looks() -> None:
    def make() -> LateMeter:
        raise AssertionError("nobody needs one")

    async def main() -> None:
        limit = CpuLimit("they", None, make)
        await limit.hold([Busy(1, 1)])
        with limit.lifted():
            limit.look()

    clock.run(main())
