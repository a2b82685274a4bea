import numpy as np
import numpy.typing as npt
import pytest

from p2pdo.errors import ConfigError
from p2pdo.problems import LeastSquares
from p2pdo.problems.checks import nonnegative, whole_number


def test_lists_and_whole_numbers_become_float64() -> None:
    p = LeastSquares([[1, 2], [3, 4]], np.array([True, False]))
    assert (p.A.dtype, p.b.dtype) == (np.float64, np.float64)


def test_lists_take_the_dtype_of_the_arrays_beside_them() -> None:
    assert LeastSquares(np.ones((2, 2), np.float32), [0.5, 1.5]).b.dtype == np.float32


def test_what_is_kept_is_a_copy_that_nobody_can_change() -> None:
    A = np.ones((2, 2))
    p = LeastSquares(A, [1, 1])
    A[0, 0] = 7
    assert p.A[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        p.A[0, 0] = 7


def test_what_is_already_as_kept_is_not_copied_again() -> None:
    p = LeastSquares(np.ones((2, 2)), [1, 1])
    assert LeastSquares(p.A, p.b).A is p.A


def test_foreign_byte_order_is_turned_round() -> None:
    p = LeastSquares(np.ones((2, 2), ">f4"), np.ones(2, ">f4"))
    assert p.A.dtype == np.dtype(np.float32)
    assert p.A.dtype.isnative


@pytest.mark.parametrize(
    ("A", "b", "said", "remedy"),
    [
        ([[1, 2], [3]], [1, 1], "A is no array", "equal length"),
        (np.ones(3), [1, 1, 1], r"A must have shape \(m, d\), got \(3,\)", "m and d"),
        (np.ones((0, 3)), [], r"A must have shape \(m, d\), got \(0, 3\)", "at least 1"),
        ([["x"]], [1], "A must be float32 or float64, got <U1", "np.float64"),
        (np.ones((2, 2), complex), [1, 1], "A must be float32 or float64, got complex128", "A."),
        (np.ones((2, 2), np.float16), [1, 1], "got float16", "A.astype(np.float64)"),
        ([[object()]], [1], "got object", "A.astype"),
        ([[1.0, np.nan]], [1], r"A must be finite, got nan at \[0, 1\]", "impute"),
        ([[1.0]], [-np.inf], r"b must be finite, got -inf at \[0\]", "impute"),
        (np.ones((1, 1), "f4"), np.ones(1), "b must be float32 .* got float64", "np.float32)"),
    ],
)
def test_what_is_no_array_of_reals_is_refused_with_a_remedy(
    A: npt.ArrayLike, b: npt.ArrayLike, said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        LeastSquares(A, b)
    assert remedy in caught.value.hint


@pytest.mark.parametrize("value", [True, 0, -3, 2.0, "3", None])
def test_what_counts_nothing_is_no_whole_number(value: object) -> None:
    with pytest.raises(ConfigError, match="dimension must be a whole number of at least 1"):
        whole_number("dimension", value)


@pytest.mark.parametrize("value", [True, -0.1, float("nan"), "0.1", None])
def test_what_is_below_zero_or_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="noise must be a number of at least 0"):
        nonnegative("noise", value)
