"""Logistic regression with an l2 penalty.

    f(x) = (1/m) Σₖ log(1 + exp(−bₖ aₖᵀx)) + (l2/2) ‖x‖²        L = λmax(AᵀA) / (4m) + l2
    ∇f(x) = −(1/m) Σₖ bₖ aₖ / (1 + exp(bₖ aₖᵀx)) + l2 x         μ = l2

m (`samples`) is explicit: the size of the whole network's data set, so that the nodes' parts add
up to its mean loss; `samples` equal to the own rows makes the own mean instead.

The exponent is cut at `LARGEST_EXPONENT`, which fits float32: beyond it a sample is classified
so well that its pull, less than 1e-34, is below what any sum could hold.
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
    keep_samples,
    positive_penalty,
    require_signs,
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

LARGEST_EXPONENT = 80.0


@dataclass(frozen=True, eq=False)
class Logistic:
    """(1/samples) Σₖ log(1 + exp(−bₖ aₖᵀx)) + (l2/2) ‖x‖²; A (rows, d), labels b (rows,) of ±1."""

    in_place: ClassVar[bool] = True

    A: Array
    b: Array
    samples: int
    l2: float

    def __post_init__(self) -> None:
        keep_samples(self)
        require_signs(self.b)

    @property
    def is_quadratic(self) -> bool:
        return False

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1])

    def value(self, x: Array) -> float:
        losses = np.logaddexp(0.0, -self.b * (self.A @ x))
        penalty = 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))
        return float(np.sum(losses, dtype=np.float64)) / self.samples + penalty

    def gradient(self, x: Array) -> Array:
        g: Array = _pull(self.b, self.b * (self.A @ x)) @ self.A
        g /= -self.samples
        g += self.l2 * x
        return in_dtype_of(x, g)

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many own samples lie on their label's side of the plane, and how many are."""
        return int(np.count_nonzero(self.b * (self.A @ x) > 0)), len(self.b)

    def hessian(self, x: Array) -> Array:
        """∇²f(x), shape (d, d)."""
        return in_dtype_of(x, self._pool.hessian(x))

    def dual_gradient(self, y: Array) -> Array:
        """Return argmin_x f(x) − yᵀx, by Newton's method from zero.

        Raises:
            ConfigError: nothing is penalised.
        """
        require_strongly_convex(self.strong_convexity)
        start = np.zeros(self.dimension)
        return in_dtype_of(
            y, damped_newton(Tilted(self._pool, y.astype(np.float64)), start, is_definite=True)
        )

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖², by Newton's method from v."""
        near = _Proximal(self._pool, v.astype(np.float64), positive_penalty(rho))
        return in_dtype_of(v, damped_newton(near, near.v))

    @cached_property
    def _pool(self) -> _Pool:
        return _Pool(
            A=self.b[:, None].astype(np.float64) * self.A,
            weights=np.full(len(self.b), 1 / self.samples),
            l2=self.l2,
        )

    @property
    def terms(self) -> int:
        return len(self.b)

    def term_gradients(self, x: Array, rows: Array) -> Array:
        """∇fₖ(x), fₖ(x) = (rows/samples) log(1 + exp(−bₖ aₖᵀx)) + (l2/2) ‖x‖²."""
        A, b = self.A[rows], self.b[rows]
        pull = _pull(b, b * (A @ x)) * (len(self.b) / self.samples)
        return in_dtype_of(x, self.l2 * x - pull[:, None] * A)

    @cached_property
    def smoothness(self) -> float:
        return gram_extremes(self.A)[1] / (4 * self.samples) + self.l2

    @property
    def strong_convexity(self) -> float:
        return self.l2

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> LogisticStack:
        common_dimension(problems)
        A, b = pad_rows([p.A for p in problems]), pad_rows([p.b for p in problems])
        samples = np.array([p.samples for p in problems], np.float64)
        l2 = np.array([p.l2 for p in problems], np.float64)
        return LogisticStack(A, b, samples, l2)

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,).

        Raises:
            ConfigError: nothing is penalised and the samples can be separated: the sum falls
                for ever and has no minimum.
        """
        d = common_dimension(problems)
        pool = _Pool(
            A=np.concatenate([p.b[:, None] * p.A for p in problems], dtype=np.float64),
            weights=np.concatenate([np.full(len(p.b), 1 / p.samples) for p in problems]),
            l2=sum(p.l2 for p in problems),
        )
        x = damped_newton(pool, np.zeros(d))
        if pool.l2 == 0 and (pool.A @ x > 0).all():
            raise ConfigError(
                "this logistic regression has no minimiser: a plane separates its samples",
                hint="penalise it: for example l2=0.01",
            )
        return x


@dataclass(frozen=True, eq=False)
class LogisticStack:
    """N logistic costs at once: A (N, M, d), b (N, M), samples (N,), l2 (N,).

    Rows beyond a node's own are zero and have the label 0, which weighs nothing.
    """

    A: Array
    b: Array
    samples: Array
    l2: Array

    @property
    def dimension(self) -> int:
        return int(self.A.shape[2])

    def value(self, X: Array) -> float:
        losses = np.abs(self.b) * np.logaddexp(0.0, -self.b * rows_times(self.A, X))
        means = np.sum(losses, axis=1, dtype=np.float64) / self.samples
        return float(np.sum(means + 0.5 * self.l2 * np.sum(X * X, axis=1)))

    def gradient(self, X: Array) -> Array:
        pulls = times_rows(_pull(self.b, self.b * rows_times(self.A, X)), self.A)
        return in_dtype_of(X, self.l2[:, None] * X - pulls / self.samples[:, None])


@dataclass(frozen=True, eq=False)
class _Pool:
    """All nodes' samples in one place; the rows of A carry their labels."""

    A: Array
    weights: Array
    l2: float

    def value(self, x: Array) -> float:
        losses = self.weights @ np.logaddexp(0.0, -(self.A @ x))
        return float(losses + 0.5 * self.l2 * (x @ x))

    def gradient(self, x: Array) -> Array:
        g: Array = self.l2 * x - _pull(self.weights, self.A @ x) @ self.A
        return g

    def hessian(self, x: Array) -> Array:
        share = _pull(np.ones_like(self.weights), self.A @ x)
        curvature = self.weights * share * (1 - share)
        H: Array = (curvature[:, None] * self.A).T @ self.A + self.l2 * np.eye(len(x))
        return H


@dataclass(frozen=True, eq=False)
class _Proximal:
    """f(x) + (ρ/2)‖x − v‖²."""

    f: _Pool
    v: Array
    rho: float

    def value(self, x: Array) -> float:
        return self.f.value(x) + 0.5 * self.rho * float((x - self.v) @ (x - self.v))

    def gradient(self, x: Array) -> Array:
        g: Array = self.f.gradient(x) + self.rho * (x - self.v)
        return g

    def hessian(self, x: Array) -> Array:
        H: Array = self.f.hessian(x) + self.rho * np.eye(len(x))
        return H


def _pull(weights: Array, margins: Array) -> Array:
    """Return weights / (1 + exp(margins)) without overflow; uses up `margins`."""
    np.minimum(margins, LARGEST_EXPONENT, out=margins)
    np.exp(margins, out=margins)
    margins += 1.0
    return weights / margins
