"""Newton methods: their defaults come from the costs, and their order buys iterations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import NetworkNewton
from p2pdo.algorithms.base import CostBounds
from p2pdo.algorithms.catalogue import find, told_by_costs
from p2pdo.errors import ConfigError
from p2pdo.problems import LeastSquares, Quadratic
from p2pdo.types import Array

NAMES = ["dqm", "esom", "newton-tracking"]
N, D = 8, 3


def ill_conditioned(condition: float = 1e3) -> list[Quadratic]:
    """Each with eigenvalues from 1 to `condition`, in directions of its own."""
    rng = np.random.default_rng(11)
    curvatures = np.geomspace(1, condition, D)
    costs = []
    for _ in range(N):
        V = np.linalg.qr(rng.standard_normal((D, D)))[0]
        H = (V * curvatures) @ V.T
        costs.append(Quadratic((H + H.T) / 2, rng.standard_normal(D)))
    return costs


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_given_is_told_by_the_costs(name: str) -> None:
    bounds, cls = CostBounds(9.0, 2.0, 1.0, 4.0, 2.0, 3.0), find(name)
    penalty = {"dqm": "rho"}.get(name, "alpha")
    told = told_by_costs(cls, {}, bounds)
    assert told.keys() == cls.from_costs.keys()
    assert told[penalty] == 6.0
    assert told_by_costs(cls, dict.fromkeys(cls.from_costs, 1.0), None) == {}
    with pytest.raises(ConfigError, match=f"needs {penalty}: the problem does not tell") as caught:
        told_by_costs(cls, {}, None)
    assert "--set" in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", ["quadratic", "breast-cancer", "ill-conditioned"])
def test_the_defaults_reach_the_optimum(name: str, problem: str) -> None:
    costs: Any = ill_conditioned() if problem == "ill-conditioned" else problem
    run = p2pdo.run(costs, name, nodes=N, on="dense", rounds=6000, tol=1e-10, observe_every=20)
    assert run.summary.iterations < 6000, "it stopped because it was near enough"


@pytest.mark.parametrize("name", NAMES)
def test_costs_that_are_only_convex_are_refused(name: str) -> None:
    rng = np.random.default_rng(0)
    flat = [LeastSquares(rng.standard_normal((1, 2)), np.ones(1)) for _ in range(4)]
    with pytest.raises(ConfigError, match="not strongly convex"):
        p2pdo.run(flat, name, on="dense", rounds=1)


def penalised_minimiser(costs: list[Quadratic], W: Array, a: float) -> Array:
    """Of ½ xᵀ(I − W)x + α Σᵢ fᵢ(xᵢ), where DGD ends too."""
    H = np.kron(np.eye(N) - W, np.eye(D))
    for i, cost in enumerate(costs):
        at = slice(i * D, (i + 1) * D)
        H[at, at] += a * cost.H
    c = a * np.concatenate([cost.c for cost in costs])
    return np.linalg.solve(H, c).reshape(N, D)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_network_newton_shrinks_its_error_as_the_series_says(order: int) -> None:
    costs, a, rounds = ill_conditioned(), 0.5, 20
    W = np.zeros((N, N))
    for i in range(N):
        W[i, [i - 1, i, (i + 1) % N]] = 1 / 3
    target = penalised_minimiser(costs, W, a)

    def distance(rounds: int) -> float:
        method = NetworkNewton(a, order=order)
        run = p2pdo.run(costs, method, on="dense", rounds=rounds, start="normal")
        return float(np.linalg.norm(np.stack(list(run.states)) - target))

    flattest, largest = a * 1 + 2 * (1 - 1 / 3), 2 - 2 / 3  # of D, and of B
    worst = (largest / flattest) ** (order + 1)
    steepest = a * 1e3 + 2 * (1 - 1 / 3)  # of D: it shrinks in D's norm
    assert distance(rounds) <= (steepest / flattest) ** 0.5 * worst**rounds * distance(0)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("network-newton", {"step_size": 1.0, "newton_step": 1.5}, r"must lie in \(0, 1\]"),
        ("network-newton", {"step_size": 1.0, "order": -1}, "order must be 0 or more"),
        ("esom", {"order": -1}, "order must be 0 or more"),
        ("esom", {"damping": -1.0}, "damping must be 0 or a positive number"),
        ("newton-tracking", {"alpha": 0.0}, "alpha must be a positive number"),
        ("dqm", {"rho": 0.0}, "rho must be a positive number"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, given: dict[str, Any], says: str) -> None:
    cls: Any = find(name)
    with pytest.raises(ConfigError, match=says) as caught:
        cls(**given)
    assert caught.value.hint
