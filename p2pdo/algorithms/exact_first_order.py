"""Exact first-order methods: one gradient and one exchange an iteration, no tracker, no bias.

Each takes away the bias of distributed gradient descent with a correction that adds up what the
nodes still disagree on. W̃ = (I + W)/2 throughout, whose eigenvalues are not negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import (
    Algorithm,
    CostBounds,
    Limit,
    Requires,
    Stochastic,
    require_positive,
)
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.algorithms.theory import Theorem, extra_rate, over_smoothness, primal_dual_rate
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError, LocalProtocolError
from p2pdo.problems.base import Gradient, Smooth
from p2pdo.types import Array

SYMMETRIC = Requires(weights=Stochastic.DOUBLY, symmetric=True, oracle=Gradient)
MOST = 2.0
"""Of 1/L: a step of NIDS is below that, whatever the network is."""
PRIMAL_DUAL = Theorem(
    "Li, Shi & Yan 2019", primal_dual_rate, over_smoothness(lambda _: MOST), symmetric=True
)
ROUNDING = 1e-9
"""Of a constant that travelled, or was computed again."""


class CorrectedState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    c: Array  # correction: what the last iteration leaves to this one, shape (d,)


@dataclass(frozen=True)
class Extra(Algorithm[CorrectedState]):
    """EXTRA (Shi, Ling, Wu & Yin 2015).

    x¹ = W x⁰ − α ∇f(x⁰)        x^{k+1} = (I + W) x^k − W̃ x^{k−1} − α (∇f(x^k) − ∇f(x^{k−1}))

    Assumes W symmetric and doubly stochastic, fᵢ convex and L-smooth, α < 2 λmin(W̃)/L; linear for
    strongly convex fᵢ. Kept as c^k = x^k − W̃ x^{k−1} + α ∇f(x^{k−1}), c⁰ = 0, so that
    x^{k+1} = W x^k − α ∇f(x^k) + c^k. Invariant: mean c = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    theorem: ClassVar[Theorem] = Theorem(
        "Shi, Ling, Wu & Yin 2015; this bound is proved at `theory.extra_rate`",
        extra_rate,
        over_smoothness(lambda at: 1 + at.smallest),
        symmetric=True,
    )
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("c"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> CorrectedState:  # noqa: ARG002
        return CorrectedState(x, np.zeros_like(x))

    def step(
        self,
        s: CorrectedState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[CorrectedState]:
        x_mixed = yield from mix(s.x)
        descent = self.step_size * problem.gradient(s.x)
        x = x_mixed - descent + s.c
        return CorrectedState(x, x - (s.x + x_mixed) / 2 + descent)


@dataclass(frozen=True)
class ExactDiffusion(Algorithm[CorrectedState]):
    """Exact diffusion (Yuan, Ying, Zhao & Sayed 2019), D² (Tang et al. 2018).

    ψ⁺ = x − α ∇f(x)        φ⁺ = ψ⁺ + x − ψ        x⁺ = W̃ φ⁺        ψ⁰ = x⁰

    Assumes W symmetric and doubly stochastic, fᵢ convex and L-smooth, α < 2/L. D² is the same with
    W in the place of W̃, for weights whose eigenvalues are above −1/3. Kept as c = x − ψ.
    Invariant: mean c = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    theorem: ClassVar[Theorem] = PRIMAL_DUAL
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("c"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> CorrectedState:  # noqa: ARG002
        return CorrectedState(x, np.zeros_like(x))

    def step(
        self,
        s: CorrectedState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[CorrectedState]:
        psi = s.x - self.step_size * problem.gradient(s.x)
        phi = psi + s.c
        phi_mixed = yield from mix(phi)
        x = (phi + phi_mixed) / 2
        return CorrectedState(x, x - psi)


@dataclass(frozen=True)
class Nids(Algorithm[CorrectedState]):
    """NIDS for smooth costs (Li, Shi & Yan 2019).

    x¹ = x⁰ − α ∇f(x⁰)        x^{k+1} = W̃ (2x^k − x^{k−1} − α ∇f(x^k) + α ∇f(x^{k−1}))

    Assumes W symmetric and doubly stochastic, fᵢ convex and L-smooth, α < 2/L whatever the network
    is. All nodes have one step size here. It is exact diffusion but for its first iteration, which
    makes no exchange. Kept as c^k = x^k − x^{k−1} + α ∇f(x^{k−1}), c⁰ = 0. Invariant: mean c = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    theorem: ClassVar[Theorem] = PRIMAL_DUAL
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("c"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> CorrectedState:  # noqa: ARG002
        return CorrectedState(x, np.zeros_like(x))

    def step(self, s: CorrectedState, problem: Gradient, here: Here) -> Step[CorrectedState]:
        descended = s.x - self.step_size * problem.gradient(s.x)
        if here.iteration == 0:
            return CorrectedState(descended, np.zeros_like(s.x))
        corrected = descended + s.c
        mixed = yield from mix(corrected)
        x = (corrected + mixed) / 2
        return CorrectedState(x, x - descended)


class OwnStepsState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    v: Array  # what neighbours' disagreement has added up to, shape (d,)
    a: Array  # own step size, shape (1,)


@dataclass(frozen=True)
class NidsOwnSteps(Algorithm[OwnStepsState]):
    """NIDS with a step size of each node's own (Li, Shi & Yan 2019, algorithm 1 with r = 0).

    x¹ = x⁰ − Λ ∇f(x⁰)        x^{k+1} = W̃ (2x^k − x^{k−1} − Λ ∇f(x^k) + Λ ∇f(x^{k−1}))

    Λ has αᵢ = s/Lᵢ on its diagonal and W̃ = I − cΛ(I − W), c = 1/(2 maxᵢ αᵢ). `share` is s, below 2;
    `least_smoothness` is the smallest Lᵢ, all that a node has to know of the others. A node with a
    flat cost goes further than the one with the steepest lets it in `Nids`. Assumes W symmetric and
    doubly stochastic, fᵢ convex and Lᵢ-smooth. Kept as vᵢ = (xᵢ^k − xᵢ^{k−1})/αᵢ + ∇fᵢ(xᵢ^{k−1}),
    v⁰ = 0. Invariant: mean v = 0.
    """

    share: float = 1.0
    least_smoothness: float = 1.0

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, symmetric=True, oracle=Smooth
    )
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"least_smoothness": "the smallest Lᵢ"}
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("v"),)

    def __post_init__(self) -> None:
        require_positive("least_smoothness", self.least_smoothness)
        if not 0 < self.share < MOST:
            raise ConfigError(
                f"share must be in (0, {MOST:g}), got {self.share}",
                hint="--set share=1 takes 1/Lᵢ, or leave it out",
            )

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"least_smoothness": bounds.least_smoothness}

    def init(self, x: Array, problem: Smooth, here: Here) -> OwnStepsState:  # noqa: ARG002
        smoothness = problem.smoothness
        if not smoothness >= self.least_smoothness * (1 - ROUNDING):
            raise LocalProtocolError(
                f"this node's L is {smoothness:g}, less than least_smoothness, which is "
                f"{self.least_smoothness:g}",
                hint=f"--set least_smoothness={smoothness:g} or less, or leave it out",
            )
        return OwnStepsState(x, np.zeros_like(x), np.array([self.share / smoothness], x.dtype))

    def step(self, s: OwnStepsState, problem: Smooth, here: Here) -> Step[OwnStepsState]:
        descended = s.x - s.a * problem.gradient(s.x)
        if here.iteration == 0:
            return OwnStepsState(descended, np.zeros_like(s.x), s.a)
        corrected = descended + s.a * s.v
        mixed = yield from mix(corrected)
        v = s.v - self.least_smoothness / (2 * self.share) * (corrected - mixed)
        return OwnStepsState(descended + s.a * v, v, s.a)


class IntegralState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    z: Array  # sum of what x disagreed by, shape (d,)


@dataclass(frozen=True)
class WangElia(Algorithm[IntegralState]):
    """Wang & Elia (2010, *Control approach to distributed optimization*), in discrete time.

    x⁺ = x − K (x + z) − α ∇f(x)        z⁺ = z + K x        K = (I − W)/2        z⁰ = 0

    Proportional and integral feedback of the disagreement. Assumes W symmetric and doubly
    stochastic, fᵢ convex and L-smooth, α small enough. Invariant: mean z = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("z"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> IntegralState:  # noqa: ARG002
        return IntegralState(x, np.zeros_like(x))

    def step(
        self,
        s: IntegralState,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[IntegralState]:
        x_mixed, z_mixed = yield from mix(s.x, s.z)
        apart = (s.x - x_mixed) / 2
        x = s.x - apart - (s.z - z_mixed) / 2 - self.step_size * problem.gradient(s.x)
        return IntegralState(x, s.z + apart)
