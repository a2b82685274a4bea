import numpy as np
import numpy.typing as npt
import pytest

from p2pdo.errors import ConfigError
from p2pdo.problems import Quadratic


def test_the_value_is_half_xhx_minus_cx() -> None:
    p = Quadratic([[2, 1], [1, 4]], [1, -1])
    assert p.value(np.array([1.0, 2.0])) == 0.5 * (2 + 2 * 2 + 4 * 4) - (1 - 2)
    assert p.gradient(np.array([1.0, 2.0])).tolist() == [2 + 2 - 1, 1 + 8 + 1]


def test_the_minimiser_of_one_solves_the_linear_system() -> None:
    assert Quadratic.minimiser([Quadratic(2 * np.eye(3), [2, 4, 6])]).tolist() == [1, 2, 3]


def test_an_ill_conditioned_sum_is_solved_to_rounding() -> None:
    scales = np.logspace(-6, 3, 6)
    problems = [Quadratic(np.diag(scales), scales * i) for i in range(3)]
    np.testing.assert_allclose(Quadratic.minimiser(problems), np.ones(6), rtol=1e-13)


def test_nodes_may_be_indefinite_where_their_sum_is_convex() -> None:
    bent, round_ = Quadratic(np.diag([-1.0, 1.0]), [0, 0]), Quadratic(3 * np.eye(2), [2, 4])
    assert (bent.smoothness, bent.strong_convexity) == (1.0, 0.0)
    np.testing.assert_allclose(Quadratic.minimiser([bent, round_]), [1, 1])


def test_a_flat_direction_is_not_strongly_convex_and_the_shortest_minimiser_is_taken() -> None:
    p = Quadratic(np.full((2, 2), 0.1), [0.1, 0.1])
    assert p.strong_convexity == 0
    np.testing.assert_allclose(Quadratic.minimiser([p]), [0.5, 0.5], rtol=1e-14)


def test_a_cost_of_zero_is_minimal_at_zero() -> None:
    assert Quadratic.minimiser([Quadratic(np.zeros((2, 2)), [0, 0])]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("H", "c"),
    [
        (np.diag([1.0, -1.0]), [0, 0]),  # falls along a curve
        (np.diag([1.0, 0.0]), [0, 1]),  # falls along a line
        (np.zeros((2, 2)), [1, 0]),
    ],
)
def test_a_sum_without_a_minimum_is_refused(H: npt.ArrayLike, c: npt.ArrayLike) -> None:
    with pytest.raises(ConfigError, match="not bounded below") as caught:
        Quadratic.minimiser([Quadratic(H, c)])
    assert "positive definite" in caught.value.hint


def test_an_asymmetry_of_rounding_is_evened_out() -> None:
    H = np.array([[1.0, 0.1], [np.nextafter(0.1, 1), 1.0]])
    p = Quadratic(H, [0, 0])
    assert np.array_equal(p.H, p.H.T)
    assert np.array_equal(Quadratic(p.H, p.c).H, p.H)


@pytest.mark.parametrize(
    ("H", "c", "said", "remedy"),
    [
        (np.eye(3)[:2], [1, 1], r"square, got shape \(2, 3\)", "LeastSquares"),
        ([[1.0, 2.0], [0.0, 1.0]], [1, 1], "symmetric, but differs .* by 2", "(H + H.T) / 2"),
        (np.eye(2), [1, 1, 1], "c has 3 entries where the rows of H has 2", "one entry"),
        (np.eye(2), np.eye(2), r"c must have shape \(d,\), got \(2, 2\)", "at least 1"),
    ],
)
def test_what_is_no_quadratic_is_refused_with_a_remedy(
    H: npt.ArrayLike, c: npt.ArrayLike, said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Quadratic(H, c)
    assert remedy in caught.value.hint
