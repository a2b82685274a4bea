"""Theorems: no method is slower than its bound, and no step within its range is unstable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms.catalogue import ALGORITHMS, build
from p2pdo.algorithms.theory import Constants, largest_tracking_step
from p2pdo.api.jobs import Job, resolve
from p2pdo.api.predictions import constants, curvatures, theorem_of
from p2pdo.api.requests import Request
from p2pdo.problems import Quadratic
from p2pdo.reporting.rates import observed_rate
from p2pdo.simulation.linearised import linearise

N, D, MANY = 6, 3, 2000
WITH_STEP = ["dgd", "dgd-cta", "atc", "gradient-tracking", "extra", "exact-diffusion", "nids"]
TOLD = ["opapc", "ssda", "msda"]  # whose steps come from L, μ and W
ROUNDING = 1e-9


def ridge(seed: int) -> list[Quadratic]:
    """‖Ax − b‖²/(2m) + (l2/2) ‖x‖², another condition number at each node and seed."""
    rng = np.random.default_rng([31, seed])
    costs = []
    for _ in range(N):
        A = rng.standard_normal((10, D)) * 10 ** rng.uniform(-0.5, 0.5, D)
        costs.append(Quadratic(A.T @ A / 10 + 0.1 * np.eye(D), A.T @ rng.standard_normal(10) / 10))
    return costs


def job(name: str, seed: int, topology: str, **parameters: float) -> Job:
    return resolve(
        Request(
            problem=ridge(seed), algorithm=name, nodes=N, topology=topology, parameters=parameters
        )
    )


def exact_rate(of: Job) -> float:
    costs = curvatures(of, MANY)
    assert costs is not None
    linear = linearise(of.plan, costs.hessians, MANY)
    assert linear is not None
    return linear.rate


def test_every_theorem_of_the_library_is_held_to_runs_here() -> None:
    spoken = {name for name, cls in ALGORITHMS.items() if cls.theorem is not None}
    assert spoken == {*WITH_STEP, *TOLD, "consensus", "fastmix", "chebyshev-gossip"}


@pytest.mark.parametrize("topology", ["ring", "star", "path", "complete"])
@pytest.mark.parametrize("name", WITH_STEP)
def test_no_method_is_slower_than_its_theorem_nor_unstable_within_it(
    name: str, topology: str
) -> None:
    for seed in range(4):
        at = constants(job(name, seed, topology, step_size=1.0).plan)
        assert at is not None
        theorem = ALGORITHMS[name].theorem
        assert theorem is not None
        most = theorem.largest_step(at)
        assert most is not None
        for share in (0.05, 0.3, 0.7, 0.99):
            of = job(name, seed, topology, step_size=share * most)
            rate = exact_rate(of)
            assert rate < 1 + ROUNDING
            assert rate <= theorem.rate(of.plan.algorithm, at) + ROUNDING


@pytest.mark.parametrize("topology", ["ring", "star", "path", "complete"])
@pytest.mark.parametrize("name", TOLD)
def test_no_method_that_is_told_all_is_slower_than_its_theorem(name: str, topology: str) -> None:
    for seed in range(4):
        of = job(name, seed, topology)
        at, cls = constants(of.plan), ALGORITHMS[name]
        assert at is not None
        assert cls.theorem is not None
        bound = cls.theorem.rate(of.plan.algorithm, at)
        assert exact_rate(of) <= bound + ROUNDING
        assert bound < 1
        steeper = replace(at, smoothness=2 * (at.smoothness or 0))
        assert cls.theorem.rate(of.plan.algorithm, steeper) == 1, "it was not told of such costs"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient-tracking", "nids", "exact-diffusion", "extra"])
def test_ridge_regression_converges_within_the_bound(name: str) -> None:
    of = job(name, 0, "ring", step_size=1.0)
    theorem, at = theorem_of(of.plan, constants(of.plan)), constants(of.plan)
    assert theorem is not None
    assert at is not None
    most = theorem.largest_step(at)
    assert most is not None
    near_the_end = 0.9 if name != "gradient-tracking" else 0.5
    of = job(name, 0, "ring", step_size=near_the_end * most)
    rate, bound = exact_rate(of), theorem.rate(of.plan.algorithm, at)
    rounds = round(np.log(1e-9) / np.log(rate))
    run = p2pdo.run(
        ridge(0),
        algorithm=of.plan.algorithm,
        nodes=N,
        on="stacked",
        rounds=rounds,
        observe_every=max(1, rounds // 200),
    )
    observed = observed_rate(run.metrics)
    assert observed is not None
    assert observed == pytest.approx(rate, abs=(1 - rate) / 4)
    assert observed <= bound < 1


def test_a_theorem_of_symmetric_weights_is_silent_on_others() -> None:
    directed = resolve(
        Request(problem=ridge(0), algorithm="dgd", nodes=N, topology="directed-ring")
    )
    at = constants(directed.plan)
    assert theorem_of(directed.plan, at) is None
    tracking = resolve(
        Request(problem=ridge(0), algorithm="gradient-tracking", nodes=N, topology="directed-ring")
    )
    theorem = theorem_of(tracking.plan, at)
    assert theorem is not None
    assert at is not None
    most = theorem.largest_step(at)
    assert most is not None
    of = job("gradient-tracking", 0, "directed-ring", step_size=most / 2)
    assert exact_rate(of) <= theorem.rate(of.plan.algorithm, at) < 1


def test_without_the_constants_nothing_is_promised() -> None:
    at = Constants(None, None, None, 0.5, 0.5, 0.5, -0.5, symmetric=True)
    for name in WITH_STEP:
        cls: Any = ALGORITHMS[name]
        assert cls.theorem.largest_step(at) is None
        assert cls.theorem.rate(build(cls, {"step_size": 0.1}), at) == 1
    convex = replace(at, smoothness=1.0, convexity=0.0, mean_convexity=0.0)
    assert largest_tracking_step(convex) is None


@pytest.mark.slow
def test_chebyshev_gossip_takes_less_than_half_the_exchanges_of_gossip_on_a_large_grid() -> None:
    n = 32 * 32
    costs = [Quadratic(np.eye(1), np.zeros(1))] * n

    def errors(algorithm: str, rounds: int) -> list[tuple[int, float]]:
        """Exchanges, and what they leave of the disagreement."""
        run = p2pdo.run(
            costs,
            algorithm=algorithm,
            nodes=n,
            topology="grid",
            on="stacked",
            rounds=rounds,
            observe_every=20,
            start="normal",
        )
        start, links = run.metrics[0].consensus_error, 2 * 2 * 32 * 31
        assert start is not None
        return [(m.messages_sent // links, (m.consensus_error or 0) / start) for m in run.metrics]

    enough = next(k for k, left in errors("chebyshev-gossip", 1000) if left <= 1e-6)
    k, left = errors("consensus", 2 * enough)[-1]
    assert k >= 2 * enough
    assert left > 1e-6
