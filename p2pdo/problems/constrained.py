"""A smooth cost over a convex set: a `Composite` whose rest is the set's indicator.

    f(x) = s(x) on X, +∞ outside        the proximal map of the rest is the projection onto X

So what takes a proximal map of a rest keeps to the set: `pg-extra`, `prox-nids`. `value` is that of
s: the nodes' mean may lie a rounding error outside of X, or further before they agree.

    Box          lower ≤ x ≤ upper, entry by entry
    Ball         ‖x − centre‖ ≤ radius
    Halfspace    aᵀx ≤ b
    Affine       E x = e
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.base import Smooth
from p2pdo.problems.checks import positive_penalty, real_array, same_length
from p2pdo.problems.linear_algebra import in_dtype_of
from p2pdo.types import Array

FEASIBLE = 1e-9


@dataclass(frozen=True, eq=False)
class Box:
    """lower ≤ x ≤ upper; −∞ and ∞ where there is no bound. Shape (d,) or () each."""

    lower: Array | float = -np.inf
    upper: Array | float = np.inf

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.lower) <= np.asarray(self.upper)):
            raise ConfigError("a box is empty: lower exceeds upper", hint="swap the bounds")

    def project(self, v: Array) -> Array:
        return np.clip(v, self.lower, self.upper)


@dataclass(frozen=True, eq=False)
class Ball:
    """‖x − centre‖₂ ≤ radius."""

    radius: float
    centre: Array | float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise ConfigError(
                f"a ball's radius must be positive, got {self.radius}", hint="radius=1.0"
            )

    def project(self, v: Array) -> Array:
        out = v - self.centre
        length = float(np.linalg.norm(out))
        return v if length <= self.radius else self.centre + out * (self.radius / length)


@dataclass(frozen=True, eq=False)
class Halfspace:
    """aᵀx ≤ b with a ≠ 0."""

    a: Array
    b: float

    def __post_init__(self) -> None:
        a = real_array("a", self.a, ("d",))
        if not a.any():
            raise ConfigError("a halfspace's normal a is zero", hint="give a nonzero a")
        object.__setattr__(self, "a", a)

    def project(self, v: Array) -> Array:
        beyond = max(0.0, float(self.a @ v) - self.b)
        nearest: Array = v - (beyond / float(self.a @ self.a)) * self.a
        return nearest


@dataclass(frozen=True, eq=False)
class Affine:
    """E x = e with E of shape (k, d); the rows may depend on each other."""

    E: Array
    e: Array

    def __post_init__(self) -> None:
        E = real_array("E", self.E, ("k", "d"))
        e = real_array("e", self.e, ("k",), E.dtype)
        same_length("e", len(e), "the rows of E", len(E))
        object.__setattr__(self, "E", E)
        object.__setattr__(self, "e", e)
        miss = float(np.abs(E @ (self._inverse @ e) - e).max())
        if miss > FEASIBLE * max(1.0, float(np.abs(e).max())):
            raise ConfigError("no x has E x = e", hint="drop the rows that contradict")

    @cached_property
    def _inverse(self) -> Array:
        return np.linalg.pinv(self.E.astype(np.float64))

    def project(self, v: Array) -> Array:
        nearest: Array = v - self._inverse @ (self.E @ v - self.e)
        return nearest


@dataclass(frozen=True, eq=False)
class Constrained:
    """A smooth cost over a set; nodes may have sets of their own, X is then their intersection."""

    cost: Smooth
    within: Box | Ball | Halfspace | Affine

    @property
    def dimension(self) -> int:
        return self.cost.dimension

    @property
    def is_quadratic(self) -> bool:
        """Of the smooth part, as all constants are."""
        return self.cost.is_quadratic

    @property
    def smoothness(self) -> float:
        return self.cost.smoothness

    @property
    def strong_convexity(self) -> float:
        return self.cost.strong_convexity

    def value(self, x: Array) -> float:
        """s(x), also outside of the set."""
        return self.cost.value(x)

    def smooth_gradient(self, x: Array) -> Array:
        return self.cost.gradient(x)

    def rest_prox(self, v: Array, rho: float) -> Array:
        """The projection of v, whatever ρ is."""
        positive_penalty(rho)
        return in_dtype_of(v, self.within.project(v))
