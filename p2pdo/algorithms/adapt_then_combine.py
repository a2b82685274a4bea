"""Gradient tracking that adapts first and combines then: steeper steps are stable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.gradient_tracking import TrackingState
from p2pdo.algorithms.invariants import TRACKS, Invariant
from p2pdo.effects import Here, Step, mix
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


@dataclass(frozen=True)
class AtcTracking(Algorithm[TrackingState]):
    """Adapt-then-combine tracking: NEXT (Di Lorenzo & Scutari 2016) with linearised costs.

    x⁺ᵢ = Σⱼ wᵢⱼ (xⱼ − α yⱼ)        y⁺ᵢ = Σⱼ wᵢⱼ yⱼ + ∇fᵢ(x⁺ᵢ) − ∇fᵢ(xᵢ)        yᵢ⁰ = ∇fᵢ(xᵢ⁰)

    Assumes W doubly stochastic, fᵢ L-smooth, α small enough. Invariant: mean y = mean g. One
    exchange of two values; SONATA (Sun, Daneshmand & Scutari 2022) mixes the new gradients too,
    which is `aug-dgm`.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Gradient, time_varying=True
    )
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:  # noqa: ARG002
        g = problem.gradient(x)
        return TrackingState(x, g, g)

    def step(
        self,
        s: TrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[TrackingState]:
        x, y_mixed = yield from mix(s.x - self.step_size * s.y, s.y)
        g = problem.gradient(x)
        return TrackingState(x, y_mixed + g - s.g, g)


@dataclass(frozen=True)
class AugDgm(Algorithm[TrackingState]):
    """Aug-DGM (Xu, Zhu, Soh & Xie 2015), ATC-DIGing (Nedić et al. 2017).

    x⁺ᵢ = Σⱼ wᵢⱼ (xⱼ − α yⱼ)        y⁺ᵢ = Σⱼ wᵢⱼ (yⱼ + ∇fⱼ(x⁺ⱼ) − ∇fⱼ(xⱼ))        yᵢ⁰ = ∇fᵢ(xᵢ⁰)

    Assumes W doubly stochastic, fᵢ L-smooth, α small enough; all nodes have one step size here.
    Invariant: mean y = mean g. Two exchanges: the new gradients are mixed in their own iteration.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Gradient, time_varying=True
    )
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:  # noqa: ARG002
        g = problem.gradient(x)
        return TrackingState(x, g, g)

    def step(
        self,
        s: TrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[TrackingState]:
        x = yield from mix(s.x - self.step_size * s.y)
        g = problem.gradient(x)
        y = yield from mix(s.y + g - s.g)
        return TrackingState(x, y, g)
