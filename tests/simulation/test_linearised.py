"""The network's iteration as a matrix: held against closed forms, and against runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import (
    Ab,
    ChebyshevGossip,
    Consensus,
    ConsensusAdmm,
    Dgd,
    EdgeAdmm,
    Extra,
    GradientTracking,
    KGt,
    LtAdmm,
    ProxSkip,
    PushDiging,
)
from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.gradient_descent import DgdState
from p2pdo.api.jobs import resolve
from p2pdo.api.requests import Request
from p2pdo.effects import Here, Step, mix
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems import Quadratic
from p2pdo.protocol.judging import Judge, Objective
from p2pdo.protocol.plan import Plan, make_start
from p2pdo.simulation.linearised import course, largest_step, linearise
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.testing.laws.settings import iterates
from p2pdo.types import Array

N, D, MANY = 6, 3, 2000


def curvatures(seed: int = 0) -> list[Array]:
    """Of a ridge regression with 0.3 ‖x‖²/2 at each node."""
    rng = np.random.default_rng([21, seed])
    data = rng.standard_normal((N, 8, D))
    return [A.T @ A / 8 + 0.3 * np.eye(D) for A in data]


def plan(algorithm: Algorithm[Any], topology: str = "ring", rounds: int = 0) -> Plan:
    rng = np.random.default_rng(22)
    graph = by_name(topology, N, np.random.default_rng(0))
    costs = [Quadratic(H, rng.standard_normal(D)) for H in curvatures()]
    starts = [make_start("normal", D, i, 1, "float64") for i in range(N)]
    weights = default(graph)
    return Plan(algorithm, costs, graph, weights, starts, rounds, observe_every=max(1, rounds))


def decisions(of: Plan, rounds: int) -> Array:
    judge = Judge(Objective(of.problems), N, None)
    many = replace(of, rounds=rounds, observe_every=max(1, rounds))
    return np.stack([r.x for r in run_lockstep(many, judge, lambda _: None)])


def test_gradient_descent_has_the_matrix_w_minus_step_times_curvature() -> None:
    of, H = plan(Dgd(0.1)), curvatures()
    blocks = np.zeros((N * D, N * D))
    for i in range(N):
        blocks[i * D : (i + 1) * D, i * D : (i + 1) * D] = H[i]
    expected = np.kron(of.weights.to_dense(), np.eye(D)) - 0.1 * blocks
    linear = linearise(of, H, MANY)
    assert linear is not None
    assert linear.rate == pytest.approx(np.abs(np.linalg.eigvals(expected)).max(), abs=1e-12)


def test_the_mean_that_consensus_keeps_is_no_mode_of_its_runs() -> None:
    of = plan(Consensus())
    linear = linearise(of, [np.zeros((D, D))] * N, MANY)
    assert linear is not None
    assert linear.rate == pytest.approx(spectrum(of.weights).slem, abs=1e-12)
    assert linear.basis.shape[1] < N * D


def fitted_rate(of: Plan) -> float:
    """From the distances to the optimum; modes that turn make them wavy."""
    optimum = Objective(of.problems).minimiser
    far = [
        np.linalg.norm(np.stack([s.x for s in states]) - optimum)
        for states in iterates(replace(of, rounds=2000))
    ]
    seen = [(k, np.log(e)) for k, e in enumerate(far) if 1e-11 < e < 1e-4]
    return float(np.exp(np.polyfit(*zip(*seen, strict=True), 1)[0]))


ADMM = [ConsensusAdmm(0.5), EdgeAdmm(0.5), LtAdmm(0.03, local_steps=3)]
FIRST_ORDER = [GradientTracking(0.05), Extra(0.2), KGt(0.02, local_steps=3)]


@pytest.mark.parametrize("algorithm", [*FIRST_ORDER, *ADMM], ids=lambda a: type(a).__name__)
def test_a_run_converges_at_the_rate_of_its_matrix(algorithm: Algorithm[Any]) -> None:
    of = plan(algorithm)
    linear = linearise(of, curvatures(), MANY)
    assert linear is not None
    assert 0.3 < linear.rate < 1
    assert fitted_rate(of) == pytest.approx(linear.rate, abs=0.15 * (1 - linear.rate))


def test_a_directed_network_has_its_rate_too() -> None:
    of = plan(Ab(0.02), "directed-ring")
    linear = linearise(of, curvatures(), MANY)
    assert linear is not None
    assert fitted_rate(of) == pytest.approx(linear.rate, abs=0.15 * (1 - linear.rate))


@pytest.mark.parametrize(
    "algorithm", [ChebyshevGossip(0.8), ProxSkip(0.1), PushDiging(0.02)], ids=type
)
def test_what_is_not_linear_or_changes_with_time_has_no_matrix(algorithm: Algorithm[Any]) -> None:
    assert linearise(plan(algorithm), curvatures(), MANY) is None


def test_a_state_that_is_too_large_has_none() -> None:
    of = plan(GradientTracking(0.05))
    assert linearise(of, curvatures(), 3 * N * D) is not None
    assert linearise(of, curvatures(), 3 * N * D - 1) is None


@pytest.mark.parametrize("algorithm", [Dgd(0.1), GradientTracking(0.05), EdgeAdmm(0.5)])
def test_where_a_run_goes_and_when_it_is_there_is_known_before(algorithm: Algorithm[Any]) -> None:
    of = plan(algorithm)
    linear = linearise(of, curvatures(), MANY)
    assert linear is not None
    way = course(of, linear)
    assert np.abs(way.limit - decisions(of, 3000)).max() < 1e-10

    def is_near(X: Array) -> bool:
        return bool(np.abs(X - way.limit).max() < 1e-5)

    first = way.first(is_near, every=7, most=1000)
    assert first is not None
    assert is_near(decisions(of, first))
    assert not is_near(decisions(of, first - 7))
    assert way.first(is_near, every=7, most=first // 7 - 1) is None


def test_the_stable_steps_end_where_the_closed_form_says() -> None:
    of = plan(Dgd(0.01))
    same = [np.diag([2.0, 1.0, 0.5])] * N
    smallest = np.linalg.eigvalsh(of.weights.to_dense())[0]
    for given in (0.01, 3.0):  # from within the range and from beyond
        found = largest_step(replace(of, algorithm=Dgd(given)), same, MANY, precision=1e-6)
        assert found == pytest.approx((1 + smallest) / 2, rel=1e-5)
    assert largest_step(plan(Consensus()), same, MANY) is None


def test_a_method_that_no_step_makes_stable_has_no_range() -> None:
    @dataclass(frozen=True)
    class Ascends(Dgd):
        def step(self, s: DgdState, problem: Any, here: Here) -> Step[DgdState]:
            x_mixed = yield from mix(s.x)
            return DgdState(x_mixed + self.step_size * problem.gradient(s.x))

    assert largest_step(plan(Ascends(0.1)), curvatures(), MANY) is None


def test_what_rounding_adds_to_where_runs_go_is_no_mode_of_theirs() -> None:
    """Directions that inner gossip has made short bring with them one that no run has."""
    request = Request(problem="quadratic", algorithm="mudag", nodes=8, topology="ring", rounds=60)
    job = resolve(request)
    linear = linearise(job.plan, [cost.H for cost in job.plan.problems], 1000)
    assert linear is not None
    assert linear.rate == pytest.approx(0.4575, abs=1e-3)
