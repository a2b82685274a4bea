"""Costs that share resources: duality, the proximal map, prices; and a run by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

import p2pdo
from p2pdo.algorithms import Dgd, EdgeAdmm, ProxNids
from p2pdo.data import catalogue
from p2pdo.errors import ConfigError, P2pdoError
from p2pdo.problems import Composite, Coupled, Coupling, Gradient, Prox
from p2pdo.types import Array


def costs(n: int = 4, seed: int = 0) -> list[Coupled]:
    made = catalogue.build_all("allocation", n, seed=seed)
    assert all(isinstance(one, Coupled) for one in made)
    return list(made)  # type: ignore[arg-type]


def test_what_it_can_be_asked() -> None:
    (cost,) = costs(1)
    for oracle in (Coupling, Composite, Prox):
        assert isinstance(cost, oracle)
    assert not isinstance(cost, Gradient), "a descent would overlook that prices are positive"


@pytest.mark.parametrize("seed", range(4))
def test_the_best_price_has_no_duality_gap(seed: int) -> None:
    made = costs(5, seed)
    price = Coupled.minimiser(made)
    u = [one.response(price) for one in made]
    excess = np.sum([one.excess(one_u) for one, one_u in zip(made, u, strict=True)], axis=0)
    assert (price >= 0).all()
    assert price.max() > 0, "nothing is scarce: no test"
    assert excess.max() < 1e-10
    assert np.abs(price * excess).max() < 1e-10
    primal = sum(one.cost(one_u) for one, one_u in zip(made, u, strict=True))
    assert primal == pytest.approx(-sum(one.value(price) for one in made), abs=1e-10)


def test_the_optimum_is_that_of_another_solver() -> None:
    made = costs(3)
    h, c, lower, upper = (
        np.concatenate([getattr(one, name) for one in made])
        for name in ("h", "c", "lower", "upper")
    )
    A, b = np.hstack([one.A for one in made]), np.sum([one.b for one in made], axis=0)
    found = minimize(
        lambda u: 0.5 * h @ u**2 - c @ u,
        (lower + upper) / 2,
        jac=lambda u: h * u - c,
        hess=lambda u: np.diag(h),
        bounds=list(zip(lower, upper, strict=True)),
        constraints=LinearConstraint(A, ub=b),
        method="trust-constr",
        options={"gtol": 1e-10, "xtol": 1e-14, "maxiter": 3000},
    )
    price = Coupled.minimiser(made)
    assert -sum(one.value(price) for one in made) == pytest.approx(found.fun, abs=1e-6)
    u = np.concatenate([one.response(price) for one in made])
    assert np.abs(u - found.x).max() < 1e-4


def test_the_gradient_is_that_of_the_value() -> None:
    (cost,) = costs(1)
    price = np.array([0.3, 1.2, 0.1])
    for j in range(3):
        away = np.eye(3)[j] * 1e-6
        slope = (cost.value(price + away) - cost.value(price - away)) / 2e-6
        assert slope == pytest.approx(cost.smooth_gradient(price)[j], abs=1e-7)


@pytest.mark.parametrize("rho", [1e-3, 0.5, 40.0])
def test_the_proximal_map_is_optimal(rho: float) -> None:
    rng = np.random.default_rng(2)
    for cost in costs(6):
        v = 3 * rng.standard_normal(3)
        price = cost.prox(v, rho)
        slope = cost.smooth_gradient(price) + rho * (price - v)
        assert (price >= 0).all()
        assert np.abs(price * slope).max() < 1e-9
        assert slope.min() > -1e-9


@pytest.mark.parametrize("most", [0.2, 100.0])
def test_a_multiplier_is_optimal_within_its_bound(most: float) -> None:
    rng = np.random.default_rng(2)
    for cost in costs(6):
        y = rng.standard_normal(3) / 5
        price = cost.multiplier(y, np.zeros(3), most)
        slope = cost.smooth_gradient(price) + y
        off = price - np.clip(price - slope, 0, most)
        assert np.abs(off).max() < 1e-8


def test_of_what_cannot_fit_nothing_is_made() -> None:
    one = Coupled(*map(np.array, ([1.0], [1.0], [2.0], [3.0], [[1.0]], [1.0])))
    with pytest.raises(ConfigError, match="no decisions that fit: 2 too much is used"):
        Coupled.minimiser([one, one])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"h": np.zeros(2)}, "h must be positive"),
        ({"lower": np.ones(2)}, "lower exceeds upper"),
        ({"c": np.ones(3)}, "c has 3 entries where the columns of A has 2"),
        ({"b": np.ones(2)}, "b has 2 entries where the rows of A has 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Array], says: str) -> None:
    given: dict[str, Any] = {
        "h": np.ones(2),
        "c": np.ones(2),
        "lower": np.zeros(2),
        "upper": np.full(2, 0.5),
        "A": np.ones((1, 2)),
        "b": np.ones(1),
    }
    with pytest.raises(ConfigError, match=says):
        Coupled(**{**given, **changed})


@pytest.mark.parametrize("algorithm", ["prox-nids", "pg-extra", "edge-admm", "consensus-admm"])
def test_what_takes_a_proximal_map_finds_the_best_price_by_name(algorithm: str) -> None:
    result = p2pdo.run(
        "allocation", algorithm=algorithm, nodes=6, topology="ring", rounds=4000, tol=1e-10
    )
    assert result.summary.status == "converged"
    made = costs(6)
    u = [one.response(x) for one, x in zip(made, result.states, strict=True)]
    excess = np.sum([one.excess(one_u) for one, one_u in zip(made, u, strict=True)], axis=0)
    assert excess.max() < 1e-4


def test_a_dual_subgradient_runs_by_name_and_comes_near() -> None:
    result = p2pdo.run(
        "allocation", algorithm="dual-subgradient", nodes=4, topology="ring", rounds=500
    )
    assert result.summary.gap is not None
    assert abs(result.summary.gap) < 1e-2


def test_primal_decomposition_never_uses_more_than_there_is() -> None:
    made = costs(4)
    how: dict[str, Any] = {"algorithm": "primal-decomposition", "topology": "ring"}
    gaps = []
    for rounds in (3, 100):
        result = p2pdo.run("allocation", nodes=4, rounds=rounds, **how)
        u = [one.response(x) for one, x in zip(made, result.states, strict=True)]
        excess = np.sum([one.excess(one_u) for one, one_u in zip(made, u, strict=True)], axis=0)
        assert excess.max() < 1e-7, "also before the prices are equal"
        gaps.append(sum(one.cost(one_u) for one, one_u in zip(made, u, strict=True)))
    least = -sum(one.value(Coupled.minimiser(made)) for one in made)
    assert least - 1e-9 <= gaps[1] < gaps[0]
    assert gaps[1] - least < 0.2 * (gaps[0] - least)


def test_what_would_overlook_that_prices_are_positive_is_refused() -> None:
    with pytest.raises(P2pdoError, match="Coupled lacks gradient"):
        p2pdo.run(costs(3), algorithm=Dgd(0.1), topology="ring", rounds=2)
    p2pdo.run(costs(3), algorithm=ProxNids(0.01), topology="ring", rounds=2)
    p2pdo.run(costs(3), algorithm=EdgeAdmm(), topology="ring", rounds=2)
