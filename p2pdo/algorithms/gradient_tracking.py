"""Gradient tracking and its adaptive-moment variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.invariants import TRACKS, Invariant
from p2pdo.algorithms.theory import Theorem, largest_tracking_step, tracking_rate
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


class TrackingState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # tracker of the average gradient, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)


def start_tracker(tracker_start: str, x: Array, problem: Gradient) -> tuple[Array, Array]:
    """(y⁰, g⁰): the gradient at the start, or NVFlare's zero with an old gradient of zero.

    Either way mean y = mean g from the first iteration on.
    """
    if tracker_start == "zero":
        return np.zeros_like(x), np.zeros_like(x)
    g = problem.gradient(x)
    return g, g


def check_tracker_start(tracker_start: str) -> None:
    known = ["gradient", "zero"]
    if tracker_start not in known:
        raise ConfigError(
            f"unknown tracker_start '{tracker_start}'", hint=did_you_mean(tracker_start, known)
        )


@dataclass(frozen=True)
class GradientTracking(Algorithm[TrackingState]):
    """Gradient tracking (Qu & Li 2018, eq. 4; Pu & Nedić 2021 for stochastic gradients).

    x⁺ᵢ = Σⱼ wᵢⱼ xⱼ − α yᵢ        y⁺ᵢ = Σⱼ wᵢⱼ yⱼ + ∇fᵢ(x⁺ᵢ) − ∇fᵢ(xᵢ)        yᵢ⁰ = ∇fᵢ(xᵢ⁰)

    Assumes W doubly stochastic. For strongly convex, L-smooth fᵢ and α small enough it converges
    linearly to the exact optimum. Invariant: mean y = mean g at every iteration boundary.
    """

    step_size: float
    tracker_start: str = "gradient"

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Gradient, time_varying=True
    )
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    theorem: ClassVar[Theorem] = Theorem(
        "Qu & Li 2018, the matrix G(η)", tracking_rate, largest_tracking_step
    )
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        check_tracker_start(self.tracker_start)

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:  # noqa: ARG002
        y, g = start_tracker(self.tracker_start, x, problem)
        return TrackingState(x, y, g)

    def step(
        self,
        s: TrackingState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[TrackingState]:
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - self.step_size * s.y
        g = problem.gradient(x)
        return TrackingState(x, y_mixed + g - s.g, g)


class GtAdamState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # tracker of the average gradient, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)
    m: Array  # first moment of the tracker, shape (d,)
    v: Array  # second moment of the tracker, shape (d,)


@dataclass(frozen=True)
class GtAdam(Algorithm[GtAdamState]):
    """GTAdam (Carnevale, Farina, Notarnicola & Notarstefano 2022, algorithm 1).

    m⁺ = β₁ m + (1−β₁) y        v⁺ = min(β₂ v + (1−β₂) y∘y, G)
    x⁺ᵢ = Σⱼ wᵢⱼ xⱼ − α m⁺ᵢ / √(v⁺ᵢ + ε)        y⁺ᵢ = Σⱼ wᵢⱼ yⱼ + ∇fᵢ(x⁺ᵢ) − ∇fᵢ(xᵢ)

    Assumes W doubly stochastic. Invariant: mean y = mean g at every iteration boundary.
    `bound` is the paper's G.
    """

    step_size: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    bound: float = 1e6
    tracker_start: str = "gradient"

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        for name in ("step_size", "epsilon", "bound"):
            require_positive(name, getattr(self, name))
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must lie in [0, 1), got {getattr(self, name)}",
                    hint="the paper uses beta1=0.9, beta2=0.999",
                )
        check_tracker_start(self.tracker_start)

    def init(self, x: Array, problem: Gradient, here: Here) -> GtAdamState:  # noqa: ARG002
        y, g = start_tracker(self.tracker_start, x, problem)
        return GtAdamState(x, y, g, m=np.zeros_like(x), v=np.zeros_like(x))

    def step(
        self,
        s: GtAdamState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[GtAdamState]:
        m = self.beta1 * s.m + (1 - self.beta1) * s.y
        v = np.minimum(self.beta2 * s.v + (1 - self.beta2) * s.y * s.y, self.bound)
        x_mixed, y_mixed = yield from mix(s.x, s.y)
        x = x_mixed - self.step_size * m / np.sqrt(v + self.epsilon)
        g = problem.gradient(x)
        return GtAdamState(x, y_mixed + g - s.g, g, m, v)
