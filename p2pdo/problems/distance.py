"""Half the squared distance from a point, whose optimum over a network is the points' mean.

f(x) = ½ ‖x − c‖²        ∇f(x) = x − c        L = μ = 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from p2pdo.problems.checks import common_dimension, positive_penalties, positive_penalty, real_array
from p2pdo.problems.linear_algebra import in_dtype_of
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class Distance:
    """½ ‖x − c‖² with c of shape (d,)."""

    in_place: ClassVar[bool] = True

    c: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", real_array("c", self.c, ("d",)))

    @property
    def is_quadratic(self) -> bool:
        return True

    @property
    def dimension(self) -> int:
        return len(self.c)

    @property
    def smoothness(self) -> float:
        return 1.0

    @property
    def strong_convexity(self) -> float:
        return 1.0

    def value(self, x: Array) -> float:
        r = x - self.c
        return 0.5 * float(r @ r)

    def gradient(self, x: Array) -> Array:
        return in_dtype_of(x, x - self.c)

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖² = (c + ρ v) / (1 + ρ)."""
        return in_dtype_of(v, (self.c + positive_penalty(rho) * v) / (1 + rho))

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> DistanceStack:
        common_dimension(problems)
        return DistanceStack(np.stack([p.c for p in problems]))

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return the mean of the points, of shape (d,)."""
        return cls.stack(problems).minimiser()


@dataclass(frozen=True, eq=False)
class DistanceStack:
    """N distances at once: c of shape (N, d)."""

    c: Array

    def __len__(self) -> int:
        return len(self.c)

    @property
    def dimension(self) -> int:
        return int(self.c.shape[1])

    @property
    def smoothness(self) -> float:
        return 1.0

    def cost(self, i: int) -> Distance:
        return Distance(self.c[i])

    def value(self, X: Array) -> float:
        R = X - self.c
        return 0.5 * float(np.einsum("ij,ij->", R, R, dtype=np.float64))

    def gradient(self, X: Array) -> Array:
        return in_dtype_of(X, X - self.c)

    def prox(self, V: Array, rho: Array | float) -> Array:
        """Every node's proximal map; ρ is one for all or a column (N, 1)."""
        return in_dtype_of(V, (self.c + positive_penalties(rho) * V) / (1 + rho))

    def minimiser(self) -> Array:
        mean: Array = self.c.mean(axis=0, dtype=np.float64)
        return mean
