"""The laws that every cost obeys, on one table; a new cost adds one line to it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from p2pdo.errors import ConfigError
from p2pdo.problems import (
    DualGradient,
    FiniteSum,
    Gradient,
    Hessian,
    LeastSquares,
    Logistic,
    Problem,
    Prox,
    Quadratic,
    Smooth,
    Solvable,
    Stackable,
)
from p2pdo.types import Array

D = 5


def quadratic(rng: np.random.Generator, rows: int, dtype: npt.DTypeLike) -> Any:
    M = rng.standard_normal((D, D))
    return Quadratic((M @ M.T + np.eye(D)).astype(dtype), rng.standard_normal(D).astype(dtype))


def least_squares(rng: np.random.Generator, rows: int, dtype: npt.DTypeLike) -> Any:
    A = rng.standard_normal((rows, D))
    return LeastSquares(A.astype(dtype), rng.standard_normal(rows).astype(dtype))


def logistic(rng: np.random.Generator, rows: int, dtype: npt.DTypeLike) -> Any:
    b = np.sign(rng.standard_normal(rows))
    return Logistic(rng.standard_normal((rows, D)).astype(dtype), b.astype(dtype), 40, 0.03)


def hessian_of_quadratic(p: Any) -> Array:
    return p.H


def hessian_of_least_squares(p: Any) -> Array:
    return p.A.T @ p.A / len(p.b)


def bound_of_logistic(p: Any) -> Array:
    return p.A.T @ p.A / (4 * p.samples) + p.l2 * np.eye(D)


class Cost(NamedTuple):
    make: Callable[..., Any]
    bound: Callable[[Any], Array]  # the Hessian, or the largest that it can be


COSTS = {
    "quadratic": Cost(quadratic, hessian_of_quadratic),
    "least-squares": Cost(least_squares, hessian_of_least_squares),
    "logistic": Cost(logistic, bound_of_logistic),
}
ROWS = [7, 12, 9, 1]


@pytest.fixture(params=COSTS)
def cost(request: pytest.FixtureRequest) -> Cost:
    return COSTS[request.param]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def make_all(cost: Cost, rng: np.random.Generator, dtype: npt.DTypeLike = np.float64) -> list[Any]:
    return [cost.make(rng, rows, dtype) for rows in ROWS]


def test_a_cost_is_every_oracle(cost: Cost, rng: np.random.Generator) -> None:
    p = cost.make(rng, 7, np.float64)
    for oracle in (Problem, Gradient, Smooth, Stackable, Solvable, Prox):
        assert isinstance(p, oracle)
    assert p.dimension == D


def test_the_gradient_is_the_slope_of_the_value(cost: Cost, rng: np.random.Generator) -> None:
    p, x = cost.make(rng, 7, np.float64), rng.standard_normal(D)
    h = 1e-6
    slope = [(p.value(x + h * e) - p.value(x - h * e)) / (2 * h) for e in np.eye(D)]
    np.testing.assert_allclose(p.gradient(x), slope, rtol=1e-7, atol=1e-8)


def test_the_constants_are_the_extreme_eigenvalues_of_the_hessian(
    cost: Cost, rng: np.random.Generator
) -> None:
    p = cost.make(rng, 12, np.float64)
    eigenvalues = np.linalg.eigvalsh(cost.bound(p))
    assert p.smoothness == pytest.approx(eigenvalues[-1], rel=1e-12)
    assert 0 < p.strong_convexity <= eigenvalues[0] * (1 + 1e-12)
    if not isinstance(p, Logistic):  # whose Hessian may come down to the penalty alone
        assert p.strong_convexity == pytest.approx(eigenvalues[0], rel=1e-11)


def test_the_gradient_is_as_smooth_and_as_convex_as_the_constants_say(
    cost: Cost, rng: np.random.Generator
) -> None:
    p = cost.make(rng, 12, np.float64)
    for _ in range(20):
        x, y = rng.standard_normal((2, D))
        slope, distance = p.gradient(x) - p.gradient(y), np.linalg.norm(x - y)
        assert np.linalg.norm(slope) <= p.smoothness * distance * (1 + 1e-12)
        assert slope @ (x - y) >= p.strong_convexity * distance**2 * (1 - 1e-12)


def test_the_stack_gives_every_nodes_gradient_and_the_sum_of_the_values(
    cost: Cost, rng: np.random.Generator
) -> None:
    problems = make_all(cost, rng)
    X = rng.standard_normal((len(problems), D))
    stack = type(problems[0]).stack(problems)
    each = [p.gradient(x) for p, x in zip(problems, X, strict=True)]
    assert stack.dimension == D
    assert isinstance(stack, Gradient)
    np.testing.assert_allclose(stack.gradient(X), each, rtol=0, atol=1e-12)
    total = sum(p.value(x) for p, x in zip(problems, X, strict=True))
    assert isinstance(stack.value(X), float)
    assert stack.value(X) == pytest.approx(total, rel=1e-13)


def test_a_stack_of_one_is_that_one(cost: Cost, rng: np.random.Generator) -> None:
    p, x = cost.make(rng, 7, np.float64), rng.standard_normal(D)
    np.testing.assert_allclose(type(p).stack([p]).gradient(x[None])[0], p.gradient(x), atol=1e-14)


def test_at_the_minimiser_the_gradients_cancel(cost: Cost, rng: np.random.Generator) -> None:
    problems = make_all(cost, rng)
    x = type(problems[0]).minimiser(problems)
    assert x.shape == (D,)
    assert x.dtype == np.float64
    assert np.linalg.norm(sum(p.gradient(x) for p in problems)) < 1e-12


def test_the_minimiser_is_below_everything_around_it(cost: Cost, rng: np.random.Generator) -> None:
    problems = make_all(cost, rng)
    x = type(problems[0]).minimiser(problems)
    lowest = sum(p.value(x) for p in problems)
    for scale in (1e-3, 1, 10):
        other = x + scale * rng.standard_normal(D)
        assert sum(p.value(other) for p in problems) > lowest


def test_float32_is_kept(cost: Cost, rng: np.random.Generator) -> None:
    problems = make_all(cost, rng, np.float32)
    X = rng.standard_normal((len(problems), D)).astype(np.float32)
    p = problems[0]
    assert p.gradient(X[0]).dtype == np.float32
    assert type(p.value(X[0])) is float
    assert type(p).stack(problems).gradient(X).dtype == np.float32
    exact = p.gradient(X[0].astype(np.float64))
    np.testing.assert_allclose(p.gradient(X[0]), exact, rtol=1e-4, atol=1e-5)


def test_the_gradient_has_the_dtype_of_x_whatever_the_datas_is(
    cost: Cost, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(D)
    assert cost.make(rng, 7, np.float64).gradient(x.astype(np.float32)).dtype == np.float32
    assert cost.make(rng, 7, np.float32).gradient(x).dtype == np.float64


def test_a_start_of_whole_numbers_does_not_round_the_gradient(
    cost: Cost, rng: np.random.Generator
) -> None:
    p, x = cost.make(rng, 7, np.float64), np.arange(D)
    np.testing.assert_array_equal(p.gradient(x), p.gradient(x.astype(float)))


def test_a_float32_minimiser_is_found_in_float64(cost: Cost, rng: np.random.Generator) -> None:
    problems = make_all(cost, rng, np.float32)
    x = type(problems[0]).minimiser(problems)
    assert x.dtype == np.float64
    assert np.linalg.norm(sum(p.gradient(x) for p in problems)) < 1e-12


def test_x_is_left_alone_and_the_gradient_is_a_new_array_each_time(
    cost: Cost, rng: np.random.Generator
) -> None:
    p, x = cost.make(rng, 7, np.float64), rng.standard_normal(D)
    x.flags.writeable = False
    first = p.gradient(x)
    first[:] = np.nan
    assert first.flags.owndata
    assert np.isfinite(p.gradient(x)).all()
    stacked = type(p).stack([p, p]).gradient(np.stack([x, x]))
    assert stacked.flags.owndata
    assert stacked.flags.c_contiguous


def test_the_bits_do_not_depend_on_the_memory_layout_of_the_data(
    cost: Cost, rng: np.random.Generator
) -> None:
    p, x = cost.make(rng, 7, np.float64), rng.standard_normal(D)
    fields = {
        name: np.asfortranarray(value) if isinstance(value, np.ndarray) else value
        for name, value in vars(p).items()
        if not name.startswith("_")
    }
    assert type(p)(**fields).gradient(x).tobytes() == p.gradient(x).tobytes()


def test_nodes_of_different_dimension_are_refused(cost: Cost, rng: np.random.Generator) -> None:
    odd_ones = {
        Quadratic: Quadratic(np.eye(2), np.ones(2)),
        LeastSquares: LeastSquares(np.ones((3, 2)), np.ones(3)),
        Logistic: Logistic(np.ones((3, 2)), np.ones(3), 3, 0.1),
    }
    p = cost.make(rng, 7, np.float64)
    for together in (type(p).stack, type(p).minimiser):
        with pytest.raises(ConfigError, match="problem 1 has dimension 2 where problem 0 has 5"):
            together([p, odd_ones[type(p)]])
        with pytest.raises(ConfigError, match="no problems"):
            together([])


# ---- proximal maps and terms ----


@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
def test_at_the_proximal_point_the_gradients_cancel(
    cost: Cost, rng: np.random.Generator, rho: float
) -> None:
    for p in make_all(cost, rng):
        v = rng.standard_normal(D)
        x = p.prox(v, rho)
        assert x.shape == v.shape
        left = p.gradient(x) + rho * (x - v)
        assert np.linalg.norm(left) < 1e-12 * max(1, rho)


def test_the_proximal_map_keeps_the_dtype_and_leaves_v_alone(
    cost: Cost, rng: np.random.Generator
) -> None:
    p, v = cost.make(rng, 7, np.float64), rng.standard_normal(D).astype(np.float32)
    v.flags.writeable = False
    x = p.prox(v, 0.5)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, p.prox(v.astype(np.float64), 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rho", [0.0, -1.0, np.nan, np.inf])
def test_a_penalty_that_is_not_positive_is_refused(
    cost: Cost, rng: np.random.Generator, rho: float
) -> None:
    with pytest.raises(ConfigError, match="needs rho > 0"):
        cost.make(rng, 7, np.float64).prox(np.zeros(D), rho)


def test_a_concave_direction_needs_a_penalty_above_it() -> None:
    p = Quadratic(np.diag([1.0, -2.0]), np.zeros(2))
    with pytest.raises(ConfigError, match="has the eigenvalue -2") as caught:
        p.prox(np.ones(2), 1.5)
    assert "above 2" in str(caught.value.hint)
    np.testing.assert_allclose(p.prox(np.ones(2), 3.0), [0.75, 3.0])


FINITE_SUMS = {name: c for name, c in COSTS.items() if name != "quadratic"}


@pytest.mark.parametrize("name", FINITE_SUMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_terms_have_the_gradient_as_their_mean(
    name: str, rng: np.random.Generator, dtype: npt.DTypeLike
) -> None:
    for p in make_all(FINITE_SUMS[name], rng, dtype):
        assert isinstance(p, FiniteSum)
        x = rng.standard_normal(D).astype(dtype)
        each = p.term_gradients(x, np.arange(p.terms))
        assert each.shape == (p.terms, D)
        assert each.dtype == x.dtype
        exact = 1e-5 if dtype is np.float32 else 1e-13
        np.testing.assert_allclose(each.mean(axis=0), p.gradient(x), rtol=exact, atol=exact)
        one = p.term_gradients(x, np.array([p.terms - 1]))[0]
        np.testing.assert_allclose(one, each[-1], rtol=exact, atol=exact)


# ---- second derivatives, and gradients of the conjugate ----


def test_the_hessian_is_the_slope_of_the_gradient(cost: Cost, rng: np.random.Generator) -> None:
    for p in make_all(cost, rng):
        assert isinstance(p, Hessian)
        x, h = rng.standard_normal(D), 1e-6
        slopes = [(p.gradient(x + h * e) - p.gradient(x - h * e)) / (2 * h) for e in np.eye(D)]
        np.testing.assert_allclose(p.hessian(x), slopes, rtol=0, atol=1e-8)
        assert p.hessian(x.astype(np.float32)).dtype == np.float32


def test_the_gradient_undoes_the_conjugates(cost: Cost, rng: np.random.Generator) -> None:
    p, y = cost.make(rng, 12, np.float64), rng.standard_normal(D)
    assert isinstance(p, DualGradient)
    y.flags.writeable = False
    x = p.dual_gradient(y)
    np.testing.assert_allclose(p.gradient(x), y, rtol=0, atol=1e-11)
    single = p.dual_gradient(y.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "flat",
    [
        Quadratic(np.diag([1.0, 0.0]), np.zeros(2)),
        LeastSquares(np.ones((1, 2)), np.ones(1)),
        Logistic(np.ones((3, 2)), np.ones(3), 3, 0.0),
    ],
    ids=lambda p: type(p).__name__,
)
def test_a_cost_without_strong_convexity_has_no_gradient_of_its_conjugate(flat: Any) -> None:
    with pytest.raises(ConfigError, match="not strongly convex") as caught:
        flat.dual_gradient(np.ones(2))
    assert "l2=0.01" in str(caught.value.hint)
