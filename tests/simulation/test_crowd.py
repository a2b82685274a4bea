"""Nodes that take turns on the loop: a thousand of them, and where their turns are taken.

That the bits are those of dense is a law of every algorithm: tests/algorithms/test_laws.py.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.base import Requires
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import WorkloadFailed
from p2pdo.graphs.graph import from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default, from_matrix
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.runtime.judged import SNAPSHOTS
from p2pdo.simulation import crowd
from p2pdo.simulation.inprocess import run_in_process
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.types import Array

LIMIT = 60.0  # seconds after which a hang is called one
ENDLESS = 10**9


def plan_of(
    algorithm: Algorithm[Any],
    topology: str = "ring",
    *,
    n: int = 5,
    rounds: int = 20,
    observe_every: int = 10,
) -> Plan:
    rng = np.random.default_rng(n)
    problems = [Quadratic(np.eye(2) * (1 + i % 3), rng.standard_normal(2)) for i in range(n)]
    graph = by_name(topology, n, rng)
    starts = [np.full(2, float(i)) for i in range(n)]
    return Plan(algorithm, problems, graph, default(graph), starts, rounds, observe_every, seed=1)


def judge_of(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, plan.tol)


def ignore(_judgement: Judgement) -> None:
    pass


def in_process(plan: Plan, judge: Judge | None = None) -> list[Report]:
    async def main() -> list[Report]:
        async with asyncio.timeout(LIMIT):
            return await run_in_process(plan, judge or judge_of(plan), ignore)

    return asyncio.run(main())


@pytest.mark.parametrize("topology", ["ring", "erdos-renyi:0.01"])
def test_a_thousand_nodes_have_the_bits_of_dense(topology: str) -> None:
    plan = plan_of(GradientTracking(0.05), topology, n=1000, rounds=4, observe_every=2)
    expected = run_lockstep(plan, judge_of(plan), ignore)
    reports = in_process(plan)
    assert [r.x.tobytes() for r in reports] == [r.x.tobytes() for r in expected]
    assert [(r.iteration, r.messages_sent) for r in reports] == [
        (r.iteration, r.messages_sent) for r in expected
    ]


# ---- where turns are taken ----


class State(NamedTuple):
    x: Array


class Watched(Algorithm[State]):
    """Knows on which threads each node has computed its iterations from the third on."""

    requires = Requires()

    def __init__(self, fails_at: int = ENDLESS) -> None:
        self.threads: dict[int, set[int]] = defaultdict(set)
        self.fails_at = fails_at

    def init(self, x: Array, problem: Any, here: Here) -> State:
        return State(x)

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        x = yield from mix(s.x)
        if here.iteration > 2:
            self.threads[here.node].add(threading.get_ident())
        if here.node == 3 and here.iteration == self.fails_at:
            raise ValueError("boom")
        return State(x)


def take_turns_as_if(monkeypatch: pytest.MonkeyPatch, *, long: bool) -> None:
    for limit in ("LONG", "SHORT", "BLOCKED"):
        monkeypatch.setattr(crowd, limit, -1.0 if long else math.inf)


def test_short_turns_are_taken_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    take_turns_as_if(monkeypatch, long=False)
    algorithm = Watched()
    in_process(plan_of(algorithm))
    assert list(algorithm.threads.values()) == [{threading.get_ident()}] * 5


def test_long_turns_are_taken_on_a_thread_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    take_turns_as_if(monkeypatch, long=True)
    algorithm = Watched()
    plan = plan_of(algorithm)
    reports = in_process(plan)
    threads = list(algorithm.threads.values())
    assert [len(of_node) for of_node in threads] == [1] * 5
    assert len(set().union(*threads) - {threading.get_ident()}) == 5
    expected = run_lockstep(plan_of(Consensus()), judge_of(plan), ignore)
    assert [r.x.tobytes() for r in reports] == [r.x.tobytes() for r in expected]


def test_a_node_goes_to_a_thread_when_its_turns_become_long_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Changes(Watched):
        def step(self, s: State, problem: Any, here: Here) -> Step[State]:
            if here.node == 0 and here.iteration in (5, 10):
                take_turns_as_if(monkeypatch, long=here.iteration == 5)
            return super().step(s, problem, here)

    take_turns_as_if(monkeypatch, long=False)
    algorithm = Changes()
    in_process(plan_of(algorithm))
    assert all(len(of_node) == 2 for of_node in algorithm.threads.values())
    assert all(threading.get_ident() in of_node for of_node in algorithm.threads.values())


@pytest.mark.parametrize("long", [False, True])
def test_a_failure_is_told_wherever_the_turn_was_taken(
    monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    take_turns_as_if(monkeypatch, long=long)
    with pytest.raises(WorkloadFailed, match="ValueError: boom") as caught:
        in_process(plan_of(Watched(fails_at=7)))
    assert (caught.value.node, caught.value.iteration) == ("node-3", 7)


# ---- the loop goes on ----


@pytest.mark.asyncio
@pytest.mark.parametrize("long", [False, True])
async def test_the_loop_goes_on_beside_it_and_a_cancelled_run_computes_no_further(
    monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    take_turns_as_if(monkeypatch, long=long)
    reached: list[int] = []
    loop, many = asyncio.get_running_loop(), asyncio.Event()

    class Counts(Watched):
        def step(self, s: State, problem: Any, here: Here) -> Step[State]:
            reached.append(here.iteration)
            if len(reached) == 100:
                loop.call_soon_threadsafe(many.set)
            return super().step(s, problem, here)

    plan = plan_of(Counts(), rounds=ENDLESS, observe_every=ENDLESS)
    async with asyncio.timeout(LIMIT):
        running = asyncio.create_task(run_in_process(plan, judge_of(plan), ignore))
        await many.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        threads = [t for t in threading.enumerate() if t.name.startswith("node-")]
        for thread in threads:  # those that still compute end with that
            await asyncio.to_thread(thread.join, LIMIT)
        seen = len(reached)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(reached) == seen


def test_no_more_states_wait_to_be_judged_than_may_though_a_node_hears_nobody() -> None:
    class Pending(Judge):
        most = 0

        def receive(self, report: Report) -> list[Judgement]:
            judged = super().receive(report)
            self.most = max(self.most, len(self._pending))
            return judged

    graph = from_edges(2, [(0, 1)], directed=True)
    W = from_matrix(np.array([[1.0, 0.0], [0.5, 0.5]]))
    problems = [Quadratic(np.eye(2), np.ones(2))] * 2
    starts = [np.zeros(2), np.ones(2)]
    plan = Plan(Consensus(), problems, graph, W, starts, 200, observe_every=1, seed=1)
    judge = Pending(Objective(problems), 2, None)
    reports = in_process(plan, judge)
    assert 0 < judge.most <= SNAPSHOTS
    expected = run_lockstep(plan, judge_of(plan), ignore)
    assert [r.x.tobytes() for r in reports] == [r.x.tobytes() for r in expected]
