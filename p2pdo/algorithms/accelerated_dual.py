"""Accelerated dual ascent: Nesterov's method on the dual of "all nodes agree".

A node answers a price u with the point x = argmin f(x) − uᵀx, the gradient of its conjugate, and
the network moves the prices by what the answers disagree on. The costs' curvature is inverted: the
dual is 1/μ-smooth and 1/L-strongly convex, times the eigenvalues of the gossip matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.accelerated import Opapc
from p2pdo.algorithms.base import Algorithm, CostBounds, Limit, Requires, Stochastic
from p2pdo.algorithms.inner_gossip import (
    TOLD,
    Interval,
    chebyshev_mix,
    left_by_chebyshev,
    require_curvatures,
    require_interval,
    require_times,
)
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.algorithms.theory import Constants, Theorem
from p2pdo.effects import Here, Step, mix
from p2pdo.graphs.weights import Weights
from p2pdo.problems.base import DualGradient
from p2pdo.types import Array


class PriceState(NamedTuple):
    x: Array  # decision variable, the answer to the last price, shape (d,)
    u: Array  # price, where the dual gradient is taken next, shape (d,)
    y: Array  # the price before momentum, shape (d,)


def dual_rate(algorithm: _DualAscent, at: Constants) -> float:
    """√(1 − √(γ/κ)) of a distance, κ = L/μ and γ those that the parameters stand for."""
    if not algorithm.covers(at):
        return 1.0
    kappa = algorithm.smoothness / algorithm.convexity
    return math.sqrt(1 - math.sqrt(algorithm.spread.gap / kappa))


class Spread(NamedTuple):
    """The eigenvalues of a gossip matrix beside 0."""

    smallest: float
    largest: float

    @property
    def gap(self) -> float:
        """γ, the smallest over the largest."""
        return self.smallest / self.largest


@dataclass(frozen=True)
class _DualAscent(Algorithm[PriceState]):
    smoothness: float = 1.0
    convexity: float = 0.1
    second: float = 0.9
    smallest: float = -0.9

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, symmetric=True, oracle=DualGradient
    )
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_network: ClassVar[Mapping[str, str]] = TOLD
    from_costs: ClassVar[Mapping[str, str]] = Opapc.from_costs
    theorem: ClassVar[Theorem] = Theorem(
        "Scaman, Bach, Bubeck, Lee & Massoulié 2017", dual_rate, symmetric=True
    )
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("u"), zero_mean("y"))

    def __post_init__(self) -> None:
        require_curvatures(self.smoothness, self.convexity)
        require_interval(self.within)

    @classmethod
    def of_network(cls, weights: Weights) -> dict[str, float]:
        return Opapc.of_network(weights)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return Opapc.of_costs(bounds)

    @property
    def within(self) -> Interval:
        """Of W's eigenvalues beside 1."""
        return Interval(self.smallest, self.second)

    def covers(self, at: Constants) -> bool:
        """Whether costs and weights are as the parameters say."""
        return Opapc(self.smoothness, self.convexity, self.second, self.smallest).covers(at)

    def init(self, x: Array, problem: DualGradient, here: Here) -> PriceState:  # noqa: ARG002
        return PriceState(x, np.zeros_like(x), np.zeros_like(x))

    def step(self, s: PriceState, problem: DualGradient, here: Here) -> Step[PriceState]:  # noqa: ARG002
        root = math.sqrt(self.smoothness / self.convexity)
        momentum = (root - math.sqrt(self.spread.gap)) / (root + math.sqrt(self.spread.gap))
        x = problem.dual_gradient(s.u)
        y = s.u - self.convexity / self.spread.largest * (yield from self.gossip(x))
        return PriceState(x, (1 + momentum) * y - momentum * s.y, y)

    @property
    def spread(self) -> Spread:
        """Of the gossip matrix."""
        raise NotImplementedError

    def gossip(self, x: Array) -> Step[Array]:
        """The gossip matrix times x."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ssda(_DualAscent):
    """SSDA, single-step dual accelerated method (Scaman, Bach, Bubeck, Lee & Massoulié 2017).

    θ = ∇f*(x)        y⁺ = x − η (I − W) θ        x⁺ = (1 + β) y⁺ − β y        x⁰ = y⁰ = 0
    η = μ/λ₁(I − W)        β = (√κ − √γ) / (√κ + √γ)        κ = L/μ

    θ is `x` of the state and x its `u`: the start is not used. `smoothness` is L, `convexity` μ,
    `second` and `smallest` bound W's eigenvalues beside 1, γ = (1 − second)/(1 − smallest). Assumes
    W symmetric and doubly stochastic, fᵢ μ-strongly convex and L-smooth. The squared distance
    shrinks by 1 − √(γ/κ) in an iteration, which takes one gradient of the conjugate and one vector.
    Invariant: mean x = 0.
    """

    @property
    def spread(self) -> Spread:
        return Spread(1 - self.second, 1 - self.smallest)

    def gossip(self, x: Array) -> Step[Array]:
        return x - (yield from mix(x))


@dataclass(frozen=True)
class Msda(_DualAscent):
    """MSDA, multi-step dual accelerated method (Scaman, Bach, Bubeck, Lee & Massoulié 2017).

    SSDA with P = I − R_K(W) for I − W, Chebyshev's polynomial by K exchanges: its eigenvalues lie
    in [1 − δ, 1 + δ] beside 0, γ = (1 − δ)/(1 + δ).

    `mixings` is K, where it is 0 the paper's ⌊1/√γ(I − W)⌋; 1 gives SSDA. Parameters and
    assumptions are SSDA's. The squared distance shrinks by 1 − √(γ/κ), κ = L/μ, in an iteration,
    which takes one gradient of the conjugate and K vectors: that is optimal in both for methods of
    local condition number κ. Invariant: mean x = 0.
    """

    mixings: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_times(self.mixings)

    @property
    def times(self) -> int:
        """K."""
        return self.mixings or max(1, math.floor(math.sqrt(self.within.condition)))

    @property
    def spread(self) -> Spread:
        delta = left_by_chebyshev(self.within, self.times)
        return Spread(1 - delta, 1 + delta)

    def gossip(self, x: Array) -> Step[Array]:
        return x - (yield from chebyshev_mix(x, self.within, self.times))
