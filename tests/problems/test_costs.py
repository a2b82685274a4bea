"""What every smooth cost must be, for those of `regression`, `softmax` and `combined`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.problems import (
    Distance,
    DualGradient,
    FiniteSum,
    Hessian,
    Hinge,
    Huber,
    LeastSquares,
    Logistic,
    Prox,
    Quadratic,
    Ridge,
    Scaled,
    Smooth,
    Softmax,
    Solvable,
    Stackable,
    Sum,
)
from p2pdo.types import Array

RNG = np.random.default_rng(5)


def rows(m: int, d: int = 4) -> Array:
    return RNG.standard_normal((m, d))


def ridge(m: int) -> Ridge:
    return Ridge(rows(m), RNG.standard_normal(m), samples=2 * m, l2=0.1)


def huber(m: int) -> Huber:
    return Huber(rows(m), 3 * RNG.standard_normal(m), samples=m, l2=0.05, delta=0.7)


def softmax(m: int) -> Softmax:
    return Softmax(rows(m), RNG.integers(0, 3, m), classes=3, samples=m + 3, l2=0.1)


def scaled(m: int) -> Scaled:
    return Scaled(ridge(m), 2.5)


def added(m: int) -> Sum:
    return Sum([ridge(m), Logistic(rows(m), np.sign(RNG.standard_normal(m)), m, 0.1)])


MADE = {f.__name__: [f(m) for m in (6, 9, 3)] for f in (ridge, huber, softmax, scaled, added)}
STACKED = ("ridge", "huber", "softmax")
every = pytest.mark.parametrize("name", sorted(MADE))
stacked = pytest.mark.parametrize("name", STACKED)


def slopes(f: Any, x: Array, step: float = 1e-6) -> Array:
    each = step * np.eye(len(x))
    return np.array([(f.value(x + e) - f.value(x - e)) / (2 * step) for e in each])


@every
def test_the_gradient_is_that_of_the_value(name: str) -> None:
    for f in MADE[name]:
        assert isinstance(f, Smooth)
        x = np.random.default_rng(1).standard_normal(f.dimension)
        assert np.allclose(f.gradient(x), slopes(f, x), rtol=0, atol=1e-7)


@every
def test_the_constants_bound_every_pair_of_gradients(name: str) -> None:
    f: Any = MADE[name][1]
    rng = np.random.default_rng(2)
    for _ in range(50):
        x, y = rng.standard_normal((2, f.dimension)) * 3
        change, pull = f.gradient(x) - f.gradient(y), x - y
        assert np.linalg.norm(change) <= f.smoothness * np.linalg.norm(pull) * (1 + 1e-12)
        assert change @ pull >= f.strong_convexity * (pull @ pull) * (1 - 1e-9)


@every
def test_float32_stays_float32(name: str) -> None:
    f: Any = MADE[name][0]
    assert f.gradient(np.ones(f.dimension, np.float32)).dtype == np.float32


@stacked
def test_the_hessian_is_that_of_the_gradient(name: str) -> None:
    f: Any = MADE[name][1]
    x = np.random.default_rng(3).standard_normal(f.dimension)
    each = 1e-6 * np.eye(f.dimension)
    H = np.stack([(f.gradient(x + e) - f.gradient(x - e)) / 2e-6 for e in each])
    assert isinstance(f, Hessian)
    assert np.allclose(f.hessian(x), H, rtol=0, atol=1e-6)
    assert f.hessian(x.astype(np.float32)).dtype == np.float32


@stacked
def test_the_gradient_undoes_the_conjugates(name: str) -> None:
    f: Any = MADE[name][1]
    assert isinstance(f, DualGradient)
    y = np.random.default_rng(6).standard_normal(f.dimension)
    assert np.allclose(f.gradient(f.dual_gradient(y)), y, rtol=0, atol=1e-10)
    assert f.dual_gradient(y.astype(np.float32)).dtype == np.float32


@stacked
def test_stacked_costs_are_the_costs_one_by_one(name: str) -> None:
    costs: Any = MADE[name]
    assert isinstance(costs[0], Stackable)
    stack = type(costs[0]).stack(costs)
    X = np.random.default_rng(4).standard_normal((len(costs), costs[0].dimension))
    each = np.stack([f.gradient(x) for f, x in zip(costs, X, strict=True)])
    assert stack.dimension == costs[0].dimension
    assert np.allclose(stack.gradient(X), each, rtol=0, atol=1e-13)
    total = sum(f.value(x) for f, x in zip(costs, X, strict=True))
    assert stack.value(X) == pytest.approx(total, rel=1e-13)


@stacked
def test_the_minimiser_has_no_gradient_left(name: str) -> None:
    costs: Any = MADE[name]
    assert isinstance(costs[0], Solvable)
    x = type(costs[0]).minimiser(costs)
    assert np.linalg.norm(sum(f.gradient(x) for f in costs)) < 1e-12


@stacked
def test_the_terms_gradients_have_the_gradient_as_their_mean(name: str) -> None:
    f: Any = MADE[name][1]
    assert isinstance(f, FiniteSum)
    x = np.random.default_rng(6).standard_normal(f.dimension)
    mean = f.term_gradients(x, np.arange(f.terms)).mean(axis=0)
    assert np.allclose(mean, f.gradient(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["ridge", "huber"])
def test_the_proximal_map_has_no_gradient_left(name: str) -> None:
    f: Any = MADE[name][1]
    assert isinstance(f, Prox)
    v = np.random.default_rng(7).standard_normal(f.dimension)
    p = f.prox(v, 0.3)
    assert np.linalg.norm(f.gradient(p) + 0.3 * (p - v)) < 1e-12


def test_ridge_without_a_penalty_is_least_squares() -> None:
    A, b, x = rows(7), RNG.standard_normal(7), RNG.standard_normal(4)
    assert Ridge(A, b, 7, 0.0).value(x) == pytest.approx(LeastSquares(A, b).value(x), rel=1e-14)


def test_softmax_of_two_classes_is_the_logistic_loss_of_the_difference() -> None:
    A, b, w = rows(8), RNG.integers(0, 2, 8), RNG.standard_normal((4, 2))
    two = Softmax(A, b, classes=2, samples=8, l2=0.0).value(w.reshape(-1))
    one = Logistic(A, 2.0 * b - 1, samples=8, l2=0.0).value(w[:, 1] - w[:, 0])
    assert two == pytest.approx(one, rel=1e-13)


def test_scores_that_are_huge_do_not_overflow() -> None:
    f = Softmax(1e4 * rows(5), RNG.integers(0, 3, 5), classes=3, samples=5, l2=0.1)
    x = np.ones(12) * np.arange(12)
    assert np.isfinite(f.value(x))
    assert np.isfinite(f.gradient(x)).all()


def test_a_subgradient_of_the_hinge_lies_below_it_everywhere() -> None:
    f = Hinge(rows(9), np.sign(RNG.standard_normal(9)), samples=9, l2=0.1)
    rng = np.random.default_rng(8)
    for _ in range(50):
        x, y = rng.standard_normal((2, 4)) * 2
        assert f.value(y) >= f.value(x) + f.gradient(x) @ (y - x) - 1e-12
    assert np.allclose(f.gradient(x), slopes(f, x), rtol=0, atol=1e-6)  # none at the kink
    assert np.allclose(f.term_gradients(x, np.arange(9)).mean(axis=0), f.gradient(x), atol=1e-15)
    assert not isinstance(f, Smooth)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(np.ones((2, 1)), np.ones(2), 2, 0.1, delta=0.0), "delta must be positive"),
        (lambda: Softmax(np.ones((2, 1)), np.array([0, 3]), 3, 2, 0.1), "from 0 to 2, got 3"),
        (lambda: Softmax(np.ones((2, 1)), np.zeros(2), 1, 2, 0.1), "classes must be"),
        (lambda: Hinge(np.ones((2, 1)), np.array([0.0, 1.0]), 2, 0.1), "must be .1 or"),
        (lambda: Ridge(np.ones((2, 1)), np.ones(3), 3, 0.1), "3 entries where"),
        (lambda: Scaled(Distance(np.ones(2)), 0.0), "factor must be positive"),
        (lambda: Sum([]), "one cost or more"),
        (lambda: Sum([Distance(np.ones(2)), Distance(np.ones(3))]), "one dimension"),
        (lambda: Huber.stack([huber(2), Huber(rows(2), np.ones(2), 2, 0.1)]), "differ in delta"),
        (
            lambda: Softmax.minimiser([Softmax(np.ones((2, 1)), np.array([0, 1]), 2, 2, 0.0)]),
            "no one minimiser",
        ),
    ],
)
def test_what_cannot_be_a_cost_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "costs",
    [
        [Distance(rows(1)[0]) for _ in range(3)],
        [LeastSquares(rows(m), RNG.standard_normal(m)) for m in (6, 2, 9)],
        [Quadratic(A.T @ A, rows(1)[0]) for A in (rows(3), rows(5), rows(4))],
    ],
    ids=lambda costs: type(costs[0]).__name__,
)
def test_proximal_maps_of_all_nodes_are_those_of_each(costs: Any) -> None:
    stack = type(costs[0]).stack(costs)
    V = np.random.default_rng(7).standard_normal((3, 4))
    rho = np.array([[0.3], [1.0], [4.0]])
    each = [f.prox(v, r) for f, v, (r,) in zip(costs, V, rho, strict=True)]
    assert np.allclose(stack.prox(V, rho), each, rtol=0, atol=1e-13)
    assert np.allclose(stack.prox(V, 1.0)[1], each[1], rtol=0, atol=1e-13)
    assert stack.prox(V.astype(np.float32), rho).dtype == np.float32
    with pytest.raises(ConfigError, match="rho > 0"):
        stack.prox(V, rho * [[1], [-1], [1]])


def test_a_proximal_map_without_a_minimum_is_refused_for_all_nodes_too() -> None:
    stack = Quadratic.stack([Quadratic(np.eye(2), np.ones(2)), Quadratic(-np.eye(2), np.ones(2))])
    with pytest.raises(ConfigError, match="no minimum") as refused:
        stack.prox(np.ones((2, 2)), 0.5)
    assert refused.value.hint == "give a rho above 1"
    assert np.allclose(stack.prox(np.ones((2, 2)), np.array([[0.5], [3.0]]))[1], [2, 2])
