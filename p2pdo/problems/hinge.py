"""The support vector machine's hinge loss with an l2 penalty; not smooth.

    f(x) = (1/m) Σₖ max(0, 1 − bₖ aₖᵀx) + (l2/2) ‖x‖²
    a subgradient: −(1/m) Σₖ [bₖ aₖᵀx < 1] bₖ aₖ + l2 x

There is no L, so a subgradient method's step size must be given, and a constant one keeps a
distance from the optimum; methods that take proximal maps are exact. m (`samples`) is explicit, as
in `logistic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.checks import (
    common_dimension,
    keep_samples,
    positive_penalty,
    require_signs,
)
from p2pdo.problems.linear_algebra import in_dtype_of
from p2pdo.problems.margins import Margins
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class Hinge:
    """A of shape (rows, d), labels b of shape (rows,) of ±1."""

    in_place: ClassVar[bool] = True

    A: Array
    b: Array
    samples: int
    l2: float

    def __post_init__(self) -> None:
        keep_samples(self)
        require_signs(self.b)

    is_smooth: ClassVar[bool] = False

    @property
    def is_quadratic(self) -> bool:
        return False

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1])

    @property
    def strong_convexity(self) -> float:
        return self.l2

    def value(self, x: Array) -> float:
        losses = np.maximum(0, 1 - self.b * (self.A @ x))
        penalty = 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))
        return float(np.sum(losses, dtype=np.float64)) / self.samples + penalty

    def gradient(self, x: Array) -> Array:
        """A subgradient, the gradient where there is one."""
        pull = np.where(self.b * (self.A @ x) < 1, self.b, 0) @ self.A
        return in_dtype_of(x, self.l2 * x - pull / self.samples)

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖²."""
        pull = positive_penalty(rho) * v.astype(np.float64)
        return in_dtype_of(v, Margins(*_samples(self), pull, self.l2 + rho).minimiser())

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,).

        Raises:
            ConfigError: nothing is penalised, or none was found.
        """
        d, l2 = common_dimension(problems), sum(p.l2 for p in problems)
        if l2 == 0:
            raise ConfigError(
                "this support vector machine has no one minimiser: nothing is penalised",
                hint="penalise it: for example l2=0.01",
            )
        Z, c = (np.concatenate(parts) for parts in zip(*map(_samples, problems), strict=True))
        return Margins(Z, c, np.zeros(d), l2).minimiser()

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many own samples lie on their label's side of the plane, and how many are."""
        return int(np.count_nonzero(self.b * (self.A @ x) > 0)), len(self.b)

    @property
    def terms(self) -> int:
        return len(self.b)

    def term_gradients(self, x: Array, rows: Array) -> Array:
        A, b = self.A[rows], self.b[rows]
        pull = np.where(b * (A @ x) < 1, b, 0) * (len(self.b) / self.samples)
        return in_dtype_of(x, self.l2 * x - pull[:, None] * A)


def _samples(cost: Hinge) -> tuple[Array, Array]:
    """bₖ aₖ as rows, and what a loss weighs."""
    Z = (cost.b[:, None] * cost.A).astype(np.float64)
    return Z, np.full(len(Z), 1 / cost.samples)
