"""The monitor: planted mistakes are caught by the invariant that they break, right runs never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hiding_nodes import (
    dense_sums,
    monitor_of as masked_monitor_of,
    run_in_lockstep,
    run_under_weather,
)

import p2pdo
from p2pdo.algorithms import (
    Dlm,
    Extra,
    GradientTracking,
    Lead,
    PushDiging,
    PushSum,
)
from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.algorithms.directed import RatioState
from p2pdo.algorithms.exact_first_order import CorrectedState
from p2pdo.algorithms.gradient_tracking import TrackingState
from p2pdo.algorithms.node_admm import NodeState
from p2pdo.api.jobs import resolve
from p2pdo.api.requests import Request
from p2pdo.effects import By, Here, Step, exchange, mix
from p2pdo.errors import ConfigError, InvariantBroken, from_plain
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default, from_matrix
from p2pdo.problems import Quadratic
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.masking import Masks, from_units, split
from p2pdo.protocol.monitoring import Hiding, Monitor, monitor_of
from p2pdo.protocol.plan import Plan, make_start
from p2pdo.protocol.stepper import quiet
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.network import Weather
from p2pdo.simulation.stacked import run_stacked

N, D = 5, 2
Run = Callable[[Plan], list[Report]]


def plan(algorithm: Algorithm[Any], topology: str = "ring", every: int | None = 1) -> Plan:
    graph = by_name(topology, N, np.random.default_rng(0))
    rng = np.random.default_rng(51)
    costs = [Quadratic(np.diag([1.0, 0.5]), rng.standard_normal(D)) for _ in range(N)]
    starts = [make_start("normal", D, i, 2, "float64") for i in range(N)]
    weights = default(graph)
    return Plan(algorithm, costs, graph, weights, starts, 60, 20, monitor_every=every)


def ignore(_judgement: Judgement) -> None:
    pass


def judge(of: Plan) -> Judge:
    return Judge(Objective(of.problems), of.nodes, None)


def simulated(of: Plan) -> list[Report]:
    weather = Weather(delay=0.05, duplicate=0.2, cut=0.01)
    return run_simulated(of, judge(of), ignore, delay_seed=5, weather=weather)


def hidden(of: Plan) -> list[Report]:
    """By nodes that show nobody their states."""
    monitor = masked_monitor_of(of)
    return run_under_weather(of, monitor.take, Weather(delay=0.05, duplicate=0.2, cut=0.01))


EXECUTORS: dict[str, Run] = {
    "dense": lambda of: run_lockstep(of, judge(of), ignore),
    "simulated": simulated,
    "inprocess": lambda of: asyncio.run(run_in_process(of, judge(of), ignore)),
    "stacked": lambda of: run_stacked(of, judge(of), ignore),
    "hidden": hidden,
}


# ---- planted mistakes ----


@dataclass(frozen=True)
class WrongSign(GradientTracking):
    """The old gradient is added."""

    def step(self, s: TrackingState, problem: Any, here: Here) -> Step[TrackingState]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - self.step_size * s.y
        g = problem.gradient(x)
        return TrackingState(x, y_mixed + g + s.g, g)


@dataclass(frozen=True)
class DroppedWeight(GradientTracking):
    """From iteration 30 on, a part of the own value is forgotten."""

    def step(self, s: TrackingState, problem: Any, here: Here) -> Step[TrackingState]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - self.step_size * s.y
        g = problem.gradient(x)
        lost = 0.01 * s.y if here.iteration >= 30 else 0 * s.y
        return TrackingState(x, y_mixed - lost + g - s.g, g)


@dataclass(frozen=True)
class HalfCorrected(Extra):
    """W in the place of (I + W)/2 keeps the sum; a correction that is halved does not move it."""

    def step(self, s: CorrectedState, problem: Any, here: Here) -> Step[CorrectedState]:
        x_mixed = yield from mix(s.x)
        descent = self.step_size * problem.gradient(s.x)
        x = x_mixed - descent + s.c
        return CorrectedState(x, x - (s.x + x_mixed) / 2 + 0.9 * descent)


@dataclass(frozen=True)
class OneSided(Dlm):
    """Each node looks at the first of its neighbours only."""

    batched: ClassVar[bool] = False

    def step(self, s: NodeState, problem: Any, here: Here) -> Step[NodeState]:
        theirs = yield from exchange(s.x)
        away = self.rho * (s.x - next(iter(theirs.values())))
        p = s.p + away if here.iteration else s.p
        own_step = 1 / (1 / self.step_size + 2 * self.rho * len(theirs))
        return NodeState(s.x - own_step * (problem.gradient(s.x) + away + p), p)


@dataclass(frozen=True)
class Pulled(PushSum):
    """Pulls what should be pushed: right on balanced graphs, and on no others."""

    def step(self, s: RatioState, problem: Any, here: Here) -> Step[RatioState]:
        u, w = yield from mix(s.u, s.w, by=By.PULL)
        return RatioState(u / w, u, w * 1.001)


PLANTED: list[tuple[Algorithm[Any], str, int]] = [
    (WrongSign(0.1), "mean y = mean g", 1),
    (DroppedWeight(0.1), "mean y = mean g", 31),
    (HalfCorrected(0.2), "mean c = 0", 1),
    (OneSided(0.3), "mean p = 0", 2),
    (Pulled(), "Σ w = n", 1),
]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("algorithm", "name", "iteration"), PLANTED, ids=lambda v: type(v).__name__
)
def test_a_planted_mistake_is_caught_by_name_at_its_first_iteration(
    algorithm: Algorithm[Any], name: str, iteration: int, executor: str
) -> None:
    if executor == "stacked" and not algorithm.batched:
        pytest.skip("it has no stacked form")
    topology = "path" if isinstance(algorithm, OneSided) else "ring"
    with pytest.raises(InvariantBroken, match=f"the invariant '{name}' is broken") as caught:
        EXECUTORS[executor](plan(algorithm, topology))
    assert caught.value.iteration == iteration
    assert caught.value.node is None, "a sum does not say whose part is wrong"
    assert "--monitor off" in str(caught.value.hint)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_row_that_one_node_changed_by_itself_is_caught(executor: str) -> None:
    of = plan(GradientTracking(0.1))
    W = of.weights.to_dense()
    W[3, 3] += W[3, 4] / 2
    W[3, 4] /= 2
    assert np.allclose(W.sum(axis=1), 1), "no row sum gives it away"
    with pytest.raises(InvariantBroken, match="mean y = mean g") as caught:
        EXECUTORS[executor](replace(of, weights=from_matrix(W)))
    assert caught.value.iteration == 1


def test_between_looks_nothing_is_seen_and_without_a_monitor_nothing_at_all() -> None:
    with pytest.raises(InvariantBroken) as caught:
        run_lockstep(plan(DroppedWeight(0.1), every=20), judge(plan(Extra(0.1))), ignore)
    assert caught.value.iteration == 40
    off = plan(DroppedWeight(0.1), every=None)
    assert monitor_of(off) is None
    assert run_lockstep(off, judge(off), ignore)[0].iteration == 60


# ---- right runs ----


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "algorithm",
    [GradientTracking(0.1), Extra(0.3), Dlm(0.3), PushDiging(0.05), Lead(0.1)],
    ids=lambda a: type(a).__name__,
)
def test_rounding_of_a_long_run_is_no_breach(algorithm: Algorithm[Any], dtype: str) -> None:
    of = plan(algorithm)
    starts = [1e3 * make_start("normal", D, i, 2, dtype) for i in range(N)]
    of = replace(of, starts=starts, rounds=3000, observe_every=3000)
    assert run_lockstep(of, judge(of), ignore)[0].iteration == 3000


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("topology", ["ring", "directed-ring", "one-peer-exponential"])
def test_rounding_of_a_long_run_of_hidden_parts_is_no_breach(topology: str, dtype: str) -> None:
    """Push-DIGing has two invariants; the third topology's weights vary."""
    of = plan(PushDiging(0.05), topology)
    starts = [1e3 * make_start("normal", D, i, 2, dtype) for i in range(N)]
    monitor = masked_monitor_of(of)
    run_in_lockstep(replace(of, starts=starts, rounds=600), monitor.take)
    assert (monitor.sums.looked_at, monitor.sums.passed_over) == (600, 0)


