"""One table, many laws: every algorithm of the library obeys every law below.

A new algorithm adds a line to `ALGORITHMS` and the recursion of its paper in matrix form. The
recursion is written here once more, for all nodes at once and with plain NumPy, and shares no code
with the library: `W @ X` where the library exchanges values.

The laws themselves are tested at the end: planted mistakes must break the law that names them.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Consensus, Dgd, DgdCta, GradientTracking, GtAdam
from p2pdo.algorithms.base import Requires
from p2pdo.effects import Here, Mix, Step, freeze, mix
from p2pdo.errors import WorkloadFailed
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import Weights, default, from_matrix
from p2pdo.problems.base import Gradient
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan, make_start
from p2pdo.protocol.stepper import Stepper
from p2pdo.reporting.digests import state_sha256
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import advance_to, run_lockstep
from p2pdo.simulation.network import Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array

Gradients = Callable[[Array], Array]
Recursion = Callable[[Array, Array, Gradients], Iterator[Array]]

# ---- the papers' recursions in matrix form: row i of X is node i's x ----


def consensus(W: Array, X: Array, G: Gradients) -> Iterator[Array]:
    while True:
        yield X
        X = W @ X


def dgd(alpha: float) -> Recursion:
    def recursion(W: Array, X: Array, G: Gradients) -> Iterator[Array]:
        while True:
            yield X
            X = W @ X - alpha * G(X)

    return recursion


def dgd_cta(alpha: float) -> Recursion:
    def recursion(W: Array, X: Array, G: Gradients) -> Iterator[Array]:
        while True:
            yield X
            Z = W @ X
            X = Z - alpha * G(Z)

    return recursion


def gradient_tracking(alpha: float, *, zero: bool = False) -> Recursion:
    def recursion(W: Array, X: Array, G: Gradients) -> Iterator[Array]:
        old = np.zeros_like(X) if zero else G(X)
        Y = old
        while True:
            yield X
            X = W @ X - alpha * Y
            Y, old = W @ Y + G(X) - old, G(X)

    return recursion


def gtadam(
    alpha: float, b1: float, b2: float, eps: float, bound: float, *, zero: bool = False
) -> Recursion:
    def recursion(W: Array, X: Array, G: Gradients) -> Iterator[Array]:
        old = np.zeros_like(X) if zero else G(X)
        Y, M, V = old, np.zeros_like(X), np.zeros_like(X)
        while True:
            yield X
            M = b1 * M + (1 - b1) * Y
            V = np.clip(b2 * V + (1 - b2) * Y**2, None, bound)
            X = W @ X - alpha * M / (V + eps) ** 0.5
            Y, old = W @ Y + G(X) - old, G(X)

    return recursion


# ---- the table ----


@dataclass(frozen=True)
class Case:
    name: str
    algorithm: Algorithm[Any]
    recursion: Recursion
    tracks: bool = False  # has a tracker y of the mean of its g


A, AA = 0.05, 0.02
ALGORITHMS = [
    Case("consensus", Consensus(), consensus),
    Case("dgd", Dgd(A), dgd(A)),
    Case("dgd-cta", DgdCta(A), dgd_cta(A)),
    Case("gradient-tracking", GradientTracking(A), gradient_tracking(A), tracks=True),
    Case(
        "gradient-tracking from zero",
        GradientTracking(A, tracker_start="zero"),
        gradient_tracking(A, zero=True),
        tracks=True,
    ),
    Case("gtadam", GtAdam(AA), gtadam(AA, 0.9, 0.999, 1e-8, 1e6), tracks=True),
    Case(
        "gtadam, bounded, from zero",
        GtAdam(AA, beta1=0.5, beta2=0.9, epsilon=0.01, bound=0.3, tracker_start="zero"),
        gtadam(AA, 0.5, 0.9, 0.01, 0.3, zero=True),
        tracks=True,
    ),
]
CASES = {case.name: case for case in ALGORITHMS}
every_algorithm = pytest.mark.parametrize("case", ALGORITHMS, ids=lambda case: case.name)

# ---- the networks and the costs ----

GRAPHS = [("ring", 8), ("directed-ring", 8), ("star", 8), ("complete", 8), ("ring", 1), ("ring", 2)]
D = 4


def graph_of(name: str, n: int) -> Graph:
    return by_name(name, n, np.random.default_rng(0))


def quadratics(n: int) -> tuple[list[Any], Gradients]:
    rng = np.random.default_rng([7, n])
    roots = rng.standard_normal((n, D, D))
    H = roots @ roots.swapaxes(1, 2) / D + 0.3 * np.eye(D)
    H = (H + H.swapaxes(1, 2)) / 2
    c = rng.standard_normal((n, D))
    problems = [Quadratic(H[i], c[i]) for i in range(n)]
    return problems, lambda X: np.einsum("nij,nj->ni", H, X) - c


def logistics(n: int) -> tuple[list[Any], Gradients]:
    rng = np.random.default_rng([8, n])
    rows = rng.integers(5, 12, n)
    A = [rng.standard_normal((m, D)) for m in rows]
    b = [np.where(rng.random(m) < 0.5, -1.0, 1.0) for m in rows]
    total, l2 = int(rows.sum()), 0.1

    def gradient(i: int, x: Array) -> Array:
        pull = b[i] / (1 + np.exp(b[i] * (A[i] @ x)))
        return l2 * x - A[i].T @ pull / total

    problems = [Logistic(A[i], b[i], samples=total, l2=l2) for i in range(n)]
    return problems, lambda X: np.stack([gradient(i, x) for i, x in enumerate(X)])


COSTS = {"quadratic": quadratics, "logistic": logistics}


def plan_of(
    algorithm: Algorithm[Any],
    network: tuple[str, int] = ("ring", 8),
    costs: str = "quadratic",
    *,
    rounds: int = 60,
    observe_every: int = 10,
    tol: float | None = None,
    dtype: str = "float64",
) -> Plan:
    graph = graph_of(*network)
    problems = COSTS[costs](graph.n)[0]
    starts = [make_start("normal", D, i, 3, dtype) for i in range(graph.n)]
    return Plan(
        algorithm, problems, graph, default(graph), starts, rounds, observe_every, tol, seed=3
    )


def steppers_of(plan: Plan) -> list[Stepper[Any]]:
    return [
        Stepper(plan.algorithm, plan.problems[i], plan.place(i), plan.starts[i], plan.seed)
        for i in range(plan.nodes)
    ]


def iterates(plan: Plan) -> Iterator[list[Any]]:
    """All nodes' states at every iteration boundary, 0 … rounds."""
    steppers = steppers_of(plan)
    for k in range(plan.rounds + 1):
        advance_to(steppers, k)
        yield [stepper.state for stepper in steppers]


