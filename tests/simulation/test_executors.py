"""The executors without processes: their limits, their failures, and one seed, one trace.

That they agree to the bit is a law of every algorithm: tests/algorithms/test_laws.py.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.base import Requires
from p2pdo.data.catalogue import build_all
from p2pdo.effects import Here, Step, exchange, mix
from p2pdo.errors import ConfigError, LocalProtocolError, P2pdoError, WorkloadFailed
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.frames import Data
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.plan import Plan, make_starts
from p2pdo.runtime.compute import InlineCompute
from p2pdo.simulation.clock import run as run_in_virtual_time
from p2pdo.simulation.inprocess import run_in_process, run_members, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array

Run = Callable[[Plan, Judge, Callable[[Judgement], None]], list[Report]]


def in_process(plan: Plan, judge: Judge, tell: Callable[[Judgement], None]) -> list[Report]:
    return asyncio.run(run_in_process(plan, judge, tell))


EXECUTORS: list[Run] = [run_lockstep, run_stacked, run_simulated, in_process]
on_every_executor = pytest.mark.parametrize("execute", EXECUTORS)


def plan_of(
    algorithm: Algorithm[Any] | None = None,
    *,
    n: int = 5,
    topology: str = "ring",
    rounds: int = 20,
    observe_every: int = 6,
    tol: float | None = None,
) -> Plan:
    rng = np.random.default_rng(n)
    problems = [Quadratic(np.eye(2) * (1 + i), rng.standard_normal(2)) for i in range(n)]
    graph = by_name(topology, n, rng)
    starts = [np.full(2, float(i)) for i in range(n)]
    algorithm = algorithm or GradientTracking(0.05)
    return Plan(
        algorithm, problems, graph, default(graph), starts, rounds, observe_every, tol, seed=1
    )


def played(execute: Run, plan: Plan) -> tuple[list[Report], list[Judgement], Judge]:
    judge = Judge(Objective(plan.problems), plan.nodes, plan.tol)
    told: list[Judgement] = []
    return execute(plan, judge, told.append), told, judge


# ---- limits ----


@on_every_executor
def test_no_rounds_give_the_starts_and_one_judgement(execute: Run) -> None:
    reports, told, _ = played(execute, plan_of(rounds=0))
    assert [r.x.tolist() for r in reports] == [[float(i)] * 2 for i in range(5)]
    assert [j.iteration for j in told] == [0]
    assert (told[0].bytes_sent, told[0].messages_sent) == (0, 0)


@on_every_executor
def test_the_last_iteration_is_observed_though_it_is_no_multiple(execute: Run) -> None:
    reports, told, _ = played(execute, plan_of(rounds=20, observe_every=6))
    assert [j.iteration for j in told] == [0, 6, 12, 18, 20]
    assert {r.iteration for r in reports} == {20}
    assert told[-1].messages_sent == 20 * 5 * 2
    assert told[-1].bytes_sent == 20 * 5 * 2 * (2 * 16)


@on_every_executor
def test_observing_less_often_than_there_are_rounds_observes_both_ends(execute: Run) -> None:
    _, told, _ = played(execute, plan_of(rounds=7, observe_every=1000))
    assert [j.iteration for j in told] == [0, 7]


@on_every_executor
def test_a_tolerance_that_holds_at_the_start_stops_there(execute: Run) -> None:
    plan = plan_of(tol=1e-9)
    optimum = Objective(plan.problems).minimiser
    assert optimum is not None
    plan = replace(plan, starts=[optimum.copy() for _ in range(5)])
    reports, told, judge = played(execute, plan)
    assert judge.stopped_at == 0
    assert [j.stop for j in told] == [True]
    assert all(r.iteration == 0 and np.array_equal(r.x, optimum) for r in reports)


@on_every_executor
def test_a_tolerance_that_is_never_met_ends_at_the_limit(execute: Run) -> None:
    reports, told, judge = played(execute, plan_of(rounds=13, tol=1e-300))
    assert judge.stopped_at is None
    assert [j.iteration for j in told] == [0, 6, 12, 13]
    assert {r.iteration for r in reports} == {13}


@on_every_executor
@pytest.mark.parametrize(("n", "topology"), [(1, "ring"), (2, "ring"), (5, "star")])
def test_all_agree_on_what_they_tell(execute: Run, n: int, topology: str) -> None:
    plan = plan_of(n=n, topology=topology, rounds=300, tol=1e-6)
    _, expected, _ = played(run_lockstep, plan)
    _, told, _ = played(execute, plan)
    if execute is run_stacked:  # equal to rounding
        assert [j.iteration for j in told] == [j.iteration for j in expected]
    else:
        assert told == expected


# ---- weather ----


def test_links_are_cut_and_the_result_is_the_same() -> None:
    plan = plan_of(rounds=60)
    expected = run_lockstep(plan, Judge(Objective(plan.problems), 5, None), lambda _: None)
    for seed in range(6):
        weather = Weather(delay=0.05, duplicate=0.3, cut=0.03, outage=0.3)
        network = SimulatedNetwork(seed, weather)
        judge = Judge(Objective(plan.problems), 5, None)
        computes: Any = [InlineCompute() for _ in range(5)]
        reports = run_in_virtual_time(run_members(plan, judge, lambda _: None, network, computes))
        assert network.cuts > 5
        for ours, theirs in zip(reports, expected, strict=True):
            assert ours.x.tobytes() == theirs.x.tobytes()


TRACE = """
    import hashlib
    import sys
    sys.path.insert(0, {folder!r})
    import test_executors as t
    from p2pdo.protocol.judging import Judge, Objective
    from p2pdo.simulation.network import SimulatedNetwork, Weather

    class Traced(SimulatedNetwork):
        def deliver(self, sender, receiver, frame):
            import asyncio
            now = asyncio.get_running_loop().time()
            trace.update(repr((now, sender, receiver, frame)).encode())
            super().deliver(sender, receiver, frame)

    trace = hashlib.sha256()
    for topology in ("ring", "star", "directed-ring"):
        plan = t.plan_of(topology=topology, rounds=200, observe_every=3, tol=1e-4)
        network = Traced(7, Weather(delay=0.05, duplicate=0.3, cut=0.02))
        judge = Judge(Objective(plan.problems), 5, plan.tol)
        computes = [t.InlineCompute() for _ in range(5)]
        tell = lambda judgement: trace.update(repr(judgement).encode())
        t.run_in_virtual_time(t.run_members(plan, judge, tell, network, computes))
        trace.update(repr((network.cuts, judge.stopped_at)).encode())
    print(trace.hexdigest())