def test_what_is_added_up_is_the_sum_along_one_direction_in_every_iteration() -> None:
    """Against the sums of an independent run: both entries are off, in one proportion of noise."""
    of = replace(plan(DroppedWeight(0.1), every=5), rounds=60)
    told: dict[int, list[list[float]]] = {}
    sums = masked_monitor_of(of).sums

    def take(node: int, iteration: int, numbers: bytes) -> None:
        found = sums.add(node, iteration, numbers)
        if found is not None:
            told[iteration] = found

    run_in_lockstep(of, take)
    assert sorted(told) == list(range(5, 61, 5))
    dense = dense_sums(of, of.algorithm.invariants[0].part)
    late = [k for k in told if k > 30]
    sizes = np.array([dense[k] for k in late])
    direction, *_ = np.linalg.lstsq(sizes, np.array([told[k][0] for k in late]), rcond=None)
    for k in told:
        assert told[k][0] == pytest.approx(direction @ dense[k], rel=1e-9, abs=1e-14)
    assert np.abs(direction).max() < 1 / np.sqrt(D)
    assert all(0 < told[a][1] <= told[b][1] for a, b in zip(told, list(told)[1:], strict=False))


def test_bits_are_those_of_a_run_that_nobody_watches() -> None:
    for run in EXECUTORS.values():
        watched, alone = (run(plan(GradientTracking(0.1), every=e)) for e in (1, None))
        assert [r.x.tobytes() for r in watched] == [r.x.tobytes() for r in alone]


