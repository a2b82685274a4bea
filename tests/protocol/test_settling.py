"""Settling: all nodes end at one iteration, the right one, or none does."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import p2pdo
from p2pdo.algorithms import (
    AugDgm,
    Consensus,
    EdgeAdmm,
    GradientTracking,
    MaxConsensus,
    Nids,
    ProxSkip,
)
from p2pdo.algorithms.base import Algorithm
from p2pdo.api.jobs import resolve
from p2pdo.api.requests import Request
from p2pdo.errors import ConfigError, RemoteProtocolError
from p2pdo.graphs.distances import hops
from p2pdo.graphs.graph import from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems import Quadratic
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.plan import Plan, make_start
from p2pdo.protocol.settling import Settle, Settling
from p2pdo.protocol.settling_stepper import SettlingStepper, stepper_that
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import InlineCompute
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import advance_to, run_lockstep
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.testing import clock
from p2pdo.types import Array

D, TOL = 2, 1e-3
METHODS: list[Algorithm[Any]] = [
    GradientTracking(0.1),
    Nids(0.4),  # its first iteration makes no exchange
    AugDgm(0.1),  # two exchanges
    ProxSkip(0.4),  # by a coin, one or none
    EdgeAdmm(),  # another value for each neighbour
]


def plan(
    algorithm: Algorithm[Any], topology: str = "path", n: int = 5, tol: float | None = TOL
) -> Plan:
    graph = by_name(topology, n, np.random.default_rng(0))
    rng = np.random.default_rng([41, n])
    costs = [Quadratic(np.diag([1.0, 0.5]), rng.standard_normal(D)) for _ in range(n)]
    starts = [make_start("normal", D, i, 2, "float64") for i in range(n)]
    settle = None if tol is None else Settle(tol, hops(graph))
    return Plan(algorithm, costs, graph, default(graph), starts, 3000, 17, seed=3, settle=settle)


def judge(of: Plan) -> Judge:
    return Judge(Objective(of.problems), of.nodes, of.tol)


def ignore(_judgement: Judgement) -> None:
    pass


def end_of(reports: list[Report]) -> tuple[set[int], list[bytes], list[int]]:
    """The iterations at which nodes ended, and their bits and bytes."""
    return (
        {report.iteration for report in reports},
        [report.x.tobytes() for report in reports],
        [report.bytes_sent for report in reports],
    )


def states(of: Plan, rounds: int) -> Array:
    """X without settling, shape (rounds + 1, n, d)."""
    steppers = [
        Stepper(of.algorithm, of.problems[i], of.place(i), of.starts[i], of.seed)
        for i in range(of.nodes)
    ]
    rows = []
    for k in range(rounds + 1):
        advance_to(steppers, k)
        rows.append(np.stack([stepper.x for stepper in steppers]))
    return np.stack(rows)


# ---- what it says ----


@pytest.mark.parametrize("topology", ["path", "ring", "star", "complete"])
@pytest.mark.parametrize("algorithm", METHODS, ids=lambda a: type(a).__name__)
def test_it_ends_within_two_windows_of_standing_still(
    algorithm: Algorithm[Any], topology: str
) -> None:
    of = plan(algorithm, topology)
    (end,), bits, _ = end_of(run_lockstep(of, judge(of), ignore))
    assert 0 < end < of.rounds
    X = states(of, end)
    assert [x.tobytes() for x in X[end]] == bits, "settling changes no value"
    moves = np.linalg.norm(np.diff(X, axis=0), axis=2).max(axis=1)
    assert of.settle is not None
    still = np.flatnonzero(moves > TOL).max() + 1  # from here on nobody moved
    if isinstance(algorithm, ProxSkip):  # how long a window is, the coin says
        assert still < end
    else:
        assert still < end <= still + 3 * max(1, of.settle.hops) + 1


def test_a_window_with_one_move_is_no_end() -> None:
    settling = Settling(Settle(0.1, hops=2))
    ended = []
    for move in [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]:
        settling.hear([0.0])
        ended.append(settling.complete(move))
    # Windows end with iterations 2, 4, 6, 8; the one with the move is told of until 6.
    assert ended == [False, False, False, True, False, False, False, True]


def test_what_a_neighbour_knows_keeps_the_run_going() -> None:
    settling = Settling(Settle(0.1, hops=1))
    settling.hear([0.0])
    assert not settling.complete(0.0), "before it nothing was watched"
    settling.hear([0.2])
    assert not settling.complete(0.0)
    settling.hear([0.1])
    assert settling.complete(0.0)


def test_a_move_that_is_not_a_number_is_no_standing_still() -> None:
    settling = Settling(Settle(0.1, hops=0))
    assert [settling.complete(m) for m in (math.nan, 0.0, 0.0)] == [False, False, True]


# ---- the same everywhere ----


@pytest.mark.parametrize("topology", ["path", "ring", "star"])
@pytest.mark.parametrize("algorithm", METHODS, ids=lambda a: type(a).__name__)
def test_every_executor_ends_at_one_iteration_with_the_same_bits(
    algorithm: Algorithm[Any], topology: str
) -> None:
    of = plan(algorithm, topology)
    expected = end_of(run_lockstep(of, judge(of), ignore))
    rough = Weather(delay=0.05, duplicate=0.2, cut=0.01, outage=0.3)
    assert end_of(run_simulated(of, judge(of), ignore, delay_seed=4, weather=rough)) == expected
    assert end_of(asyncio.run(run_in_process(of, judge(of), ignore))) == expected
    if algorithm.batched:
        iterations, _, sent = end_of(run_stacked(of, judge(of), ignore))
        assert (iterations, sent) == (expected[0], expected[2])


@settings(max_examples=25, deadline=None)
@given(
    arcs=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8),
    seed=st.integers(0, 2**16),
    tol=st.sampled_from([1e-1, 1e-3, 1e-6]),
    cut=st.sampled_from([0.0, 0.02]),
)
def test_on_any_directed_network_under_any_weather_all_end_together(
    arcs: set[tuple[int, int]], seed: int, tol: float, cut: float
) -> None:
    ring = {(i, (i + 1) % 6) for i in range(6)}
    graph = from_edges(6, sorted(ring | {(i, j) for i, j in arcs if i != j}), directed=True)
    of = replace(
        plan(Consensus(), "directed-ring", 6),
        graph=graph,
        weights=default(graph),
        settle=Settle(tol, hops(graph)),
    )
    weather = Weather(delay=0.05, duplicate=0.1, cut=cut)
    found = end_of(run_simulated(of, judge(of), ignore, delay_seed=seed, weather=weather))
    assert len(found[0]) == 1
    assert found == end_of(run_lockstep(of, judge(of), ignore))


def test_a_node_alone_ends_by_itself_and_a_method_that_is_done_at_once_soon() -> None:
    alone = plan(GradientTracking(0.5), "ring", 1)
    (end,), _, _ = end_of(run_lockstep(alone, judge(alone), ignore))
    assert 0 < end < 100
    done = plan(MaxConsensus(), "path", 5)
    (end,), _, _ = end_of(run_lockstep(done, judge(done), ignore))
    assert end == 12  # four iterations for the largest; the third window of four tells of the rest


def test_the_limit_of_iterations_still_holds() -> None:
    of = replace(plan(GradientTracking(0.1), tol=1e-12), rounds=30)
    assert end_of(run_lockstep(of, judge(of), ignore))[0] == {30}


def test_a_tolerance_of_the_gap_may_end_it_before() -> None:
    of = replace(plan(GradientTracking(0.1), tol=1e-9), tol=1e-2)
    one, other = judge(of), judge(of)
    expected = end_of(run_lockstep(of, one, ignore))
    assert one.stopped_at is not None
    assert expected[0] == {one.stopped_at}
    assert end_of(asyncio.run(run_in_process(of, other, ignore)))[1] == expected[1]


# ---- failures ----


class _Dies(InlineCompute):
    """A node that is no more after so many computations."""

    def __init__(self, after: int) -> None:
        self._left = after

    async def run(self, function: Any, /, *args: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            await asyncio.Event().wait()
        return function(*args)


def ended_where_one_dies(of: Plan, after: int) -> list[int]:
    """Where nodes ended, if node 2 dies after so many computations."""
    network = SimulatedNetwork(after, Weather(delay=0.05))
    ended: list[int] = []

    async def member(i: int) -> None:
        place = of.place(i)
        names = {j: of.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
        exchanger = Exchanger(place, names, b"")
        network.join(of.name(i), exchanger)
        make = stepper_that(of.settle)
        stepper = make(of.algorithm, of.problems[i], place, of.starts[i], of.seed)
        compute = _Dies(after) if i == 2 else InlineCompute()
        limits = {"rounds": of.rounds, "observe_every": 17}
        report = await Driver(stepper, exchanger, compute, None, **limits, judged=False).run()
        ended.append(report.iteration)

    async def main() -> None:
        tasks = [asyncio.create_task(member(i)) for i in range(of.nodes)]
        await asyncio.wait(tasks, timeout=3600)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    clock.run(main())
    return ended


@pytest.mark.parametrize("topology", ["path", "directed-ring"])
def test_where_a_node_dies_nobody_ends_elsewhere(topology: str) -> None:
    """Whoever ends, ends where all would have; the others wait until they are told."""
    of = plan(Consensus(), topology, 5)
    (end,), _, _ = end_of(run_lockstep(of, judge(of), ignore))
    counts = set()
    for after in (3, end // 2, *range(end - 6, end + end // 17 + 6)):
        ended = ended_where_one_dies(of, after)
        assert set(ended) <= {end}
        counts.add(len(ended))
    assert {0, 5} < counts, "some died before anybody had ended, some after, some in between"


def test_a_neighbour_that_tells_nothing_is_named() -> None:
    place = Place(0, "a", (1,), (1,), default(by_name("ring", 2, np.random.default_rng(0))).row(0))
    place = replace(place, names={1: "b"})
    cost = Quadratic(np.eye(1), np.zeros(1))
    stepper = SettlingStepper(Settle(1e-3, 1), Consensus(), cost, place, np.ones(1), 0)
    assert stepper.advance(None, 5) is not None
    with pytest.raises(RemoteProtocolError, match="b does not tell a how far nodes moved"):
        stepper.advance({1: (np.ones(1),)}, 5)


# ---- asked for ----


def test_a_run_that_has_settled_says_so() -> None:
    run = p2pdo.run("quadratic", nodes=4, settle=1e-6, rounds=5000)
    assert run.summary.status == "settled"
    assert run.metrics[-1].iteration == run.summary.iterations < 5000
    assert p2pdo.run("quadratic", nodes=4, settle=1e-6, rounds=5).summary.status == "done"


@pytest.mark.parametrize("tol", [0.0, -1.0, math.inf, math.nan])
def test_a_tolerance_that_is_none_is_refused(tol: float) -> None:
    with pytest.raises(ConfigError, match="settle must be a positive number") as caught:
        resolve(Request(problem="quadratic", settle=tol))
    assert caught.value.hint == "for example --settle 1e-9"
