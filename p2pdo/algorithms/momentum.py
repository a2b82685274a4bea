"""Momentum for distributed gradient descent, and what to do against the bias it adds.

Momentum at each node by itself speeds up what the nodes disagree on too: the bias becomes that of
diffusion with a step 1/(1 − β) times as long. DecentLaM and quasi-global momentum take it from what
the network moved by, not from the own gradient, and have the bias of diffusion without momentum.
β = 0 is diffusion, `Atc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


class MomentumState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    m: Array  # momentum, shape (d,)


@dataclass(frozen=True)
class _Momentum(Algorithm[MomentumState]):
    """What the three have in common: their parameters and where they start."""

    step_size: float
    beta: float = 0.9

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    batched: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        if not 0 <= self.beta < 1:
            raise ConfigError(
                f"beta must lie in [0, 1), got {self.beta}", hint="for example --set beta=0.9"
            )

    def init(self, x: Array, problem: Gradient, here: Here) -> MomentumState:  # noqa: ARG002
        return MomentumState(x, np.zeros_like(x))


@dataclass(frozen=True)
class DmSgd(_Momentum):
    """DmSGD, decentralized momentum SGD (Yuan et al. 2021, algorithm 1).

    m⁺ = β m + ∇f(x)        x⁺ = W (x − γ m⁺)        m⁰ = 0

    `step_size` is γ. Assumes W doubly stochastic, fᵢ L-smooth, γ ≲ (1 − β)/L. With constant γ it
    stops at a distance O(γ/(1 − β)) from the optimum. Invariant: mean x⁺ = mean x − γ mean m⁺.
    """

    unison: ClassVar[bool] = True

    def step(
        self,
        s: MomentumState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[MomentumState]:
        m = self.beta * s.m + problem.gradient(s.x)
        x = yield from mix(s.x - self.step_size * m)
        return MomentumState(x, m)


@dataclass(frozen=True)
class DecentLam(_Momentum):
    """DecentLaM (Yuan, Chen, Huang, Zhang, Pan, Xu & Yin 2021, algorithm 2).

    g̃ = (x − W (x − γ ∇f(x))) / γ        m⁺ = β m + g̃        x⁺ = x − γ m⁺        m⁰ = 0

    `step_size` is γ. Assumes W symmetric and doubly stochastic, fᵢ L-smooth, γ ≲ (1 − β)/L. g̃ is
    what `Atc` moves by; where it vanishes, so does the momentum: the limit is that of `Atc`, at a
    distance O(γ) from the optimum whatever β is. Invariant: mean g̃ = mean ∇f(x).
    """

    unison: ClassVar[bool] = True
    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, symmetric=True, oracle=Gradient
    )

    def step(
        self,
        s: MomentumState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[MomentumState]:
        moved = yield from mix(s.x - self.step_size * problem.gradient(s.x))
        m = self.beta * s.m + (s.x - moved) / self.step_size
        return MomentumState(s.x - self.step_size * m, m)


@dataclass(frozen=True)
class QgDsgdm(_Momentum):
    """QG-DSGDm, quasi-global momentum (Lin, Karimireddy, Stich & Jaggi 2021, algorithm 1).

    x⁺ = W (x − η (β m + ∇f(x)))        m⁺ = β m + (1 − β) (x − x⁺)/η        m⁰ = 0

    `step_size` is η; the paper's μ is β. Assumes W doubly stochastic, fᵢ L-smooth, η ≲ 1/L. Where
    the network stands still the momentum vanishes: the limit is that of `Atc`, at a distance O(η)
    from the optimum. Invariant: mean x⁺ = mean x − η mean(β m + ∇f(x)).
    """

    unison: ClassVar[bool] = True

    def step(
        self,
        s: MomentumState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[MomentumState]:
        descent = self.beta * s.m + problem.gradient(s.x)
        x = yield from mix(s.x - self.step_size * descent)
        m = self.beta * s.m + (1 - self.beta) / self.step_size * (s.x - x)
        return MomentumState(x, m)
