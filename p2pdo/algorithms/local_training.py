"""Several gradients for one exchange: local steps between exchanges, or exchanges by a coin."""

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
from p2pdo.algorithms.exact_first_order import SYMMETRIC
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


class LocalState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # how the local costs pull away from the mean one, shape (d,)


@dataclass(frozen=True)
class KGt(Algorithm[LocalState]):
    """K-GT, gradient tracking with local steps (Liu, Lin, Koloskova & Stich 2024).

    K times v ← v − η_c (∇f(v) + c) from v = x        z = (x − v) / (K η_c)
    c⁺ = c − z + W z        x⁺ = W (x − K η_c η_s z)

    `step_size` is η_c, `local_steps` K, `server_step` η_s; c is `y` of the state. Assumes W doubly
    stochastic, fᵢ L-smooth, η_c ≲ 1/(K L). Invariant: mean c = 0. The paper begins with
    c⁰ = mean ∇f(x⁰) − ∇fᵢ(x⁰), which takes a sum over the network; here it is 0.
    """

    step_size: float
    local_steps: int = 5
    server_step: float = 1.0

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("y"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_positive("server_step", self.server_step)
        require_count("local_steps", self.local_steps)

    def init(self, x: Array, problem: Gradient, here: Here) -> LocalState:  # noqa: ARG002
        return LocalState(x, np.zeros_like(x))

    def step(self, s: LocalState, problem: Gradient, here: Here) -> Step[LocalState]:  # noqa: ARG002
        v = s.x
        for _ in range(self.local_steps):
            v = v - self.step_size * (problem.gradient(v) + s.y)
        z = (s.x - v) / (self.local_steps * self.step_size)
        moved = s.x - (self.local_steps * self.step_size * self.server_step) * z
        x, z_mixed = yield from mix(moved, z)
        return LocalState(x, s.y - z + z_mixed)


@dataclass(frozen=True)
class Led(Algorithm[LocalState]):
    """LED, local exact diffusion (Alghunaim 2024).

    τ times φ ← φ − α ∇f(φ) − β y from φ = x        x⁺ = W φ        y⁺ = y + φ − x⁺        y⁰ = 0

    `step_size` is α, `local_steps` τ, and β = 1/τ as in the paper. Assumes W symmetric and doubly
    stochastic with eigenvalues that are not negative, which W̃ = (I + W)/2 in the place of the
    given W sees to; fᵢ L-smooth, α ≲ 1/(τ L). Invariant: mean y = 0.
    """

    step_size: float
    local_steps: int = 5

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("y"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_count("local_steps", self.local_steps)

    def init(self, x: Array, problem: Gradient, here: Here) -> LocalState:  # noqa: ARG002
        return LocalState(x, np.zeros_like(x))

    def step(self, s: LocalState, problem: Gradient, here: Here) -> Step[LocalState]:  # noqa: ARG002
        phi, pull = s.x, s.y / self.local_steps
        for _ in range(self.local_steps):
            phi = phi - self.step_size * problem.gradient(phi) - pull
        mixed = yield from mix(phi)
        x = (phi + mixed) / 2
        return LocalState(x, s.y + phi - x)


@dataclass(frozen=True)
class ProxSkip(Algorithm[LocalState]):
    """ProxSkip for networks (Mishchenko et al. 2022; Guo, Alghunaim, Yuan, Condat & Cao 2023).

    z = x − α ∇f(x) − y        with probability p, by one coin for all nodes:
    x⁺ = W_a z, y⁺ = y + p (z − x⁺), W_a = I − (I − W)/(2χ)        else x⁺ = z, y⁺ = y

    `step_size` is α, `probability` p, `chi` χ ≥ 1. Assumes W symmetric and doubly stochastic, fᵢ
    convex and L-smooth, α < 2/L. An iteration whose coin shows tails makes no exchange at all.
    Invariant: mean y = 0.
    """

    step_size: float
    probability: float = 0.5
    chi: float = 1.0

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("y"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("probability", self.probability)
        if not self.chi >= 1:
            raise ConfigError(f"chi must be at least 1, got {self.chi}", hint="--set chi=1")

    def init(self, x: Array, problem: Gradient, here: Here) -> LocalState:  # noqa: ARG002
        return LocalState(x, np.zeros_like(x))

    def step(self, s: LocalState, problem: Gradient, here: Here) -> Step[LocalState]:
        z = s.x - self.step_size * problem.gradient(s.x) - s.y
        if here.common_rng.random() >= self.probability:
            return LocalState(z, s.y)
        z_mixed = yield from mix(z)
        x = z - (z - z_mixed) / (2 * self.chi)
        return LocalState(x, s.y + self.probability * (z - x))
