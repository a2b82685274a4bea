"""Linear least squares.

    f(x) = ‖A x − b‖² / (2m)        ∇f(x) = Aᵀ(A x − b) / m
    L = λmax(AᵀA) / m        μ = λmin(AᵀA) / m

m is this node's number of rows: a node with more rows does not weigh more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from p2pdo.problems.checks import (
    common_dimension,
    positive_penalties,
    positive_penalty,
    real_array,
    require_strongly_convex,
    same_length,
)
from p2pdo.problems.linear_algebra import (
    gram_extremes,
    in_dtype_of,
    pad_rows,
    rows_times,
    times_rows,
)
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """‖A x − b‖² / (2m) with A of shape (m, d) and b of shape (m,)."""

    in_place: ClassVar[bool] = True

    A: Array
    b: Array

    def __post_init__(self) -> None:
        A = real_array("A", self.A, ("m", "d"))
        b = real_array("b", self.b, ("m",), A.dtype)
        same_length("b", len(b), "the rows of A", len(A))
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)

    @property
    def is_quadratic(self) -> bool:
        return True

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1])

    def value(self, x: Array) -> float:
        r = self.A @ x - self.b
        return float(r @ r) / (2 * len(self.b))

    def gradient(self, x: Array) -> Array:
        r = self.A @ x - self.b
        return in_dtype_of(x, (r @ self.A) / len(self.b))

    def hessian(self, x: Array) -> Array:
        """AᵀA / m, at every x."""
        return in_dtype_of(x, self.A.T @ self.A / len(self.b))

    def dual_gradient(self, y: Array) -> Array:
        """Return argmin_x f(x) − yᵀx, from the decomposition of `prox`.

        Raises:
            ConfigError: A has not full column rank.
        """
        require_strongly_convex(self.strong_convexity)
        U, sigma, Vt = self._singular
        pull = (sigma * (U.T @ self.b) / len(self.b) ** 0.5 + Vt @ y) / (sigma * sigma)
        return in_dtype_of(y, pull @ Vt)

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖², from one decomposition for all v and ρ."""
        positive_penalty(rho)
        U, sigma, Vt = self._singular
        pull = sigma * (U.T @ self.b / len(self.b) ** 0.5 - sigma * (Vt @ v))
        return in_dtype_of(v, v + (pull / (sigma * sigma + rho)) @ Vt)

    @cached_property
    def _singular(self) -> tuple[Array, Array, Array]:
        """Of A/√m, in float64."""
        U, sigma, Vt = np.linalg.svd(
            self.A.astype(np.float64) / len(self.b) ** 0.5, full_matrices=False
        )
        return U, sigma, Vt

    @property
    def terms(self) -> int:
        return len(self.b)

    def term_gradients(self, x: Array, rows: Array) -> Array:
        A = self.A[rows]
        r = A @ x - self.b[rows]
        return in_dtype_of(x, r[:, None] * A)

    @cached_property
    def _extremes(self) -> tuple[float, float]:
        return gram_extremes(self.A)

    @property
    def smoothness(self) -> float:
        return self._extremes[1] / len(self.b)

    @property
    def strong_convexity(self) -> float:
        return self._extremes[0] / len(self.b)

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> LeastSquaresStack:
        common_dimension(problems)
        A, b = pad_rows([p.A for p in problems]), pad_rows([p.b for p in problems])
        m = np.array([len(p.b) for p in problems], np.float64)
        return LeastSquaresStack(A, b, m)

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,), the shortest one where there are several."""
        common_dimension(problems)
        A = np.concatenate([p.A.astype(np.float64) / len(p.b) ** 0.5 for p in problems])
        b = np.concatenate([p.b.astype(np.float64) / len(p.b) ** 0.5 for p in problems])
        return _least_squares(A, b)


@dataclass(frozen=True, eq=False)
class LeastSquaresStack:
    """N least-squares costs at once: A (N, M, d), b (N, M), m (N,); rows beyond m[i] are zero."""

    A: Array
    b: Array
    m: Array

    @property
    def dimension(self) -> int:
        return int(self.A.shape[2])

    def __len__(self) -> int:
        return len(self.m)

    def cost(self, i: int) -> LeastSquares:
        m = int(self.m[i])
        return LeastSquares(self.A[i, :m], self.b[i, :m])

    @cached_property
    def smoothness(self) -> float:
        """The largest λmax(AᵢAᵢᵀ) / mᵢ."""
        A = self.A.astype(np.float64, copy=False)
        rows, columns = A.shape[1:]
        across = A.transpose(0, 2, 1)
        grams = A @ across if rows <= columns else across @ A
        largest = np.linalg.eigvalsh(grams)[:, -1] if grams.shape[1] > 1 else grams[:, 0, 0]
        return float((largest / self.m).max())

    def minimiser(self) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,), the shortest one where there are several."""
        scale = np.sqrt(self.m)
        A = (self.A / scale[:, None, None]).reshape(-1, self.dimension)
        return _least_squares(A, (self.b / scale[:, None]).reshape(-1))

    def value(self, X: Array) -> float:
        R = rows_times(self.A, X) - self.b
        return float(np.sum(np.sum(R * R, axis=1) / (2 * self.m)))

    def gradient(self, X: Array) -> Array:
        R = rows_times(self.A, X) - self.b
        return in_dtype_of(X, times_rows(R, self.A) / self.m[:, None])

    def prox(self, V: Array, rho: Array | float) -> Array:
        """Every node's proximal map; ρ is one for all or a column (N, 1)."""
        positive_penalties(rho)
        pulled, sigma, Vt = self._singular
        pull = sigma * (pulled - sigma * rows_times(Vt, V))
        return in_dtype_of(V, V + times_rows(pull / (sigma * sigma + rho), Vt))

    @cached_property
    def _singular(self) -> tuple[Array, Array, Array]:
        """Of all A/√m, in float64: Uᵀb/√m, the singular values, Vᵀ."""
        scale = np.sqrt(self.m)
        U, sigma, Vt = np.linalg.svd(
            self.A.astype(np.float64) / scale[:, None, None], full_matrices=False
        )
        return times_rows(self.b / scale[:, None], U), sigma, Vt


def _least_squares(A: Array, b: Array) -> Array:
    """The shortest x that minimises ‖A x − b‖, refined once."""
    x = np.linalg.lstsq(A, b, rcond=None)[0]
    refinement: Array = x + np.linalg.lstsq(A, b - A @ x, rcond=None)[0]
    return refinement
