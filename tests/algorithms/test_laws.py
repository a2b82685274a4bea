"""Every algorithm of the library obeys every law of `p2pdo.testing.laws`.

A new algorithm adds its recursion, the paper's in matrix form, to a file of `recursions/`: that is
its line in the table, and a test says if it is missing. A recursion is written once more, for all
nodes at once and with plain NumPy, and shares no code with the library.

The laws themselves are tested at the end: planted mistakes must break the law that names them.
"""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.base import Limit, Missing, Requires
from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.algorithms.edges import edges_of
from p2pdo.effects import Here, Mix, Step, exchange_each, mix
from p2pdo.errors import WorkloadFailed
from p2pdo.graphs.weights import Stochastic, Weights, from_matrix
from p2pdo.problems.base import Gradient
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.testing import laws
from p2pdo.testing.laws import bits, held, settings
from p2pdo.testing.laws.costs import COSTS, DIMENSION
from p2pdo.testing.laws.networks import Network
from p2pdo.types import Array


def recorded_cases() -> list[laws.Case]:
    found: list[laws.Case] = []
    for file in sorted((Path(__file__).parent / "recursions").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"recursions_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.CASES
    return found


CASES = recorded_cases()
BY_NAME = {case.name: case for case in CASES}


def test_every_algorithm_of_the_table_has_its_recursion() -> None:
    held_to = {type(case.algorithm) for case in CASES if case.recursion is not None}
    assert held_to == set(ALGORITHMS.values())
    assert len(BY_NAME) == len(CASES), "two cases of one class need labels"


@pytest.mark.parametrize("law", laws.LAWS, ids=laws.name_of)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_law(case: laws.Case, law: laws.Law) -> None:
    law(case)


@pytest.mark.parametrize("cls", ALGORITHMS.values(), ids=ALGORITHMS)
def test_an_algorithm_says_where_it_goes(cls: type[Algorithm[Any]]) -> None:
    assert cls.limit is not Limit.UNSTATED


# ---- beside the laws ----


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_processes_have_the_bits_of_lock_step(case: laws.Case) -> None:
    oracle = case.algorithm.requires.oracle
    kinds = ("least-squares", "lasso", "coupled", "private")
    made = (COSTS[name](3).problems for name in kinds)
    costs = next(costs for costs in made if isinstance(costs[0], oracle))
    how: dict[str, Any] = {"topology": "ring", "rounds": 8, "start": "normal"}
    expected = p2pdo.run(costs, algorithm=case.algorithm, on="dense", **how).summary.state_sha256
    found = p2pdo.run(costs, algorithm=case.algorithm, on="processes", **how).summary.state_sha256
    assert found == expected


def test_with_a_tolerance_every_executor_stops_at_the_same_iteration_with_the_same_bits() -> None:
    setting = settings.Setting(Network("complete", 6), "quadratic")
    plan = setting.plan(GradientTracking(A), rounds=4000)
    plan = replace(plan, observe_every=7, tol=1e-6)
    ends = set()
    for executor in ("dense", "simulated", "in process"):
        judge = Judge(Objective(plan.problems), plan.nodes, plan.tol)
        reports = run_on(executor, plan, judge)
        assert judge.stopped_at is not None
        assert 0 < judge.stopped_at < 4000
        ends.add((judge.stopped_at, reports[0].iteration, bits.digest(reports)))
    assert len(ends) == 1


# ---- the laws are laws: planted mistakes break the one that names them ----

A, D = 0.05, DIMENSION
RING = settings.Setting(Network("ring", 6), "quadratic")


class Tracked(NamedTuple):
    x: Array
    y: Array
    g: Array


class _Mutant(Algorithm[Tracked]):
    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    batched: ClassVar[bool] = True

    def init(self, x: Array, problem: Any, here: Here) -> Tracked:
        g = problem.gradient(x)
        return Tracked(x, g, g)


class WrongSign(_Mutant):
    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed + A * s.y
        g = problem.gradient(x)
        return Tracked(x, y_mixed + g - s.g, g)


class DroppedWeight(_Mutant):
    """Forgets that its own value belongs into the tracker's sum."""

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - A * s.y
        g = problem.gradient(x)
        return Tracked(x, y_mixed - 0.1 * s.y + g - s.g, g)


class HiddenMemory(_Mutant):
    """Keeps the last gradient on itself and not in the state."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        self.calls += 1
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - A * s.y / self.calls
        g = problem.gradient(x)
        return Tracked(x, y_mixed + g - s.g, g)


class DrawsFromTheClock(_Mutant):
    """Its bits depend on the order in which nodes happen to compute."""

    order = np.random.default_rng(0)

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - A * s.y + 1e-9 * self.order.standard_normal(D)
        g = problem.gradient(x)
        return Tracked(x, y_mixed + g - s.g, g)


class Promotes(_Mutant):
    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        (x,) = yield Mix((s.x,))
        return Tracked(x, s.y + np.float64(0), s.g)


class MutatesWhatItSent(_Mutant):
    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        z = s.x + 0.0
        z_mixed, y = yield from mix(z, s.y)
        if here.node == 2 and here.iteration == 4:
            z -= 1.0
        return Tracked(z_mixed, y, s.g)


class WrongStack(_Mutant):
    """Sums over the first axis, which on stacked states is that of the nodes."""

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - A * s.y / (1 + len(s.y))
        g = problem.gradient(x)
        return Tracked(x, y_mixed + g - s.g, g)


class MeasuresAllNodes(_Mutant):
    """Its norm is that of its own x where it steps alone, and else that of all nodes' x."""

    unison: ClassVar[bool] = True

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - A * s.y / (1 + np.linalg.norm(s.x))
        g = problem.gradient(x)
        return Tracked(x, y_mixed + g - s.g, g)


class LooksAtItsNeighbours(_Mutant):
    unison: ClassVar[bool] = True

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        x, y = yield from mix(s.x, s.y)
        return Tracked(x - A * s.y / edges_of(here).degree, y, s.g)


class ForgetsTheEdge(_Mutant):
    """Says that it is exact without a message, and loses what the neighbour meant to give."""

    missing: ClassVar[Missing] = Missing.HOLD

    def step(self, s: Tracked, problem: Any, here: Here) -> Step[Tracked]:
        part = 1 / (1 + len(here.out_neighbors))
        theirs = yield from exchange_each(dict.fromkeys(here.out_neighbors, (s.x, s.y)))
        x = part * sum((m[0] for m in theirs.values()), s.x) - A * s.y
        g = problem.gradient(x)
        return Tracked(x, part * sum((m[1] for m in theirs.values()), s.y) + g - s.g, g)


def mutant(algorithm: Algorithm[Any]) -> laws.Case:
    return replace(BY_NAME["gradient-tracking"], algorithm=algorithm, tuned=algorithm, rounds=1000)


@pytest.mark.parametrize(
    ("law", "algorithm", "says"),
    [
        (held.equals_its_recursion, WrongSign(), "ring-6 with quadratic costs at iteration 1"),
        (held.equals_its_recursion, DroppedWeight(), "at iteration 2"),
        (held.keeps_its_invariant, DroppedWeight(), "at iteration 1"),
        (held.reaches_its_limit, DroppedWeight(), "from the optimum on ring-6"),
        (held.goes_on_from_a_state, HiddenMemory(), "resumed with other bits"),
        (held.has_the_same_bits_everywhere, DrawsFromTheClock(), "other bits"),
        (held.keeps_the_dtype, Promotes(), "leads to float32, float64"),
        (held.stacks, WrongStack(), "stacked differs"),
        (held.steps_in_unison, MeasuresAllNodes(), "other bits in unison in float64 on ring-6"),
        (held.steps_in_unison, LooksAtItsNeighbours(), "no step for all nodes in float64 on ring"),
        (held.survives_what_it_says, ForgetsTheEdge(), "where values are lost"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Algorithm) else None,
)
def test_a_planted_mistake_breaks_the_law_that_names_it(
    law: laws.Law, algorithm: Algorithm[Any], says: str
) -> None:
    with pytest.raises(laws.BrokenLaw, match=says):
        law(mutant(algorithm))


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (held.equals_its_recursion, "no `recursion` was given"),
        (held.keeps_its_invariant, "declares no `invariants`"),
        (held.reaches_its_limit, "does not declare where it goes"),
        (held.stacks, "not declared to work on stacked states"),
        (held.refuses_other_networks, "it refuses no network"),
    ],
)
def test_a_law_that_was_given_nothing_to_test_is_skipped_with_the_reason(
    law: laws.Law, says: str
) -> None:
    @dataclass(frozen=True)
    class SaysLittle(Consensus):
        limit: ClassVar[Limit] = Limit.UNSTATED
        batched: ClassVar[bool] = False

    with pytest.raises(laws.NothingToTest, match=says):
        law(laws.Case(SaysLittle()))


