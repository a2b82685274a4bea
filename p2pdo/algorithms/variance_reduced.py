"""Gradient tracking on finite sums: a few terms an iteration, and still the exact optimum.

Costs are means of m terms. A variance-reduced estimate v of the gradient takes a mini-batch of
them, and its error vanishes where x does not move any more; the tracker y follows the mean of v.
Mini-batches are drawn with replacement from `here.rng`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import (
    Algorithm,
    Limit,
    Requires,
    Stochastic,
    require_count,
    require_positive,
    require_share,
)
from p2pdo.algorithms.invariants import Invariant, equal_means
from p2pdo.effects import Here, Step, mix
from p2pdo.problems.base import FiniteSum
from p2pdo.types import Array


class SagaState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # tracker of the mean of v, shape (d,)
    v: Array  # gradient estimate that the tracker has seen, shape (d,)
    table: Array  # each term's gradient when it was last drawn, shape (m, d)


@dataclass(frozen=True)
class GtSaga(Algorithm[SagaState]):
    """GT-SAGA (Xin, Khan & Kar 2020).

    v = |B|⁻¹ Σ_{k∈B} (∇fₖ(x) − tₖ) + m⁻¹ Σₖ tₖ        then tₖ = ∇fₖ(x) for k in B
    y⁺ = W (y + v − v⁻)        x⁺ = W (x − α y⁺)        y⁰ = v⁻¹ = 0, tₖ⁰ = ∇fₖ(x⁰)

    `batch_size` is |B|. Assumes W doubly stochastic, every term L-smooth, F strongly convex, α a
    fraction of 1/L. Invariant: mean y = mean v. Two exchanges.
    """

    step_size: float
    batch_size: int = 1

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=FiniteSum)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("y", "v"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_count("batch_size", self.batch_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - a term may be steeper than f
        return 1 / 16

    def init(self, x: Array, problem: FiniteSum, here: Here) -> SagaState:  # noqa: ARG002
        zero = np.zeros_like(x)
        return SagaState(x, zero, zero, problem.term_gradients(x, np.arange(problem.terms)))

    def step(self, s: SagaState, problem: FiniteSum, here: Here) -> Step[SagaState]:
        rows = here.rng.integers(problem.terms, size=self.batch_size)
        fresh = problem.term_gradients(s.x, rows)
        v = (fresh - s.table[rows]).mean(axis=0) + s.table.mean(axis=0)
        table = s.table.copy()
        table[rows] = fresh
        y = yield from mix(s.y + v - s.v)
        x = yield from mix(s.x - self.step_size * y)
        return SagaState(x, y, v, table)


class SarahState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    before: Array  # the x before it, shape (d,)
    y: Array  # tracker of the mean of v, shape (d,)
    v: Array  # gradient estimate that the tracker has seen, shape (d,)


@dataclass(frozen=True)
class GtSarah(Algorithm[SarahState]):
    """GT-SARAH (Xin, Khan & Kar 2022).

    v = ∇f(x) in every `period`-th iteration, |B|⁻¹ Σ_{k∈B} (∇fₖ(x) − ∇fₖ(x⁻)) + v⁻ in the others
    y⁺ = W y + v − v⁻        x⁺ = W x − α y⁺        y⁰ = v⁻¹ = 0

    `batch_size` is |B|. Assumes W doubly stochastic, every term L-smooth, α small enough.
    Invariant: mean y = mean v.
    """

    step_size: float
    period: int = 10
    batch_size: int = 1

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=FiniteSum)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("y", "v"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_count("period", self.period)
        require_count("batch_size", self.batch_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - a term may be steeper than f
        return 1 / 8

    def init(self, x: Array, problem: FiniteSum, here: Here) -> SarahState:  # noqa: ARG002
        zero = np.zeros_like(x)
        return SarahState(x, x, zero, zero)

    def step(self, s: SarahState, problem: FiniteSum, here: Here) -> Step[SarahState]:
        if here.iteration % self.period == 0:
            v = problem.gradient(s.x)
        else:
            rows = here.rng.integers(problem.terms, size=self.batch_size)
            change = problem.term_gradients(s.x, rows) - problem.term_gradients(s.before, rows)
            v = change.mean(axis=0) + s.v
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        y = y_mixed + v - s.v
        return SarahState(x_mixed - self.step_size * y, s.x, y, v)


class VrState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # tracker of the mean of v, shape (d,)
    v: Array  # gradient estimate that the tracker has seen, shape (d,)
    snapshot: Array  # an earlier x, the paper's τ, shape (d,)
    full: Array  # ∇f there, shape (d,)


@dataclass(frozen=True)
class GtVr(Algorithm[VrState]):
    """GT-VR (Jiang, Zeng, Sun & Chen 2022): loopless variance reduction by a snapshot.

    τ = x with probability p, else τ⁻        v = |B|⁻¹ Σ_{k∈B} (∇fₖ(x) − ∇fₖ(τ)) + ∇f(τ)
    y⁺ = W y + v − v⁻        x⁺ = W (x − α y⁺)        y⁰ = v⁻¹ = 0, τ⁻¹ = x⁰

    `refresh` is p, `batch_size` |B|; each node tosses its own coin. Assumes W doubly stochastic,
    every term L-smooth, α small enough. Invariant: mean y = mean v. Two exchanges.
    """

    step_size: float
    refresh: float = 0.1
    batch_size: int = 1

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=FiniteSum)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("y", "v"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("refresh", self.refresh)
        require_count("batch_size", self.batch_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - a term may be steeper than f
        return 1 / 16

    def init(self, x: Array, problem: FiniteSum, here: Here) -> VrState:  # noqa: ARG002
        zero = np.zeros_like(x)
        return VrState(x, zero, zero, x, problem.gradient(x))

    def step(self, s: VrState, problem: FiniteSum, here: Here) -> Step[VrState]:
        snapshot, full = s.snapshot, s.full
        if here.rng.random() < self.refresh:
            snapshot, full = s.x, problem.gradient(s.x)
        rows = here.rng.integers(problem.terms, size=self.batch_size)
        change = problem.term_gradients(s.x, rows) - problem.term_gradients(snapshot, rows)
        v = change.mean(axis=0) + full
        y = (yield from mix(s.y)) + v - s.v
        x = yield from mix(s.x - self.step_size * y)
        return VrState(x, y, v, snapshot, full)
