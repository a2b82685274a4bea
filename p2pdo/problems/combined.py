"""Costs made of costs: a multiple of one, a sum of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.base import Smooth
from p2pdo.problems.linear_algebra import in_dtype_of
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class Scaled:
    """`factor` times a smooth cost, factor > 0."""

    cost: Smooth
    factor: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.factor) and self.factor > 0):
            raise ConfigError(f"a factor must be positive, got {self.factor}", hint="factor=2.0")

    @property
    def dimension(self) -> int:
        return self.cost.dimension

    @property
    def is_quadratic(self) -> bool:
        return self.cost.is_quadratic

    @property
    def smoothness(self) -> float:
        return self.factor * self.cost.smoothness

    @property
    def strong_convexity(self) -> float:
        return self.factor * self.cost.strong_convexity

    def value(self, x: Array) -> float:
        return self.factor * self.cost.value(x)

    def gradient(self, x: Array) -> Array:
        return in_dtype_of(x, self.factor * self.cost.gradient(x))


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of smooth costs of one node; L and μ are the sums of theirs, bounds both."""

    costs: Sequence[Smooth]

    def __post_init__(self) -> None:
        if len({cost.dimension for cost in self.costs}) != 1:
            raise ConfigError(
                "a sum needs one cost or more, all of one dimension", hint="Sum([f, g])"
            )

    @property
    def dimension(self) -> int:
        return self.costs[0].dimension

    @property
    def is_quadratic(self) -> bool:
        return all(cost.is_quadratic for cost in self.costs)

    @property
    def smoothness(self) -> float:
        return sum(cost.smoothness for cost in self.costs)

    @property
    def strong_convexity(self) -> float:
        return sum(cost.strong_convexity for cost in self.costs)

    def value(self, x: Array) -> float:
        return sum(cost.value(x) for cost in self.costs)

    def gradient(self, x: Array) -> Array:
        total = np.zeros_like(x)
        for cost in self.costs:
            total = total + cost.gradient(x)
        return in_dtype_of(x, total)