def test_a_step_that_diverges_does_not_reach_its_limit() -> None:
    with pytest.raises((laws.BrokenLaw, WorkloadFailed)):
        held.reaches_its_limit(mutant(WrongSign()))


def test_a_bias_that_does_not_shrink_with_the_step_is_seen() -> None:
    @dataclass(frozen=True)
    class KeepsItsBias(Consensus):
        step_size: float = 0.1
        limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM

    with pytest.raises(laws.BrokenLaw, match=r"leaves 1/1 of the bias"):
        held.reaches_its_limit(laws.Case(KeepsItsBias(), rounds=50))


def test_reweighting_only_ones_own_row_breaks_the_tracker() -> None:
    # Node 3 leaves its late neighbour 4 out and gives the weight to itself; node 4 does not.
    plan = RING.plan(GradientTracking(A), rounds=3)
    W = plan.weights.to_dense()
    W[3, 3] += W[3, 4] / 2
    W[3, 4] /= 2
    residual = BY_NAME["gradient-tracking"].invariant
    assert residual is not None
    off = [
        np.abs(residual(s)).max() for s in settings.iterates(replace(plan, weights=one_sided(W)))
    ]
    assert off[0] < settings.KEPT < off[1]


def one_sided(W: Array) -> Weights:
    weights = from_matrix(W)
    assert np.allclose(W.sum(axis=1), 1), "no row sum gives it away"
    return weights


@pytest.mark.parametrize("run", ["dense", "simulated", "in process"])
def test_changing_a_sent_array_is_an_error_with_node_and_iteration(run: str) -> None:
    plan = RING.plan(MutatesWhatItSent(), rounds=10)
    with pytest.raises(WorkloadFailed, match="read-only") as caught:
        run_on(run, plan, Judge(Objective(plan.problems), plan.nodes, None))
    assert (caught.value.node, caught.value.iteration) == ("node-2", 4)


def run_on(executor: str, plan: Plan, judge: Judge) -> list[Report]:
    if executor == "dense":
        return run_lockstep(plan, judge, ignore)
    if executor == "simulated":
        return run_simulated(plan, judge, ignore)
    return asyncio.run(run_in_process(plan, judge, ignore))


def ignore(_judgement: object) -> None:
    pass