def distance(X: Array, reference: Array) -> float:
    return float((np.abs(X - reference) / np.maximum(1, np.abs(reference))).max())


def judge_of(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, plan.tol)


def ignore(_judgement: object) -> None:
    pass


# ---- the laws ----


def law_equals_the_recursion(case: Case, plan: Plan, costs: str) -> None:
    G = COSTS[costs](plan.nodes)[1]
    reference = case.recursion(plan.weights.to_dense(), np.stack(plan.starts), G)
    for k, (states, X) in enumerate(zip(iterates(plan), reference, strict=False)):
        assert distance(np.stack([s.x for s in states]), X) <= 1e-12, f"iteration {k}"


def law_mean_tracker_is_mean_gradient(plan: Plan) -> None:
    for k, states in enumerate(iterates(plan)):
        y = np.mean([s.y for s in states], axis=0)
        g = np.mean([s.g for s in states], axis=0)
        assert distance(y, g) <= 1e-12, f"iteration {k}"


def law_bits_do_not_depend_on_the_executor(plan: Plan) -> None:
    judge = judge_of(plan)
    dense = run_lockstep(plan, judge, ignore)
    expected = (dense[0].iteration, state_sha256([r.x for r in dense]), judge.stopped_at)
    for result, other in (*_simulated(plan), *_in_process(plan)):
        assert (
            result[0].iteration,
            state_sha256([r.x for r in result]),
            other.stopped_at,
        ) == expected