def test_nothing_piles_up_while_nodes_are_apart() -> None:
    monitor = Monitor(GradientTracking.invariants, 2, 1)
    state = TrackingState(np.ones(1), np.zeros(1), np.zeros(1))
    for iteration in range(50):
        monitor.take(0, iteration, state)
        monitor.take(1, iteration, state)
    assert monitor._parts == {}


@pytest.mark.parametrize("entry", [np.inf, np.nan, 1.7e308])
def test_a_part_that_is_not_finite_is_not_told_and_later_ones_are(entry: float) -> None:
    """Whoever sends the state says so; of the third only the difference overflows."""
    told: list[int] = []
    hiding = Hiding(
        GradientTracking.invariants, 1, 0, lambda: Masks(0, {}), lambda k, _: told.append(k)
    )
    with quiet():
        for iteration, y in enumerate([1.0, entry, 1.0], start=1):
            hiding.take(0, iteration, TrackingState(np.ones(2), np.full(2, y), np.full(2, -y)))
    assert told == [1, 3]


def test_a_long_part_is_taken_along_one_direction_whole() -> None:
    """Longer than what is kept of a direction: blocks of it are made anew, and are the same."""
    told: dict[int, float] = {}
    hiding = Hiding(
        GradientTracking.invariants,
        1,
        4,
        lambda: Masks(0, {}),
        lambda k, numbers: told.update({k: from_units(split(numbers)[0])}),
    )
    places = [0, 70_000, 199_999]
    for iteration, at in enumerate([*places, *places], start=1):
        part = np.zeros(200_000)
        part[at] = np.sqrt(part.size)
        hiding.take(0, iteration, TrackingState(part, part, 0 * part))
    first, again = list(told.values())[:3], list(told.values())[3:]
    assert first == again
    assert len(set(first)) == 3
    assert all(0 < abs(entry) <= 1 for entry in first)


def test_a_method_that_states_what_it_keeps_declares_it() -> None:
    """All whose docstring has an invariant but those with one at the limit, or of a step."""
    stating = {
        name
        for name, cls in ALGORITHMS.items()
        if "nvariant" in " ".join((cls.__doc__ or "").split())
    }
    declaring = {name for name, cls in ALGORITHMS.items() if cls.invariants}
    of_a_step = {"dmsgd", "decentlam", "qg-dsgdm"}
    of_the_limit = {"edge-admm"}
    of_some_weights = {"consensus", "finite-time"}
    of_a_hull = {"median-consensus", "trimmed-mean", "clipped-gossip"}
    assert stating - declaring == of_a_step | of_the_limit | of_some_weights | of_a_hull


# ---- asked for ----


class _Broken(WrongSign):
    requires: ClassVar[Any] = GradientTracking.requires


def test_a_run_looks_by_default_and_simulated_at_every_iteration() -> None:
    costs = [Quadratic(np.eye(2), np.ones(2) * i) for i in range(4)]
    settings: dict[str, Any] = {"algorithm": _Broken(0.1), "force": True}
    ends = {}
    for on in ("dense", "simulated"):
        with pytest.raises(InvariantBroken) as caught:
            p2pdo.run(costs, on=on, rounds=20, observe_every=10, **settings)
        ends[on] = caught.value.iteration
    assert ends == {"dense": 10, "simulated": 1}
    p2pdo.run(costs, monitor="off", rounds=4, observe_every=2, **settings)


def test_an_unknown_way_to_look_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown monitor 'evry'") as caught:
        resolve(Request(problem="quadratic", monitor="evry"))
    assert "did you mean 'every'" in str(caught.value.hint)


def test_the_error_crosses_processes() -> None:
    error = InvariantBroken("the invariant 'mean c = 0' is broken", iteration=3)
    again = from_plain(error.to_plain())
    assert isinstance(again, InvariantBroken)
    assert again.iteration == 3
