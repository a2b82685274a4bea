"""Pre-flight: what is predicted comes true, and what cannot converge is refused."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.api.jobs import Job, resolve
from p2pdo.api.preflight import QUICK, look_at, look_before
from p2pdo.api.requests import Request
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.problems import LeastSquares, Logistic


def job(algorithm: str = "gradient-tracking", problem: str = "quadratic", **asked: object) -> Job:
    return resolve(Request(problem=problem, algorithm=algorithm, **asked))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "algorithm", ["gradient-tracking", "exact-diffusion", "edge-admm", "consensus-admm"]
)
def test_the_iteration_that_is_predicted_is_where_the_run_stops(algorithm: str) -> None:
    of = job(algorithm, tol=1e-8, rounds=10_000, observe_every=7)
    found = look_at(of, ranges=False)
    run = p2pdo.run("quadratic", algorithm=algorithm, tol=1e-8, rounds=10_000, observe_every=7)
    assert run.summary.status == "converged"
    assert found.prediction.iterations == run.summary.iterations
    assert found.prediction.basis == "exact"


def test_the_gap_that_descent_stops_at_is_predicted_and_no_tolerance_below_it() -> None:
    found = look_at(job("dgd", tol=1e-8), ranges=False)
    gap = p2pdo.run("quadratic", algorithm="dgd", rounds=500).summary.gap
    assert gap is not None
    assert found.prediction.gap == pytest.approx(gap, rel=1e-6)
    assert found.prediction.iterations is None
    assert ("iterations to 1e-08", "never") in found.lines()


def test_a_step_beyond_the_range_is_refused_with_the_range_and_diverges_indeed() -> None:
    of = job(parameters={"step_size": 0.05})
    with pytest.raises(ConfigError, match="diverges on these costs") as caught:
        look_before(of, force=False)
    assert caught.value.hint is not None
    assert "a step size below 0.0294" in caught.value.hint
    with pytest.raises(ConfigError, match="diverges on these costs"):
        p2pdo.run("quadratic", parameters={"step_size": 0.05}, rounds=5000)
    with pytest.raises(WorkloadFailed, match="not finite"):
        p2pdo.run("quadratic", parameters={"step_size": 0.05}, rounds=5000, force=True)


def test_both_sides_of_the_range_are_what_they_are_said_to_be() -> None:
    found = look_at(job())
    assert found.safe is not None
    assert found.safe.below is not None
    for share, is_unsafe in ((0.99, False), (1.01, True)):
        near = job(parameters={"step_size": share * found.safe.below})
        assert look_at(near, ranges=False).is_unsafe is is_unsafe


def test_by_force_it_runs_and_the_warning_goes_with_it() -> None:
    forced = look_before(job(parameters={"step_size": 0.05}), force=True)
    (warning,) = forced.warnings
    assert "diverges on these costs" in warning
    assert forced.settings()["warnings"] == [warning]
    assert "warnings" not in look_before(job(), force=False).settings()


def logistic() -> list[Logistic]:
    rng = np.random.default_rng(5)
    A = rng.standard_normal((6, 9, 3))
    b = np.where(rng.random((6, 9)) < 0.5, -1.0, 1.0)
    return [Logistic(a, s, samples=54, l2=0.05) for a, s in zip(A, b, strict=True)]


def test_other_costs_have_the_rate_of_their_curvature_at_the_optimum() -> None:
    of = resolve(Request(problem=logistic(), nodes=6, parameters={"step_size": 1.0}))
    found = look_at(of, ranges=False)
    assert found.prediction.basis == "optimum"
    assert found.prediction.rate is not None
    run = p2pdo.run(logistic(), parameters={"step_size": 1.0}, rounds=1500, observe_every=10)
    assert run.summary.rates["observed"] == pytest.approx(found.prediction.rate, abs=5e-3)


def test_a_cost_without_curvature_in_some_direction_is_no_divergence() -> None:
    rng = np.random.default_rng(6)
    costs = [LeastSquares(rng.standard_normal((2, 5)), rng.standard_normal(2)) for _ in range(2)]
    found = look_at(resolve(Request(problem=costs, nodes=2)), ranges=False)
    assert not found.is_unsafe
    assert found.strong_convexity == 0
    assert found.condition_number is None


def test_a_large_problem_has_its_theorem_and_no_long_computation() -> None:
    of = job("nids", parameters={"problem.dimension": 400}, nodes=4)
    found = look_at(of, QUICK)
    assert found.prediction.basis == "theorem"
    assert found.prediction.source == "Li, Shi & Yan 2019"
    assert not found.is_unsafe
    assert found.checks[-1].verdict == "ok"


def test_what_nobody_can_tell_is_said_to_be_unknown() -> None:
    found = look_at(job("push-diging", parameters={"step_size": 0.3}))
    assert found.prediction.rate is None
    assert found.checks[-1].verdict == "not proved"
    assert not found.is_unsafe


def test_of_a_codec_nothing_is_predicted_that_only_holds_without_it() -> None:
    found = look_at(job(codec="top-k:0.5"))
    assert found.prediction.rate is None
    assert found.safe is None
    assert found.checks[-1].verdict == "not proved"


@pytest.mark.parametrize(
    ("asked", "slem"),
    [({"topology": "one-peer-exponential"}, 0.0), ({"weights": "active-links:0.5"}, 0.902369)],
)
def test_of_weights_that_vary_the_topologys_figure_is_told_and_no_theorem_on_one_w(
    asked: dict[str, str], slem: float
) -> None:
    found = look_at(job(parameters={"step_size": 1e-5}, **asked))
    assert found.slem == pytest.approx(slem, abs=1e-6)
    assert (found.prediction.rate, found.safe) == (None, None)
    assert found.checks[-1].verdict == "not proved"