def _simulated(plan: Plan) -> Iterator[tuple[list[Report], Judge]]:
    for seed in range(3):
        judge = judge_of(plan)
        weather = Weather(delay=0.02, duplicate=0.2, cut=0.005)
        yield run_simulated(plan, judge, ignore, delay_seed=seed, weather=weather), judge


def _in_process(plan: Plan) -> Iterator[tuple[list[Report], Judge]]:
    judge = judge_of(plan)
    yield asyncio.run(run_in_process(plan, judge, ignore)), judge


def law_stacked_agrees(plan: Plan) -> None:
    dense = run_lockstep(plan, judge_of(plan), ignore)
    stacked = run_stacked(plan, judge_of(plan), ignore)
    assert [r.bytes_sent for r in stacked] == [r.bytes_sent for r in dense]
    assert [r.messages_sent for r in stacked] == [r.messages_sent for r in dense]
    assert distance(np.stack([r.x for r in stacked]), np.stack([r.x for r in dense])) <= 1e-12


def law_goes_on_from_a_state(plan: Plan, at: int) -> None:
    """There is no hidden memory: a copy of the states at `at` leads to the same bits."""
    states: list[Any] = []
    for k, reached in enumerate(iterates(plan)):
        if k == at:
            states = copy.deepcopy(reached)
        if k > at:
            states = [freeze_state(s) for s in pure_iteration(plan, states, k - 1)]
            for ours, theirs in zip(states, reached, strict=True):
                for a, b in zip(ours, theirs, strict=True):
                    assert a.tobytes() == b.tobytes(), f"iteration {k}"


def pure_iteration(plan: Plan, states: Sequence[Any], k: int) -> list[Any]:
    """One iteration with nothing but the algorithm's pure steps."""
    steps, asked = [], []
    for i, state in enumerate(states):
        place = plan.place(i)
        here = Here(k, i, place.in_neighbors, place.out_neighbors, plan.seed)
        step = plan.algorithm.step(state, plan.problems[i], here)
        steps.append(step)
        asked.append(next(step))
    result = []
    for i, step in enumerate(steps):
        values = {j: asked[j].values for j, _ in plan.weights.row(i).entries}
        assert isinstance(asked[i], Mix)
        try:
            step.send(plan.weights.row(i).weighted_sum(values))
        except StopIteration as stop:
            result.append(stop.value)
    assert len(result) == plan.nodes, "one exchange an iteration"
    return result


def freeze_state(state: Any) -> Any:
    return type(state)(*map(freeze, state))


def law_leaves_sent_arrays_alone(plan: Plan) -> None:
    """Every array of every state keeps its bytes for ever, and is frozen once it was sent."""
    kept: list[tuple[int, Array, bytes]] = []
    for k, states in enumerate(iterates(plan)):
        kept += [(k, a, a.tobytes()) for state in states for a in state]
    for k, a, before in kept:
        assert a.tobytes() == before, f"an array of iteration {k} was changed later"


def law_keeps_the_dtype(plan: Plan) -> None:
    for states in iterates(plan):
        assert {a.dtype for state in states for a in state} == {plan.starts[0].dtype}


def law_reaches_the_optimum(plan: Plan, within: float) -> None:
    optimum = Objective(plan.problems).minimiser
    assert optimum is not None
    reports = run_stacked(plan, judge_of(plan), ignore)  # fast, and equal by another law
    assert max(float(np.linalg.norm(r.x - optimum)) for r in reports) <= within


# ---- the laws hold for all ----


