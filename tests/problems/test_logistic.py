import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.problems import Logistic
from p2pdo.problems.linear_algebra import damped_newton
from p2pdo.types import Array

A = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, 1.0]])
B = np.array([1.0, -1.0, 1.0])


def test_value_and_gradient_are_the_formula_term_by_term() -> None:
    p, x = Logistic(A, B, samples=10, l2=0.2), np.array([0.3, -0.7])
    margins = [b * (row[0] * x[0] + row[1] * x[1]) for row, b in zip(A, B, strict=True)]
    losses = sum(math.log(1 + math.exp(-u)) for u in margins)
    assert p.value(x) == pytest.approx(losses / 10 + 0.1 * (0.09 + 0.49), rel=1e-14)
    pulls = sum(-b * row / (1 + math.exp(u)) for row, b, u in zip(A, B, margins, strict=True))
    np.testing.assert_allclose(p.gradient(x), pulls / 10 + 0.2 * x, rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e3, -1e3, 1e30, -1e30])
def test_huge_margins_neither_overflow_nor_lose_the_slope(
    dtype: npt.DTypeLike, scale: float
) -> None:
    p = Logistic(np.eye(2, dtype=dtype), [1, 1], samples=2, l2=0)
    x = np.full(2, scale, dtype)
    assert p.value(x) == pytest.approx(max(0.0, -scale), rel=1e-6)
    np.testing.assert_allclose(p.gradient(x), [0.0 if scale > 0 else -0.5] * 2, atol=1e-30)
    stack = Logistic.stack([p, p])
    np.testing.assert_array_equal(stack.gradient(np.stack([x, x])), [p.gradient(x)] * 2)


def test_the_smoothness_is_a_quarter_of_the_grams_plus_the_penalty() -> None:
    p = Logistic(A, B, samples=10, l2=0.2)
    assert p.smoothness == pytest.approx(np.linalg.eigvalsh(A.T @ A)[-1] / 40 + 0.2, rel=1e-14)
    assert p.strong_convexity == 0.2


def test_filled_up_rows_weigh_nothing() -> None:
    long, short = Logistic(A, B, 3, 0.1), Logistic(A[:1], B[:1], 5, 0.3)
    X = np.array([[0.1, 0.2], [-0.4, 0.3]])
    stack = Logistic.stack([long, short])
    assert stack.value(X) == pytest.approx(long.value(X[0]) + short.value(X[1]), rel=1e-14)
    np.testing.assert_allclose(stack.gradient(X)[1], short.gradient(X[1]), atol=1e-15)


def random_problems(seed: int, rows: list[int], l2: float, spread: float) -> list[Logistic]:
    rng = np.random.default_rng(seed)
    samples = sum(rows)
    return [
        Logistic(
            spread * rng.standard_normal((m, 3)),
            rng.choice([-1.0, 1.0], m),
            samples,
            l2 / len(rows),
        )
        for m in rows
    ]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    l2=st.sampled_from([1e-6, 1e-3, 1.0, 100.0]),
    spread=st.sampled_from([0.01, 1.0, 10.0]),
)
def test_every_penalised_regression_is_solved_to_rounding(
    seed: int, rows: list[int], l2: float, spread: float
) -> None:
    problems = random_problems(seed, rows, l2, spread)
    x = Logistic.minimiser(problems)
    assert np.linalg.norm(sum(p.gradient(x) for p in problems)) < 1e-13 * max(1.0, spread)


def test_without_a_penalty_overlapping_samples_have_a_minimiser() -> None:
    p = Logistic([[1, 1], [1, 1], [1, 0], [1, 0]], [1, 1, 1, -1], samples=4, l2=0)
    q = Logistic([[1, 1]], [-1], samples=4, l2=0)
    np.testing.assert_allclose(Logistic.minimiser([p, q]), [0, math.log(2)], atol=1e-14)


def test_balanced_samples_are_minimal_where_newton_starts() -> None:
    assert Logistic.minimiser([Logistic([[1], [1]], [1, -1], 2, 0.1)]).tolist() == [0]


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_without_a_penalty_separated_samples_have_no_minimiser(scale: float) -> None:
    with pytest.raises(ConfigError, match="no minimiser") as caught:
        Logistic.minimiser([Logistic(scale * np.array([[1.0], [-2.0]]), [1, -1], 2, 0)])
    assert "l2=0.01" in caught.value.hint


class Fading:
    """exp(−x/4): its slope fades for ever and is zero nowhere."""

    def value(self, x: Array) -> float:
        return float(np.exp(-x[0] / 4))

    def gradient(self, x: Array) -> Array:
        return np.full(1, -self.value(x) / 4)

    def hessian(self, x: Array) -> Array:
        return np.full((1, 1), self.value(x) / 16)


class Rounded:
    """√(1 + x²): convex, but from |x| > 1 on a full Newton step leads away from the minimum."""

    def value(self, x: Array) -> float:
        return float(np.hypot(1, x[0]))

    def gradient(self, x: Array) -> Array:
        return x / np.hypot(1, x)

    def hessian(self, x: Array) -> Array:
        return np.diag(np.hypot(1, x) ** -3)


def test_newton_gives_up_where_the_slope_only_fades() -> None:
    with pytest.raises(ConfigError, match="200 Newton iterations") as caught:
        damped_newton(Fading(), np.full(1, -800.0))
    assert caught.value.hint is not None
    assert "regularisation" in caught.value.hint


def test_newton_halves_a_step_that_would_overshoot() -> None:
    assert abs(damped_newton(Rounded(), np.array([20.0]))[0]) < 1e-15


@pytest.mark.parametrize(
    ("changed", "said", "remedy"),
    [
        ({"b": [1, 0, 1]}, "must be .1 or .1, got 0", "2 * b - 1"),
        ({"b": [1, -1]}, "b has 2 entries where the rows of A has 3", "one entry"),
        ({"samples": 2}, "samples must be a whole number of at least 3, got 2", "samples="),
        ({"samples": 3.0}, "samples must be a whole number of at least 3, got 3.0", "samples="),
        ({"l2": -1}, "l2 must be a number of at least 0, got -1", "l2=0.01"),
        ({"l2": math.inf}, "l2 must be a number of at least 0, got inf", "l2=0.01"),
        ({"l2": "big"}, "l2 must be a number of at least 0, got 'big'", "l2=0.01"),
    ],
)
def test_what_is_no_regression_is_refused_with_a_remedy(
    changed: dict[str, Any], said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Logistic(**({"A": A, "b": B, "samples": 3, "l2": 0.1} | changed))
    assert remedy in caught.value.hint


def test_numbers_of_numpy_do_not_widen_float32() -> None:
    p = Logistic(A.astype(np.float32), B.astype(int), np.int64(3), np.float64(0.1))
    assert (type(p.samples), type(p.l2)) == (int, float)
    assert p.b.dtype == np.float32
    assert p.gradient(np.ones(2, np.float32)).dtype == np.float32
