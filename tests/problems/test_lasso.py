"""Lasso: its parts, its optimum, and who may be given it."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.errors import ConfigError
from p2pdo.problems import Composite, Gradient, Lasso, Prox, Solvable
from p2pdo.types import Array

D = 8


def network(l1: float, rows: int = 12) -> list[Lasso]:
    rng = np.random.default_rng(4)
    planted = np.where(np.arange(D) < 3, 1.0, 0.0)
    costs = []
    for _ in range(4):
        A = rng.standard_normal((rows, D))
        costs.append(Lasso(A, A @ planted + 0.1 * rng.standard_normal(rows), l1))
    return costs


def total(costs: list[Lasso], x: Array) -> float:
    return sum(cost.value(x) for cost in costs)


def test_it_is_composite_and_no_smooth_cost() -> None:
    cost = network(0.1)[0]
    assert isinstance(cost, Composite)
    assert not isinstance(cost, Gradient | Prox | Solvable)


def test_its_value_and_gradient_are_those_of_the_formula() -> None:
    cost, x = network(0.3)[0], np.linspace(-1, 1, D)
    residual = cost.A @ x - cost.b
    assert cost.value(x) == pytest.approx(residual @ residual / 24 + 0.3 * np.abs(x).sum())
    assert np.allclose(cost.smooth_gradient(x), cost.A.T @ residual / 12, atol=1e-14)


def test_the_proximal_map_is_the_minimum_of_what_defines_it() -> None:
    cost, rho = network(0.3)[0], 2.0
    v = np.array([-1.0, -0.15, -0.1, 0.0, 0.1, 0.15, 0.2, 3.0])
    x = cost.rest_prox(v, rho)
    grid = np.linspace(-4, 4, 80_001)
    best = [grid[np.argmin(0.3 * np.abs(grid) + rho / 2 * (grid - one) ** 2)] for one in v]
    assert np.abs(x - best).max() <= 1e-4
    assert x.tolist()[1:6] == [0] * 5


@pytest.mark.parametrize("rows", [12, 1])
@pytest.mark.parametrize("l1", [0.0, 0.01, 0.1, 100.0])
def test_no_direction_descends_from_the_minimiser(l1: float, rows: int) -> None:
    costs = network(l1, rows)
    x = Lasso.minimiser(costs)
    pull = -sum(cost.smooth_gradient(x) for cost in costs)
    on = x != 0
    assert np.abs(pull[on] - 4 * l1 * np.sign(x[on])).max(initial=0) < 1e-10
    assert np.abs(pull[~on]).max(initial=0) <= 4 * l1 + 1e-10
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert total(costs, x) <= total(costs, x + 1e-3 * rng.standard_normal(D)) + 1e-12


def test_it_finds_the_planted_support() -> None:
    assert np.flatnonzero(Lasso.minimiser(network(0.1))).tolist() == [0, 1, 2]


def test_a_method_that_would_overlook_the_kink_is_refused() -> None:
    with pytest.raises(ConfigError, match="Lasso lacks gradient") as caught:
        p2pdo.run(network(0.1), algorithm="dgd", on="dense", rounds=1)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("--algorithm prox-nids;")


@pytest.mark.parametrize("name", ["pg-extra", "prox-nids"])
def test_a_run_by_name_reaches_the_optimum(name: str) -> None:
    run = p2pdo.run(network(0.1), algorithm=name, on="dense", rounds=3000, tol=1e-10)
    assert run.summary.status == "converged"


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="l1 must be a number of at least 0"):
        Lasso(np.eye(2), np.zeros(2), -1)
