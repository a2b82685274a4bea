"""Asynchronous runs: in simulated time, in one loop, and over links that break in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import AsynchronousConsensus, RandomizedGossip, RobustPushSum
from p2pdo.algorithms.asynchronous import ASYNCHRONOUS, AsynchronousAlgorithm, Parts
from p2pdo.algorithms.base import Limit
from p2pdo.algorithms.catalogue import build
from p2pdo.effects import Here
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.simulation.asynchronous import Event, Hazards, run_asynchronous
from p2pdo.simulation.asynchronous_in_process import run_asynchronous_in_process
from p2pdo.simulation.inprocess import run_simulated
from p2pdo.simulation.network import Weather

BAD = Weather(delay=0.02, duplicate=0.2, cut=0.01, outage=0.3)


def plan_of(
    algorithm: AsynchronousAlgorithm[Any] | None = None,
    *,
    n: int = 4,
    topology: str = "ring",
    rounds: int = 60,
    observe_every: int = 10,
    tol: float | None = None,
    **asynchrony: Any,
) -> AsynchronousPlan:
    rng = np.random.default_rng(n)
    graph = by_name(topology, n, rng)
    return AsynchronousPlan(
        algorithm or RobustPushSum(),
        [Quadratic(np.eye(2), rng.standard_normal(2)) for _ in range(n)],
        graph,
        default(graph),
        [np.full(2, float(i)) for i in range(n)],
        rounds,
        observe_every,
        tol,
        asynchrony=Asynchrony(**asynchrony),
    )


def judge_of(plan: AsynchronousPlan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, plan.tol)


def simulated(plan: AsynchronousPlan, **hazards: float) -> list[Report]:
    judge = judge_of(plan)
    return run_asynchronous(plan, judge, lambda _: None, hazards=Hazards(**hazards))


def in_loop(plan: AsynchronousPlan) -> list[Report]:
    return asyncio.run(run_asynchronous_in_process(plan, judge_of(plan), lambda _: None))


def over_bad_links(plan: AsynchronousPlan) -> list[Report]:
    """The drivers and sessions that run between processes, on links that break and repeat."""
    return run_simulated(plan, judge_of(plan), lambda _: None, delay_seed=3, weather=BAD)


EXECUTORS = [simulated, in_loop, over_bad_links]
on_every_executor = pytest.mark.parametrize("execute", EXECUTORS)


def reaches(algorithm: AsynchronousAlgorithm[Any], plan: AsynchronousPlan, X: Any) -> bool:
    starts = np.stack(plan.starts)
    match algorithm.limit:
        case Limit.MEAN:
            return bool(np.abs(X - starts.mean(axis=0)).max() < 1e-6)
        case Limit.ONE_VALUE:
            inside = starts.min() <= X.min() <= X.max() <= starts.max()
            return bool(inside and np.ptp(X, axis=0).max() < 1e-6)
        case limit:
            minimiser = Objective(plan.problems).minimiser
            if limit is Limit.NEAR_OPTIMUM:  # by its mean: where each is, is random
                return bool(np.linalg.norm(X.mean(axis=0) - minimiser) < 0.4)
            return bool(np.linalg.norm(X - minimiser, axis=1).max() < 1e-4)


@on_every_executor
@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_every_executor_reaches_the_limit(execute: Any, name: str) -> None:
    share = 0.05 if name == "ad-psgd" else 0.3
    algorithm: AsynchronousAlgorithm[Any] = build(ASYNCHRONOUS[name], {}, 1.0, share)
    plan = plan_of(algorithm, rounds=500, observe_every=500)
    X = np.stack([report.x for report in execute(plan)])
    assert reaches(algorithm, plan, X)


@on_every_executor
@pytest.mark.parametrize("n", [1, 2])
def test_one_node_and_two_come_to_their_end(execute: Any, n: int) -> None:
    reports = execute(plan_of(n=n, rounds=50))
    assert [report.iteration for report in reports] == [50] * n
    mean = (n - 1) / 2
    assert max(abs(report.x - mean).max() for report in reports) < 1e-6


@on_every_executor
def test_no_rounds_are_no_wake_ups(execute: Any) -> None:
    reports = execute(plan_of(rounds=0))
    assert [(r.iteration, r.messages_sent) for r in reports] == [(0, 0)] * 4


@on_every_executor
def test_a_tolerance_ends_a_run_at_its_first_observation_within_it(execute: Any) -> None:
    told: list[Judgement] = []
    plan = plan_of(build(ASYNCHRONOUS["asy-sonata"], {}, 1.0, 0.3), rounds=2000, tol=1e-5)
    judge = judge_of(plan)
    if execute is simulated:
        run_asynchronous(plan, judge, told.append)
    elif execute is in_loop:
        asyncio.run(run_asynchronous_in_process(plan, judge, told.append))
    else:
        run_simulated(plan, judge, told.append, delay_seed=3, weather=BAD)
    assert judge.stopped_at == told[-1].iteration < 2000
    assert [one.stop for one in told] == [False] * (len(told) - 1) + [True]
    assert max(told[-1].gap or 0, told[-1].consensus_error) <= 1e-5


def test_observations_come_in_order_each_at_the_nodes_own_wake_up() -> None:
    told: list[Judgement] = []
    plan = plan_of(rounds=35)
    run_asynchronous(plan, judge_of(plan), told.append)
    assert [one.iteration for one in told] == [0, 10, 20, 30, 35]
    assert {r.iteration for r in told[2].reports} == {20}


def test_nobody_is_further_ahead_than_allowed_and_who_is_too_far_waits() -> None:
    plan = plan_of(rounds=200, max_staleness=2)
    rough = Hazards(drop=0.4, delay=2.0)
    waits = 0

    def look(event: Event, members: Any) -> None:
        nonlocal waits
        waits += event.what == "wait"
        one = members[event.node]
        assert all(one.wakes - members[j].wakes <= 2 for j in one.place.in_neighbors)

    run_asynchronous(plan, judge_of(plan), lambda _: None, watch=look, hazards=rough)
    assert waits > 50


def test_what_is_under_way_is_bounded_by_the_newest() -> None:
    """A neighbour that takes nothing has one message waiting for it, and it is the newest."""
    plan = plan_of(rounds=400, max_staleness=100)
    sent = [report.messages_sent for report in over_bad_links(plan)]
    assert max(sent) <= 2 * 400


def test_losses_are_counted_as_sent() -> None:
    fair, bad = (simulated(plan_of(rounds=100), drop=drop) for drop in (0.0, 0.5))
    assert sum(r.messages_sent for r in bad) >= sum(r.messages_sent for r in fair) > 0


@on_every_executor
def test_an_authors_mistake_is_told_with_node_and_wake_up(execute: Any) -> None:
    with pytest.raises(WorkloadFailed, match="ZeroDivisionError") as caught:
        execute(plan_of(_Failing()))
    assert (caught.value.node, caught.value.iteration) == ("node-2", 7)


def test_a_run_that_is_stopped_raises_what_stopped_it() -> None:
    def stop() -> None:
        raise WorkloadFailed("enough")

    plan = plan_of()
    with pytest.raises(WorkloadFailed, match="enough"):
        run_asynchronous(plan, judge_of(plan), lambda _: None, stop)


def test_nodes_that_may_never_wake_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_staleness must be one or more") as caught:
        Asynchrony(max_staleness=0)
    assert caught.value.hint


def test_gossip_never_leaves_the_hull_of_the_starts() -> None:
    plan = plan_of(RandomizedGossip(), rounds=100)
    rough = Hazards(drop=0.3, duplicate=0.2, delay=3.0)

    def look(_event: Event, members: list[Member[Any]]) -> None:
        assert all((one.x >= -1e-12).all() and (one.x <= 3 + 1e-12).all() for one in members)

    how: Any = {"watch": look, "hazards": rough}
    run_asynchronous(plan, judge_of(plan), lambda _: None, **how)


def test_another_weather_is_another_order() -> None:
    plan = plan_of(AsynchronousConsensus())
    ends = [
        run_asynchronous(plan, judge_of(plan), lambda _: None, delay_seed=seed)[0].x.tobytes()
        for seed in (0, 0, 1)
    ]
    assert ends[0] == ends[1] != ends[2]
    assert simulated(plan, delay=5.0)[0].x.tobytes() != ends[0]


@dataclass(frozen=True)
class _Failing(RobustPushSum):
    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        if (here.node, here.iteration) == (2, 7):
            raise ZeroDivisionError
        return super().wake(s, problem, here)


def test_gradients_are_counted_one_a_wake_up_and_one_to_begin_with() -> None:
    reports = simulated(plan_of(build(ASYNCHRONOUS["asy-sonata"], {}, 1.0, 0.3), rounds=20))
    assert [report.calls.gradients for report in reports] == [21] * 4
