"""l1-regularised least squares.

    f(x) = s(x) + r(x)        s(x) = ‖A x − b‖² / (2m)        r(x) = l1 ‖x‖₁
    ∇s(x) = Aᵀ(A x − b) / m        prox of r: sign(v) max(|v| − l1/ρ, 0)

m is this node's number of rows, and l1 its own: the network's is the sum of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.checks import (
    common_dimension,
    nonnegative,
    positive_penalty,
    real_array,
    same_length,
)
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.linear_algebra import in_dtype_of, rounding, solve_symmetric
from p2pdo.types import Array

SWEEPS = 20_000
SLACK = 1e-9
"""By which part of its scale the gradient may miss the optimality conditions: rounding."""


@dataclass(frozen=True, eq=False)
class Lasso:
    """‖A x − b‖² / (2m) + l1 ‖x‖₁ with A of shape (m, d), b of shape (m,) and l1 ≥ 0."""

    in_place: ClassVar[bool] = True

    A: Array
    b: Array
    l1: float

    def __post_init__(self) -> None:
        A = real_array("A", self.A, ("m", "d"))
        b = real_array("b", self.b, ("m",), A.dtype)
        same_length("b", len(b), "the rows of A", len(A))
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "l1", nonnegative("l1", self.l1))

    @property
    def is_quadratic(self) -> bool:
        """Of the smooth part s, as all constants are."""
        return True

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1])

    def value(self, x: Array) -> float:
        return self._smooth.value(x) + self.l1 * float(np.abs(x).sum())

    def smooth_gradient(self, x: Array) -> Array:
        return self._smooth.gradient(x)

    def rest_prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x r(x) + (ρ/2)‖x − v‖², soft thresholding by l1/ρ."""
        threshold = self.l1 / positive_penalty(rho)
        return in_dtype_of(v, np.sign(v) * np.maximum(np.abs(v) - threshold, 0))

    @property
    def smoothness(self) -> float:
        return self._smooth.smoothness

    @property
    def strong_convexity(self) -> float:
        return self._smooth.strong_convexity

    @cached_property
    def _smooth(self) -> LeastSquares:
        return LeastSquares(self.A, self.b)

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return an argmin of Σᵢ fᵢ of shape (d,).

        Raises:
            ConfigError: none was found in `SWEEPS` sweeps.
        """
        common_dimension(problems)
        A = [p.A.astype(np.float64) for p in problems]
        b = [p.b.astype(np.float64) for p in problems]
        H = sum((a.T @ a / len(a) for a in A), np.zeros((1, 1)))
        c = sum((a.T @ y / len(y) for a, y in zip(A, b, strict=True)), np.zeros(1))
        return _solved(H, c, sum(p.l1 for p in problems))


def _solved(H: Array, c: Array, l1: float) -> Array:
    """Return argmin ½ xᵀH x − cᵀx + l1 ‖x‖₁.

    Coordinate descent finds the signs, a linear system the rest.
    """
    if l1 == 0:
        return solve_symmetric(H, c, rounding(H.dtype, len(H)))
    x, signs = np.zeros_like(c), None
    for _ in range(SWEEPS):
        for j in np.flatnonzero(np.diag(H)):
            pull = c[j] - H[j] @ x + H[j, j] * x[j]
            x[j] = np.sign(pull) * max(abs(pull) - l1, 0) / H[j, j]
        if signs is None or (np.sign(x) != signs).any():
            signs = np.sign(x)
            continue
        polished = _on_support(H, c, l1, signs)
        if (np.sign(polished) == signs).all() and _miss(H, c, l1, polished) <= SLACK:
            return polished
        if _miss(H, c, l1, x) <= SLACK / 1000:  # one of many, where the system is singular
            return x
    raise ConfigError(
        f"found no minimiser of the lasso in {SWEEPS} sweeps",
        hint="a larger l1, or columns of A of similar size",
    )


def _on_support(H: Array, c: Array, l1: float, signs: Array) -> Array:
    x, support = np.zeros_like(c), np.flatnonzero(signs)
    if support.size:
        part = H[np.ix_(support, support)]
        noise = rounding(part.dtype, len(part))
        x[support] = solve_symmetric(part, c[support] - l1 * signs[support], noise)
    return x


def _miss(H: Array, c: Array, l1: float, x: Array) -> float:
    """By how much the gradient is not l1 · sign(x), or not within ± l1 where x is 0, to scale."""
    pull = c - H @ x
    off = np.where(x != 0, np.abs(pull - l1 * np.sign(x)), np.maximum(np.abs(pull) - l1, 0))
    return float(off.max() / (l1 + np.abs(c).max()))
