"""Dense linear algebra that the costs share; all of it in float64.

Eigenvalues below `rounding × λmax` are rounding errors of the data and count as zero: a cost does
not claim to be strongly convex, nor an optimum to exist, on the strength of the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.types import Array

NEWTON_LIMIT = 200
SMALLEST_STEP = 2.0**-20
TELLABLE = 1e-10
"""A change of a value by less than this part of it is not told from rounding."""


def rounding(dtype: np.dtype[np.floating], size: int) -> float:
    """The relative size below which an eigenvalue of a matrix of this order is noise."""
    return float(np.finfo(dtype).eps) * size


def gram_extremes(A: Array) -> tuple[float, float]:
    """(λmin, λmax) of AᵀA; λmin is exactly 0 where A has not full column rank."""
    rows, columns = A.shape
    A = A.astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(A.T @ A if columns <= rows else A @ A.T)
    largest = max(float(eigenvalues[-1]), 0.0)
    smallest = float(eigenvalues[0]) if columns <= rows else 0.0
    is_noise = smallest <= rounding(np.dtype(np.float64), max(A.shape)) * largest
    return (0.0 if is_noise else smallest), largest


def solve_symmetric(H: Array, c: Array, tolerance: float) -> Array:
    """The shortest x that minimises ‖H x − c‖, refined once."""
    eigenvalues, V = np.linalg.eigh(H)
    kept = np.abs(eigenvalues) > tolerance * np.abs(eigenvalues).max()
    V, eigenvalues = V[:, kept], eigenvalues[kept]
    x = V @ ((V.T @ c) / eigenvalues)
    refinement: Array = x + V @ ((V.T @ (c - H @ x)) / eigenvalues)
    return refinement


class Twice(Protocol):
    """A convex function with two derivatives."""

    def value(self, x: Array) -> float: ...
    def gradient(self, x: Array) -> Array: ...
    def hessian(self, x: Array) -> Array: ...


@dataclass(frozen=True, eq=False)
class Tilted:
    """f(x) − yᵀx."""

    f: Twice
    y: Array

    def value(self, x: Array) -> float:
        return self.f.value(x) - float(self.y @ x)

    def gradient(self, x: Array) -> Array:
        g: Array = self.f.gradient(x) - self.y
        return g

    def hessian(self, x: Array) -> Array:
        return self.f.hessian(x)


def damped_newton(f: Twice, x: Array, *, is_definite: bool = False) -> Array:
    """A minimiser of f, to the last digits that the gradient can tell.

    A step is halved until it has brought a fair part of what was predicted: a decrease of the
    value, or, where that is too small to be told from rounding, a decrease of the gradient's norm.
    Where no step brings it, rounding is all that is left: the end. Where the Hessian `is_definite`
    everywhere, its systems are solved without its eigenvalues, many times faster.

    Raises:
        ConfigError: none was found in `NEWTON_LIMIT` iterations.
    """
    for _ in range(NEWTON_LIMIT):
        g = f.gradient(x)
        if is_definite:
            direction = np.linalg.solve(f.hessian(x), g)
        else:
            direction = solve_symmetric(f.hessian(x), g, rounding(g.dtype, g.size))
        x_new = _descend(f, x, g, direction)
        if x_new is None:
            return x
        x = x_new
    raise ConfigError(
        f"found no minimiser in {NEWTON_LIMIT} Newton iterations",
        hint="the cost may have none: add a regularisation, for example l2=0.01",
    )


def _descend(f: Twice, x: Array, g: Array, direction: Array) -> Array | None:
    norm, value, slope = float(np.linalg.norm(g)), f.value(x), float(g @ direction)
    is_told_by_value = slope > TELLABLE * abs(value)
    step = 1.0
    while step >= SMALLEST_STEP and norm > 0:
        x_new = x - step * direction
        if is_told_by_value:
            is_fair = f.value(x_new) <= value - step / 4 * slope
        else:
            is_fair = float(np.linalg.norm(f.gradient(x_new))) <= (1 - step / 4) * norm
        if is_fair:
            return x_new
        step /= 2
    return None


def pad_rows(arrays: Sequence[Array]) -> Array:
    """The arrays stacked along a new first axis, shorter ones filled up with rows of zeros."""
    rows = max(len(a) for a in arrays)
    first = arrays[0]
    stacked = np.zeros((len(arrays), rows, *first.shape[1:]), np.result_type(*arrays))
    for i, a in enumerate(arrays):
        stacked[i, : len(a)] = a
    return stacked


def rows_times(A: Array, X: Array) -> Array:
    """A[i] @ X[i] for each i: (N, m, d) and (N, d) give (N, m)."""
    product: Array = np.matmul(A, X[:, :, None])[:, :, 0]
    return product


def times_rows(R: Array, A: Array) -> Array:
    """R[i] @ A[i] for each i: (N, m) and (N, m, d) give (N, d)."""
    product: Array = np.matmul(R[:, None, :], A)[:, 0, :]
    return product


def in_dtype_of(x: Array, g: Array) -> Array:
    """`g` in the dtype of a floating `x`: float64 data do not turn a float32 run into float64."""
    return g if g.dtype == x.dtype or x.dtype.kind != "f" else g.astype(x.dtype)