@every_algorithm
@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("network", GRAPHS, ids=lambda g: f"{g[0]}-{g[1]}")
def test_it_equals_the_recursion_of_its_paper(
    case: Case, network: tuple[str, int], costs: str
) -> None:
    law_equals_the_recursion(case, plan_of(case.algorithm, network, costs), costs)


@pytest.mark.parametrize("case", [c for c in ALGORITHMS if c.tracks], ids=lambda c: c.name)
@pytest.mark.parametrize("network", GRAPHS, ids=lambda g: f"{g[0]}-{g[1]}")
def test_the_mean_tracker_is_the_mean_gradient_at_every_iteration(
    case: Case, network: tuple[str, int]
) -> None:
    law_mean_tracker_is_mean_gradient(plan_of(case.algorithm, network))


@every_algorithm
@pytest.mark.parametrize("network", [("ring", 8), ("directed-ring", 5), ("star", 6), ("ring", 1)])
def test_its_bits_are_the_same_on_every_executor(case: Case, network: tuple[str, int]) -> None:
    law_bits_do_not_depend_on_the_executor(plan_of(case.algorithm, network))


def test_with_a_tolerance_every_executor_stops_at_the_same_iteration_with_the_same_bits() -> None:
    plan = plan_of(GradientTracking(A), ("complete", 6), rounds=4000, observe_every=7, tol=1e-6)
    judge = judge_of(plan)
    run_lockstep(plan, judge, ignore)
    assert judge.stopped_at is not None
    assert 0 < judge.stopped_at < 4000
    law_bits_do_not_depend_on_the_executor(plan)


@every_algorithm
@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("network", GRAPHS, ids=lambda g: f"{g[0]}-{g[1]}")
def test_stacked_agrees_to_rounding(case: Case, network: tuple[str, int], costs: str) -> None:
    law_stacked_agrees(plan_of(case.algorithm, network, costs))


@every_algorithm
def test_it_goes_on_from_a_state_as_if_unbroken(case: Case) -> None:
    law_goes_on_from_a_state(plan_of(case.algorithm, rounds=40), at=17)


@every_algorithm
def test_it_leaves_arrays_alone(case: Case) -> None:
    law_leaves_sent_arrays_alone(plan_of(case.algorithm, rounds=20))


@every_algorithm
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_computes_in_the_dtype_of_the_start(case: Case, dtype: str) -> None:
    law_keeps_the_dtype(plan_of(case.algorithm, rounds=5, dtype=dtype))


@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("network", [("ring", 8), ("directed-ring", 8), ("ring", 1)])
@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_gradient_tracking_reaches_the_exact_optimum(
    network: tuple[str, int], costs: str, start: str
) -> None:
    # Reference: Qu & Li 2018, theorem 1: linear convergence for α small enough.
    step = 0.03 if costs == "quadratic" else 0.3
    plan = plan_of(GradientTracking(step, start), network, costs, rounds=3000, observe_every=3000)
    law_reaches_the_optimum(plan, within=1e-9)


@pytest.mark.parametrize("costs", COSTS)
def test_gtadam_reaches_the_exact_optimum(costs: str) -> None:
    # Reference: Carnevale et al. 2022, theorem 1: linear convergence for α small enough.
    plan = plan_of(GtAdam(0.003), ("complete", 4), costs, rounds=6000, observe_every=6000)
    law_reaches_the_optimum(plan, within=1e-6)


@pytest.mark.parametrize("method", [Dgd, DgdCta])
def test_constant_step_dgd_stops_at_a_distance_of_order_alpha(method: type[Any]) -> None:
    # Reference: Nedić & Ozdaglar 2009, proposition 4; Yuan, Ling & Yin 2016: O(α/(1−σ)).
    def bias(alpha: float) -> float:
        plan = plan_of(method(alpha), rounds=int(80 / alpha), observe_every=10**6)
        optimum = Objective(plan.problems).minimiser
        reports = run_stacked(plan, judge_of(plan), ignore)
        return max(float(np.linalg.norm(r.x - optimum)) for r in reports)

    coarse, fine = bias(0.02), bias(0.01)
    assert coarse > 1e-3, "constant α leaves a bias"
    assert coarse / fine == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("network", GRAPHS, ids=lambda g: f"{g[0]}-{g[1]}")
