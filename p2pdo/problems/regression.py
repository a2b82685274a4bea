"""Linear regression with an l2 penalty, by its loss φ of a residual.

    f(x) = (1/m) Σₖ φ(aₖᵀx − bₖ) + (l2/2) ‖x‖²        ∇f(x) = (1/m) Aᵀ φ'(A x − b) + l2 x
    L = λmax(AᵀA) / m + l2        μ = l2, of ridge λmin(AᵀA) / m + l2

    Ridge    φ(r) = r²/2
    Huber    φ(r) = r²/2 where |r| ≤ δ, else δ (|r| − δ/2)

m (`samples`) is explicit, as in `logistic`: the whole network's size makes the parts add up to its
mean loss.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.checks import (
    common_dimension,
    keep_samples,
    nonnegative,
    positive_penalty,
    require_strongly_convex,
)
from p2pdo.problems.linear_algebra import (
    Tilted,
    damped_newton,
    gram_extremes,
    in_dtype_of,
    pad_rows,
    rows_times,
    times_rows,
)
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class _Regression:
    """A of shape (rows, d), b of shape (rows,)."""

    A: Array
    b: Array
    samples: int
    l2: float

    def __post_init__(self) -> None:
        keep_samples(self)

    @abstractmethod
    def losses(self, r: Array) -> Array:
        """φ of each residual."""

    @abstractmethod
    def slopes(self, r: Array) -> Array:
        """φ' of each residual."""

    @abstractmethod
    def curvatures(self, r: Array) -> Array:
        """φ'' of each residual, from one side where there is a kink in φ'."""

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1])

    def value(self, x: Array) -> float:
        losses = self.losses(self.A @ x - self.b)
        penalty = 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))
        return float(np.sum(losses, dtype=np.float64)) / self.samples + penalty

    def gradient(self, x: Array) -> Array:
        pull = self.slopes(self.A @ x - self.b) @ self.A
        return in_dtype_of(x, pull / self.samples + self.l2 * x)

    def hessian(self, x: Array) -> Array:
        """From one side where φ' has a kink."""
        curved = self.curvatures(self.A @ x - self.b)[:, None] * self.A
        return in_dtype_of(x, curved.T @ self.A / self.samples + self.l2 * np.eye(self.dimension))

    @property
    def terms(self) -> int:
        return len(self.b)

    def term_gradients(self, x: Array, rows: Array) -> Array:
        A = self.A[rows]
        slopes = self.slopes(A @ x - self.b[rows]) * (len(self.b) / self.samples)
        return in_dtype_of(x, slopes[:, None] * A + self.l2 * x)

    def dual_gradient(self, y: Array) -> Array:
        """Return argmin_x f(x) − yᵀx, by Newton's method from zero.

        Raises:
            ConfigError: nothing is penalised.
        """
        require_strongly_convex(self.strong_convexity)
        start = np.zeros(self.dimension)
        return in_dtype_of(
            y, damped_newton(Tilted(self, y.astype(np.float64)), start, is_definite=True)
        )

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖², by Newton's method from v."""
        near = _Total([self], v.astype(np.float64), positive_penalty(rho))
        return in_dtype_of(v, damped_newton(near, near.v))

    @cached_property
    def _extremes(self) -> tuple[float, float]:
        return gram_extremes(self.A)

    @property
    def smoothness(self) -> float:
        return self._extremes[1] / self.samples + self.l2

    @property
    @abstractmethod
    def strong_convexity(self) -> float:
        """μ."""

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> RegressionStack:
        common_dimension(problems)
        A, b = pad_rows([p.A for p in problems]), pad_rows([p.b for p in problems])
        samples = np.array([p.samples for p in problems], np.float64)
        l2 = np.array([p.l2 for p in problems], np.float64)
        return RegressionStack(A, b, samples, l2, loss=problems[0])

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,)."""
        d = common_dimension(problems)
        return damped_newton(_Total(problems, np.zeros(d), 0.0), np.zeros(d))


@dataclass(frozen=True, eq=False)
class Ridge(_Regression):
    """(1/(2·samples)) ‖A x − b‖² + (l2/2) ‖x‖²."""

    in_place: ClassVar[bool] = True

    @property
    def is_quadratic(self) -> bool:
        return True

    @property
    def strong_convexity(self) -> float:
        return self._extremes[0] / self.samples + self.l2

    def losses(self, r: Array) -> Array:
        return 0.5 * r * r

    def slopes(self, r: Array) -> Array:
        return r

    def curvatures(self, r: Array) -> Array:
        return np.ones_like(r)


@dataclass(frozen=True, eq=False)
class Huber(_Regression):
    """(1/samples) Σₖ φ(aₖᵀx − bₖ) + (l2/2) ‖x‖²: outliers pull with δ at most (Huber 1964)."""

    in_place: ClassVar[bool] = True

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not nonnegative("delta", self.delta) > 0:
            raise ConfigError("delta must be positive, got 0", hint="for example delta=1.0")

    @property
    def is_quadratic(self) -> bool:
        """True as far as step sizes go: L is there at every x whose residuals are within δ."""
        return True

    @property
    def strong_convexity(self) -> float:
        return self.l2

    def losses(self, r: Array) -> Array:
        size = np.abs(r)
        far: Array = np.where(size <= self.delta, 0.5 * r * r, self.delta * (size - self.delta / 2))
        return far

    def slopes(self, r: Array) -> Array:
        return np.clip(r, -self.delta, self.delta)

    def curvatures(self, r: Array) -> Array:
        return (np.abs(r) <= self.delta).astype(r.dtype)

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> RegressionStack:
        """N at once.

        Raises:
            ConfigError: they differ in δ.
        """
        if any(p.delta != problems[0].delta for p in problems):
            raise ConfigError("the costs differ in delta", hint="use --on dense")
        return super().stack(problems)


@dataclass(frozen=True, eq=False)
class RegressionStack:
    """N costs at once: A (N, M, d), b (N, M), samples (N,), l2 (N,).

    Rows beyond a node's own are zero, and so are their residuals, losses and slopes.
    """

    A: Array
    b: Array
    samples: Array
    l2: Array
    loss: _Regression

    @property
    def dimension(self) -> int:
        return int(self.A.shape[2])

    def value(self, X: Array) -> float:
        losses = self.loss.losses(rows_times(self.A, X) - self.b)
        means = np.sum(losses, axis=1, dtype=np.float64) / self.samples
        return float(np.sum(means + 0.5 * self.l2 * np.sum(X * X, axis=1)))

    def gradient(self, X: Array) -> Array:
        pulls = times_rows(self.loss.slopes(rows_times(self.A, X) - self.b), self.A)
        return in_dtype_of(X, pulls / self.samples[:, None] + self.l2[:, None] * X)


@dataclass(frozen=True, eq=False)
class _Total:
    """Σᵢ fᵢ(x) + (ρ/2)‖x − v‖² in float64."""

    costs: Sequence[_Regression]
    v: Array
    rho: float

    def value(self, x: Array) -> float:
        return sum(f.value(x) for f in self.costs) + 0.5 * self.rho * float(
            (x - self.v) @ (x - self.v)
        )

    def gradient(self, x: Array) -> Array:
        return sum((f.gradient(x) for f in self.costs), self.rho * (x - self.v))

    def hessian(self, x: Array) -> Array:
        return sum((f.hessian(x) for f in self.costs), self.rho * np.eye(len(x)))
