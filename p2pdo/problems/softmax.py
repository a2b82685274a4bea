"""Multinomial logistic regression with an l2 penalty.

    f(x) = (1/m) Σₖ (log Σ_c exp(aₖᵀw_c) − aₖᵀw_{bₖ}) + (l2/2) ‖x‖²        x = vec(W), W (p, C)
    ∇f(x) = vec((1/m) Aᵀ(P − B) + l2 W)        P = softmax(A W) row by row, B the labels one-hot
    L = λmax(AᵀA) / (2m) + l2        μ = l2

x runs through W row by row, d = p·C. m (`samples`) is explicit, as in `logistic`. The bound of L
is Böhning's (1992): diag(p) − ppᵀ has no eigenvalue above 1/2.
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
    real_array,
    require_strongly_convex,
    same_length,
    whole_number,
)
from p2pdo.problems.linear_algebra import (
    Tilted,
    damped_newton,
    gram_extremes,
    in_dtype_of,
    pad_rows,
)
from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class Softmax:
    """A of shape (rows, p), labels b of shape (rows,), whole numbers from 0 to classes − 1."""

    in_place: ClassVar[bool] = True

    A: Array
    b: Array
    classes: int
    samples: int
    l2: float

    def __post_init__(self) -> None:
        A = real_array("A", self.A, ("rows", "p"))
        b = real_array("b", np.asarray(self.b, A.dtype), ("rows",), A.dtype)
        same_length("b", len(b), "the rows of A", len(A))
        classes = whole_number("classes", self.classes, least=2)
        wrong = b[(b != np.floor(b)) | (b < 0) | (b >= classes)]
        if wrong.size:
            raise ConfigError(
                f"labels b must be whole numbers from 0 to {classes - 1}, got {wrong[0]:g}",
                hint="number the classes from 0",
            )
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "samples", whole_number("samples", self.samples, least=len(b)))
        object.__setattr__(self, "l2", nonnegative("l2", self.l2))

    @property
    def is_quadratic(self) -> bool:
        return False

    @property
    def dimension(self) -> int:
        return int(self.A.shape[1]) * self.classes

    @cached_property
    def _one_hot(self) -> Array:
        labels: Array = (self.b[:, None] == np.arange(self.classes)).astype(self.A.dtype)
        return labels

    def _matrix(self, x: Array) -> Array:
        return x.reshape(self.A.shape[1], self.classes)

    def value(self, x: Array) -> float:
        scores = self.A @ self._matrix(x)
        losses = _log_sum_exp(scores) - np.sum(scores * self._one_hot, axis=-1)
        penalty = 0.5 * self.l2 * float(np.sum(np.square(x, dtype=np.float64)))
        return float(np.sum(losses, dtype=np.float64)) / self.samples + penalty

    def gradient(self, x: Array) -> Array:
        miss = softmax(self.A @ self._matrix(x)) - self._one_hot
        g = (self.A.T @ miss).reshape(-1) / self.samples + self.l2 * x
        return in_dtype_of(x, g)

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many own samples score highest for their label, and how many there are."""
        scores = self.A @ self._matrix(x)
        return int(np.count_nonzero(scores.argmax(axis=1) == self.b)), len(self.b)

    def hessian(self, x: Array) -> Array:
        """∇²f(x), shape (d, d)."""
        p, C = self.A.shape[1], self.classes
        P = softmax(self.A @ self._matrix(x))
        H = np.zeros((p, C, p, C))
        for c in range(C):
            for e in range(c, C):
                weight = P[:, c] * ((c == e) - P[:, e])
                H[:, c, :, e] = (weight[:, None] * self.A).T @ self.A
                H[:, e, :, c] = H[:, c, :, e]
        return in_dtype_of(x, H.reshape(p * C, p * C) / self.samples + self.l2 * np.eye(p * C))

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

    @property
    def terms(self) -> int:
        return len(self.b)

    def term_gradients(self, x: Array, rows: Array) -> Array:
        A = self.A[rows]
        miss = softmax(A @ self._matrix(x)) - self._one_hot[rows]
        each = (A[:, :, None] * miss[:, None, :]).reshape(len(A), -1)
        return in_dtype_of(x, each * (len(self.b) / self.samples) + self.l2 * x)

    @cached_property
    def smoothness(self) -> float:
        return gram_extremes(self.A)[1] / (2 * self.samples) + self.l2

    @property
    def strong_convexity(self) -> float:
        return self.l2

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> SoftmaxStack:
        common_dimension(problems)
        A, B = pad_rows([p.A for p in problems]), pad_rows([p._one_hot for p in problems])  # noqa: SLF001
        samples = np.array([p.samples for p in problems], np.float64)
        l2 = np.array([p.l2 for p in problems], np.float64)
        return SoftmaxStack(A, B, samples, l2)

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,).

        Raises:
            ConfigError: nothing is penalised: then W is not unique, and may be infinite.
        """
        d = common_dimension(problems)
        l2 = sum(p.l2 for p in problems)
        if l2 == 0:
            raise ConfigError(
                "this softmax regression has no one minimiser: nothing is penalised",
                hint="penalise it: for example l2=0.01",
            )
        m = np.concatenate([np.full(len(p.b), p.samples) for p in problems])
        A = np.concatenate([p.A for p in problems], dtype=np.float64)
        b = np.concatenate([p.b for p in problems])
        if (m != m[0]).any():  # a row's weight 1/mᵢ is put into the sums one cost at a time
            return damped_newton(_Total(problems), np.zeros(d), is_definite=True)
        pooled = cls(A, b.astype(np.float64), problems[0].classes, int(max(m[0], len(b))), 0.0)
        return damped_newton(
            _Pooled(pooled, pooled.samples / float(m[0]), l2), np.zeros(d), is_definite=True
        )


@dataclass(frozen=True, eq=False)
class SoftmaxStack:
    """N costs at once: A (N, M, p), one-hot labels B (N, M, C), samples (N,), l2 (N,).

    Rows beyond a node's own are zero, the one-hot ones too, which weigh nothing.
    """

    A: Array
    B: Array
    samples: Array
    l2: Array

    @property
    def dimension(self) -> int:
        return int(self.A.shape[2] * self.B.shape[2])

    def _scores(self, X: Array) -> Array:
        scores: Array = self.A @ X.reshape(len(X), self.A.shape[2], self.B.shape[2])
        return scores

    def value(self, X: Array) -> float:
        scores, own = self._scores(X), self.B.sum(axis=2)
        losses = own * _log_sum_exp(scores) - np.sum(scores * self.B, axis=2)
        means = np.sum(losses, axis=1, dtype=np.float64) / self.samples
        return float(np.sum(means + 0.5 * self.l2 * np.sum(X * X, axis=1)))

    def gradient(self, X: Array) -> Array:
        miss = softmax(self._scores(X)) - self.B
        pulls = (self.A.transpose(0, 2, 1) @ miss).reshape(X.shape)  # rows of zeros pull nothing
        return in_dtype_of(X, pulls / self.samples[:, None] + self.l2[:, None] * X)


@dataclass(frozen=True, eq=False)
class _Pooled:
    """All samples in one cost, `scale` times, and the penalty of all."""

    f: Softmax
    scale: float
    l2: float

    def value(self, x: Array) -> float:
        return self.scale * self.f.value(x) + 0.5 * self.l2 * float(x @ x)

    def gradient(self, x: Array) -> Array:
        g: Array = self.scale * self.f.gradient(x) + self.l2 * x
        return g

    def hessian(self, x: Array) -> Array:
        H: Array = self.scale * self.f.hessian(x) + self.l2 * np.eye(len(x))
        return H


@dataclass(frozen=True, eq=False)
class _Total:
    """Σᵢ fᵢ."""

    costs: Sequence[Softmax]

    def value(self, x: Array) -> float:
        return sum(f.value(x) for f in self.costs)

    def gradient(self, x: Array) -> Array:
        return sum((f.gradient(x) for f in self.costs), np.zeros_like(x))

    def hessian(self, x: Array) -> Array:
        return sum((f.hessian(x) for f in self.costs), np.zeros((len(x), len(x))))


def softmax(scores: Array) -> Array:
    """exp(s) / Σ exp(s) over the last axis, without overflow."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def _log_sum_exp(scores: Array) -> Array:
    largest = scores.max(axis=-1)
    total: Array = largest + np.log(np.exp(scores - largest[..., None]).sum(axis=-1))
    return total
