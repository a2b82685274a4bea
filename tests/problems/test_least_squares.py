import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.problems import LeastSquares


def test_the_value_is_the_squared_residual_over_twice_the_rows() -> None:
    p = LeastSquares([[1, 0], [0, 2], [1, 1]], [1, 2, 0])
    x = np.array([2.0, 3.0])
    assert p.value(x) == (1 + 16 + 25) / 6
    np.testing.assert_allclose(p.gradient(x), [(1 + 5) / 3, (2 * 4 + 5) / 3])


def test_too_few_rows_are_not_strongly_convex() -> None:
    p = LeastSquares(np.eye(3)[:2], [1, 1])
    assert p.strong_convexity == 0
    assert p.smoothness == pytest.approx(0.5)


def test_dependent_columns_are_not_strongly_convex() -> None:
    column = np.random.default_rng(0).standard_normal((9, 1))
    assert LeastSquares(np.hstack([column, 3 * column]), np.ones(9)).strong_convexity == 0


def test_a_node_with_more_rows_weighs_no_more() -> None:
    few, many = LeastSquares([[1]], [0]), LeastSquares(np.ones((9, 1)), np.ones(9))
    np.testing.assert_allclose(LeastSquares.minimiser([few, many]), [0.5], rtol=1e-14)


def test_where_no_data_decide_the_shortest_minimiser_is_taken() -> None:
    x = LeastSquares.minimiser([LeastSquares([[1, 1]], [1]), LeastSquares([[2, 2]], [2])])
    np.testing.assert_allclose(x, [0.5, 0.5], rtol=1e-14)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), rows=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_the_minimiser_solves_the_normal_equations(seed: int, rows: list[int]) -> None:
    rng = np.random.default_rng(seed)
    problems = [LeastSquares(rng.standard_normal((m, 3)), rng.standard_normal(m)) for m in rows]
    x = LeastSquares.minimiser(problems)
    scale = sum(p.smoothness for p in problems) * max(1.0, float(np.linalg.norm(x)))
    assert np.linalg.norm(sum(p.gradient(x) for p in problems)) < 1e-13 * scale


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), rows=st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_unequal_nodes_stack_to_their_own_gradients(seed: int, rows: list[int]) -> None:
    rng = np.random.default_rng(seed)
    problems = [LeastSquares(rng.standard_normal((m, 3)), rng.standard_normal(m)) for m in rows]
    X = rng.standard_normal((len(rows), 3))
    each = [p.gradient(x) for p, x in zip(problems, X, strict=True)]
    np.testing.assert_allclose(LeastSquares.stack(problems).gradient(X), each, atol=1e-12)


def test_as_many_measurements_as_rows_are_needed() -> None:
    with pytest.raises(ConfigError, match="b has 2 entries where the rows of A has 3"):
        LeastSquares(np.ones((3, 2)), np.ones(2))
