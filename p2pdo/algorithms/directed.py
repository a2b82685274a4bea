"""Methods for directed graphs, where nobody can make the weights doubly stochastic.

A sender parts what it has among itself and those that hear it (`By.PUSH`): column-stochastic
weights B that need no more than its own out-degree. Sums are kept, means are not; dividing by a
weight that takes the same way (push-sum), or pulling x by row-stochastic weights A while the
tracker is pushed (push-pull), makes up for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.gradient_tracking import TrackingState
from p2pdo.algorithms.invariants import TRACKS, Invariant
from p2pdo.effects import By, Here, Step, mix
from p2pdo.problems.base import Gradient, Problem
from p2pdo.types import Array

WEIGHS = (Invariant("Σ w = n", lambda s: np.asarray(s.w - 1)),)
PUSHES = Requires(weights=Stochastic.NONE, oracle=Gradient)


class RatioState(NamedTuple):
    x: Array  # the ratio u/w, shape (d,)
    u: Array  # the node's part of the sum, shape (d,)
    w: Array  # the node's part of the number of nodes, shape (1,)


@dataclass(frozen=True)
class PushSum(Algorithm[RatioState]):
    """Push-sum (Kempe, Dobra & Gehrke 2003), ratio consensus.

    u⁺ = B u        w⁺ = B w        x = u / w        u⁰ = x⁰, w⁰ = 1

    Limit: the plain mean of the starts on every strongly connected graph. Invariants: Σ u and
    Σ w = n never change.
    """

    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.MEAN
    invariants: ClassVar[tuple[Invariant, ...]] = WEIGHS

    def init(self, x: Array, problem: Problem, here: Here) -> RatioState:  # noqa: ARG002
        return RatioState(x, x, np.ones_like(x[..., :1]))

    def step(
        self,
        s: RatioState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[RatioState]:
        u, w = yield from mix(s.u, s.w, by=By.PUSH)
        return RatioState(u / w, u, w)


@dataclass(frozen=True)
class GradientPush(Algorithm[RatioState]):
    """Gradient-push (Nedić & Olshevsky 2015; SGP of Assran et al. 2019 where stochastic).

    u⁺ = B u − α ∇f(x⁺)        w⁺ = B w        x⁺ = B u / w⁺        u⁰ = x⁰, w⁰ = 1

    Assumes a strongly connected graph, fᵢ convex and L-smooth. With the constant α here it stops at
    a distance O(α); the paper lets α shrink. The x of the state is that of the last gradient.
    """

    step_size: float

    requires: ClassVar[Requires] = PUSHES
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = WEIGHS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - w divides by its smallest
        return 1 / 8

    def init(self, x: Array, problem: Gradient, here: Here) -> RatioState:  # noqa: ARG002
        return RatioState(x, x, np.ones_like(x[..., :1]))

    def step(
        self,
        s: RatioState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[RatioState]:
        u_pushed, w = yield from mix(s.u, s.w, by=By.PUSH)
        x = u_pushed / w
        return RatioState(x, u_pushed - self.step_size * problem.gradient(x), w)


class PushTrackingState(NamedTuple):
    x: Array  # the ratio u/w, shape (d,)
    u: Array  # shape (d,)
    w: Array  # shape (1,)
    y: Array  # tracker of the sum of the gradients, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)


@dataclass(frozen=True)
class PushDiging(Algorithm[PushTrackingState]):
    """Push-DIGing (Nedić, Olshevsky & Shi 2017).

    u⁺ = B (u − α y)        w⁺ = B w        x⁺ = u⁺ / w⁺        y⁺ = B y + ∇f(x⁺) − ∇f(x)
    u⁰ = x⁰, w⁰ = 1, y⁰ = ∇f(x⁰)

    Assumes a strongly connected graph, F strongly convex, fᵢ L-smooth, α small enough. Invariants:
    Σ y = Σ g, Σ w = n.
    """

    step_size: float

    requires: ClassVar[Requires] = PUSHES
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (*WEIGHS, *TRACKS)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - w divides by its smallest
        return 1 / 16

    def init(self, x: Array, problem: Gradient, here: Here) -> PushTrackingState:  # noqa: ARG002
        g = problem.gradient(x)
        return PushTrackingState(x, x, np.ones_like(x[..., :1]), g, g)

    def step(
        self,
        s: PushTrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[PushTrackingState]:
        u, w, y_pushed = yield from mix(s.u - self.step_size * s.y, s.w, s.y, by=By.PUSH)
        x = u / w
        g = problem.gradient(x)
        return PushTrackingState(x, u, w, y_pushed + g - s.g, g)


@dataclass(frozen=True)
class Ab(Algorithm[TrackingState]):
    """AB (Xin & Khan 2018): x is pulled, its tracker pushed.

    x⁺ = A x − α y        y⁺ = B y + ∇f(x⁺) − ∇f(x)        y⁰ = ∇f(x⁰)

    A is the given matrix, row stochastic; B the senders' shares. Assumes a strongly connected
    graph, F strongly convex, fᵢ L-smooth, α small enough. Invariant: Σ y = Σ g.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - A and B have no modes in common
        return 1 / 16

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:  # noqa: ARG002
        g = problem.gradient(x)
        return TrackingState(x, g, g)

    def step(
        self,
        s: TrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[TrackingState]:
        x_mixed, y_pushed = yield from mix(s.x, s.y, by=(By.PULL, By.PUSH))
        x = x_mixed - self.step_size * s.y
        g = problem.gradient(x)
        return TrackingState(x, y_pushed + g - s.g, g)


@dataclass(frozen=True)
class PushPull(Algorithm[TrackingState]):
    """Push-pull (Pu, Shi, Xu & Nedić 2021): `Ab` that adapts before it combines.

    x⁺ = A (x − α y)        y⁺ = B y + ∇f(x⁺) − ∇f(x)        y⁰ = ∇f(x⁰)

    Assumes what `Ab` assumes. Invariant: Σ y = Σ g.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - A and B have no modes in common
        return 1 / 16

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:  # noqa: ARG002
        g = problem.gradient(x)
        return TrackingState(x, g, g)

    def step(
        self,
        s: TrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[TrackingState]:
        x, y_pushed = yield from mix(s.x - self.step_size * s.y, s.y, by=(By.PULL, By.PUSH))
        g = problem.gradient(x)
        return TrackingState(x, y_pushed + g - s.g, g)