"""


@pytest.mark.slow
def test_one_seed_is_one_order_of_events_whatever_the_hash_seed() -> None:
    script = textwrap.dedent(TRACE).format(folder=__file__.rsplit("/", 1)[0])
    traces = set()
    for hash_seed in ("0", "1", "12345"):
        ended = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        traces.add(ended.stdout)
    assert len(traces) == 1


# ---- failures ----


class State(NamedTuple):
    x: Array


class Fails(Algorithm[State]):
    """Node 3 does something in iteration 4."""

    requires = Requires()
    batched = True

    def __init__(self, what: Callable[[Array], Any]) -> None:
        self._what = what

    def init(self, x: Array, problem: Any, here: Here) -> State:
        return State(x)

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        x = yield from mix(s.x)
        if here.node in (3, -1) and here.iteration == 4:  # or in the stack of all
            x = self._what(x)
        return State(x)


def boom(x: Array) -> Array:
    raise KeyError("boom")


def nan(x: Array) -> Array:
    return x * np.nan


@pytest.mark.parametrize("execute", [run_lockstep, run_simulated, in_process])
@pytest.mark.parametrize(("what", "at"), [(boom, 4), (nan, 5)])
def test_one_nodes_failure_ends_the_run_with_its_name(execute: Run, what: Any, at: int) -> None:
    with pytest.raises(WorkloadFailed, match=r"boom|not finite") as caught:
        played(execute, plan_of(Fails(what)))
    assert (caught.value.node, caught.value.iteration) == ("node-3", at)


@pytest.mark.parametrize(("what", "at"), [(boom, 4), (nan, 5)])
def test_a_stacked_failure_names_the_iteration(what: Any, at: int) -> None:
    with pytest.raises(WorkloadFailed, match=r"boom|not finite") as caught:
        played(run_stacked, plan_of(Fails(what)))
    assert (caught.value.node, caught.value.iteration) == (None, at)
    assert "dense" in str(caught.value.hint)


def test_a_bug_of_ours_is_raised_before_its_consequences() -> None:
    class Broken(SimulatedNetwork):
        def deliver(self, sender: Any, receiver: Any, frame: Any) -> None:
            if isinstance(frame, Data) and frame.tag.iteration == 3:
                raise RuntimeError("a bug in the network")
            super().deliver(sender, receiver, frame)

    plan = plan_of()
    judge = Judge(Objective(plan.problems), 5, None)
    computes: Any = [InlineCompute() for _ in range(5)]
    with pytest.raises(RuntimeError, match="a bug in the network"):
        run_in_virtual_time(
            run_members(plan, judge, lambda _: None, Broken(0, Weather()), computes)
        )


class Exchanges(Fails):
    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        yield from exchange(s.x)
        return s


class Draws(Fails):
    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        x = yield from mix(s.x + here.rng.random())
        return State(x)


class DrawsTogether(Fails):
    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        x = yield from mix(s.x)
        return State(x + here.common_rng.random())


class Unbatched(Consensus):
    batched = False


class Bare:
    dimension = 2


@pytest.mark.parametrize(
    ("plan", "error", "says"),
    [
        (plan_of(Unbatched()), ConfigError, "Unbatched does not declare"),
        (replace(plan_of(), problems=[Bare()] * 5), ConfigError, "Bare cannot be stacked"),
        (plan_of(Exchanges(boom)), ConfigError, "asks for Exchange, which has no stacked form"),
        (plan_of(Draws(boom)), WorkloadFailed, "drew random numbers of one node"),
    ],
)
def test_what_cannot_be_stacked_is_told(plan: Plan, error: type[P2pdoError], says: str) -> None:
    with pytest.raises(error, match=says):
        played(run_stacked, plan)


@pytest.mark.parametrize("execute", [run_stacked, run_simulated, in_process])
def test_common_random_numbers_are_common_on_every_executor(execute: Run) -> None:
    expected, *_ = played(run_lockstep, plan_of(DrawsTogether(boom)))
    reports, *_ = played(execute, plan_of(DrawsTogether(boom)))
    for ours, theirs in zip(reports, expected, strict=True):
        np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-12)


def test_a_network_that_loses_a_word_without_a_cut_is_a_deadlock_and_no_hang() -> None:
    class Loses(SimulatedNetwork):
        delivered = 0

        def deliver(self, sender: Any, receiver: Any, frame: Any) -> None:
            self.delivered += 1
            if self.delivered != 60:
                super().deliver(sender, receiver, frame)

    plan = plan_of()
    computes: Any = [InlineCompute() for _ in range(5)]
    judge = Judge(Objective(plan.problems), 5, None)
    with pytest.raises(LocalProtocolError, match="nothing will ever happen again"):
        run_in_virtual_time(run_members(plan, judge, lambda _: None, Loses(0, Weather()), computes))


def test_many_nodes_are_stacked_as_few_are() -> None:
    problems: Any = build_all("averaging", 1200, parameters={"dimension": 2})
    graph = by_name("k-regular:4", 1200, np.random.default_rng(0))
    starts = make_starts("uniform", 1200, 2, 0, "float64")
    many = Plan(GradientTracking(0.2), problems, graph, default(graph), starts, rounds=15)
    one_by_one = replace(many, problems=list(problems), starts=list(starts))
    reports, told, _ = played(run_stacked, many)
    expected, judged, _ = played(run_lockstep, one_by_one)
    assert [j.messages_sent for j in told] == [j.messages_sent for j in judged]
    assert [j.gap for j in told] == pytest.approx([j.gap for j in judged], rel=1e-9, abs=1e-10)
    ours, theirs = (np.stack([r.x for r in found]) for found in (reports, expected))
    assert np.array_equal(ours, theirs)  # x − c has no sum that could be added up in another order