def test_consensus_reaches_the_mean_and_never_moves_it(network: tuple[str, int]) -> None:
    # Reference: DeGroot 1974: a doubly stochastic W leads to the mean.
    plan = plan_of(Consensus(), network, rounds=500)
    mean = np.mean(plan.starts, axis=0)
    for states in iterates(plan):
        assert distance(np.mean([s.x for s in states], axis=0), mean) <= 1e-13
    assert max(distance(s.x, mean) for s in states) <= 1e-12


# ---- the laws are laws: planted mistakes break the one that names them ----


class Tracked(NamedTuple):
    x: Array
    y: Array
    g: Array


class _Mutant(Algorithm[Tracked]):
    requires = Requires(oracle=Gradient)
    batched = True

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


def mutant(algorithm: Algorithm[Any]) -> Case:
    return replace(CASES["gradient-tracking"], name="mutant", algorithm=algorithm)


def test_a_wrong_sign_breaks_the_recursion_and_misses_the_optimum() -> None:
    plan = plan_of(WrongSign())
    with pytest.raises(AssertionError, match="iteration 1"):
        law_equals_the_recursion(mutant(WrongSign()), plan, "quadratic")
    with pytest.raises((AssertionError, WorkloadFailed)):
        law_reaches_the_optimum(plan, within=1e-3)


def test_a_dropped_weight_breaks_the_tracker_and_the_recursion() -> None:
    plan = plan_of(DroppedWeight())
    with pytest.raises(AssertionError, match="iteration 1"):
        law_mean_tracker_is_mean_gradient(plan)
    with pytest.raises(AssertionError, match="iteration 2"):
        law_equals_the_recursion(mutant(DroppedWeight()), plan, "quadratic")


def test_reweighting_only_ones_own_row_breaks_the_tracker() -> None:
    # Node 3 leaves its late neighbour 4 out and gives the weight to itself; node 4 does not.
    plan = plan_of(GradientTracking(A))
    W = plan.weights.to_dense()
    W[3, 3] += W[3, 4] / 2
    W[3, 4] /= 2
    with pytest.raises(AssertionError, match="iteration 1"):
        law_mean_tracker_is_mean_gradient(replace(plan, weights=one_sided(W)))


def one_sided(W: Array) -> Weights:
    weights = from_matrix(W)
    assert np.allclose(W.sum(axis=1), 1), "no row sum gives it away"
    return weights


def test_hidden_memory_does_not_go_on_from_a_state() -> None:
    with pytest.raises(AssertionError, match="iteration 18"):
        law_goes_on_from_a_state(plan_of(HiddenMemory(), rounds=20), at=17)


def test_randomness_that_is_no_function_of_the_place_changes_the_bits() -> None:
    with pytest.raises(AssertionError):
        law_bits_do_not_depend_on_the_executor(plan_of(DrawsFromTheClock()))


def test_a_promotion_of_the_dtype_is_seen() -> None:
    with pytest.raises(AssertionError):
        law_keeps_the_dtype(plan_of(Promotes(), rounds=2, dtype="float32"))


@pytest.mark.parametrize("run", ["dense", "simulated", "in process"])
def test_changing_a_sent_array_is_an_error_with_node_and_iteration(run: str) -> None:
    plan = plan_of(MutatesWhatItSent(), rounds=10)
    with pytest.raises(WorkloadFailed, match="read-only") as caught:
        run_on(run, plan)
    assert (caught.value.node, caught.value.iteration) == ("node-2", 4)


def run_on(executor: str, plan: Plan) -> list[Report]:
    judge = judge_of(plan)
    if executor == "dense":
        return run_lockstep(plan, judge, ignore)
    if executor == "simulated":
        return run_simulated(plan, judge, ignore)
    return asyncio.run(run_in_process(plan, judge, ignore))
