"""Quadratic costs.

    f(x) = ½ xᵀH x − cᵀx        ∇f(x) = H x − c        L = max |λ(H)|        μ = max(0, λmin(H))

One node's H may be indefinite; only the network's sum must have a minimum.
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
    positive_penalties,
    positive_penalty,
    real_array,
    require_strongly_convex,
    same_length,
)
from p2pdo.problems.linear_algebra import (
    in_dtype_of,
    rounding,
    rows_times,
    solve_symmetric,
    times_rows,
)
from p2pdo.types import Array

ASYMMETRY = 16
"""How many roundings H may differ from its transpose by; what is kept is symmetric exactly."""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """½ xᵀH x − cᵀx with H symmetric of shape (d, d) and c of shape (d,)."""

    in_place: ClassVar[bool] = True

    H: Array
    c: Array

    def __post_init__(self) -> None:
        H = _symmetric(real_array("H", self.H, ("d", "d")))
        c = real_array("c", self.c, ("d",), H.dtype)
        same_length("c", len(c), "the rows of H", len(H))
        object.__setattr__(self, "H", H)
        object.__setattr__(self, "c", c)

    @property
    def is_quadratic(self) -> bool:
        return True

    @property
    def dimension(self) -> int:
        return len(self.c)

    def value(self, x: Array) -> float:
        return float(x @ (0.5 * (self.H @ x) - self.c))

    def gradient(self, x: Array) -> Array:
        return in_dtype_of(x, self.H @ x - self.c)

    def hessian(self, x: Array) -> Array:
        """H, at every x."""
        return in_dtype_of(x, self.H)

    def dual_gradient(self, y: Array) -> Array:
        """Return argmin_x f(x) − yᵀx, H⁻¹ (c + y).

        Raises:
            ConfigError: H is not positive definite.
        """
        require_strongly_convex(self.strong_convexity)
        eigenvalues, V = self._eigen
        return in_dtype_of(y, V @ ((V.T @ (self.c + y)) / eigenvalues))

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖², (H + ρI)⁻¹ (c + ρv).

        Raises:
            ConfigError: ρ is not positive, or not above the most negative curvature of H.
        """
        eigenvalues, V = self._eigen
        curvatures = eigenvalues + positive_penalty(rho)
        require_curved(curvatures[0], rho, eigenvalues[0])
        return in_dtype_of(v, V @ ((V.T @ (self.c + rho * v)) / curvatures))

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        eigenvalues, V = np.linalg.eigh(self.H.astype(np.float64))
        return eigenvalues, V

    @property
    def _eigenvalues(self) -> Array:
        return self._eigen[0]

    @property
    def smoothness(self) -> float:
        return float(np.abs(self._eigenvalues).max())

    @property
    def strong_convexity(self) -> float:
        smallest = float(self._eigenvalues[0])
        return smallest if smallest > _noise(self) * self.smoothness else 0.0

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> QuadraticStack:
        common_dimension(problems)
        return QuadraticStack(np.stack([p.H for p in problems]), np.stack([p.c for p in problems]))

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,), the shortest one where there are several.

        Raises:
            ConfigError: the sum has no minimum.
        """
        common_dimension(problems)
        noise = max(_noise(p) for p in problems)
        H = np.stack([p.H for p in problems]).sum(axis=0, dtype=np.float64)
        c = np.stack([p.c for p in problems]).sum(axis=0, dtype=np.float64)
        x = solve_symmetric(H, c, noise)
        eigenvalues = np.linalg.eigvalsh(H)
        is_convex = eigenvalues[0] >= -noise * np.abs(eigenvalues).max()
        scale = np.linalg.norm(c) + np.linalg.norm(H) * np.linalg.norm(x)
        if not is_convex or np.linalg.norm(H @ x - c) > noise**0.5 * scale:
            raise ConfigError(
                "the sum of these quadratics is not bounded below: it has no minimiser",
                hint="make the sum of all H positive definite, for example add a multiple of I",
            )
        return x


@dataclass(frozen=True, eq=False)
class QuadraticStack:
    """N quadratics at once: H of shape (N, d, d), c of shape (N, d), X of shape (N, d)."""

    H: Array
    c: Array

    @property
    def dimension(self) -> int:
        return int(self.c.shape[1])

    def value(self, X: Array) -> float:
        return float(np.sum(X * (0.5 * rows_times(self.H, X) - self.c)))

    def gradient(self, X: Array) -> Array:
        return in_dtype_of(X, rows_times(self.H, X) - self.c)

    def prox(self, V: Array, rho: Array | float) -> Array:
        """Every node's proximal map; ρ is one for all or a column (N, 1).

        Raises:
            ConfigError: ρ is not positive, or not above the most negative curvature of every H.
        """
        eigenvalues, U = self._eigen
        curvatures = eigenvalues + positive_penalties(rho)
        require_curved(curvatures[:, 0].min(), float(np.max(rho)), float(eigenvalues.min()))
        pulled = times_rows(self.c + rho * V, U)
        return in_dtype_of(V, rows_times(U, pulled / curvatures))

    @cached_property
    def _eigen(self) -> tuple[Array, Array]:
        eigenvalues, U = np.linalg.eigh(self.H.astype(np.float64))
        return eigenvalues, U


def require_curved(curvature: float, rho: float, eigenvalue: float) -> None:
    """Refuses a proximal map without a minimum; the curvature is that of H and ρ together."""
    if not curvature > 0:
        raise ConfigError(
            f"with rho={rho:g} the proximal map has no minimum: H has the eigenvalue "
            f"{eigenvalue:.3g}",
            hint=f"give a rho above {-eigenvalue:.3g}",
        )


def _symmetric(H: Array) -> Array:
    """H made symmetric to the last bit, refused where more than rounding is missing."""
    rows, columns = H.shape
    if rows != columns:
        raise ConfigError(
            f"H must be square, got shape {H.shape}",
            hint="for ‖A x − b‖² with any shape of A use LeastSquares(A, b)",
        )
    if np.array_equal(H, H.T):
        return H
    difference = float(np.abs(H - H.T).max())
    if difference > ASYMMETRY * rounding(H.dtype, len(H)) * float(np.abs(H).max()):
        raise ConfigError(
            f"H must be symmetric, but differs from its transpose by {difference:.3g}",
            hint="½ xᵀH x sees only the symmetric part: give (H + H.T) / 2",
        )
    return real_array("H", 0.5 * H + 0.5 * H.T, ("d", "d"))


def _noise(problem: Quadratic) -> float:
    return rounding(problem.H.dtype, problem.dimension)
