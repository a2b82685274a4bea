"""Accelerated first-order methods: √κ gradients where others take κ, κ = L/μ.

All are Nesterov's method on what the network knows of the mean cost. They take μ, which is that of
the costs where it is not given; one that is too large may make them unstable. Those that mix
several times an iteration make up for a slow graph by exchanges, not by gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.accelerated_gossip import FastMix
from p2pdo.algorithms.base import (
    Algorithm,
    CostBounds,
    Limit,
    Requires,
    Stochastic,
    require_positive,
    require_strong_convexity,
)
from p2pdo.algorithms.inner_gossip import (
    TOLD,
    Interval,
    chebyshev_mix,
    fast_mix,
    interval_of,
    left_by_chebyshev,
    require_curvatures,
    require_interval,
    require_times,
)
from p2pdo.algorithms.invariants import TRACKS, Invariant, equal_means, zero_mean
from p2pdo.algorithms.stability import half_of_largest_stable, spectral_radius
from p2pdo.algorithms.theory import Constants, Theorem
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.graphs.weights import Weights
from p2pdo.problems.base import Gradient
from p2pdo.types import Array

SYMMETRIC = Requires(weights=Stochastic.DOUBLY, symmetric=True, oracle=Gradient)
MEAN_CONVEXITY = "the mean of the costs' μᵢ"
LEFT = 32
"""What MUDAG's mixings divide a disagreement by, in the long run, where no number is given."""


def require_momentum(step_size: float, convexity: float) -> None:
    require_positive("step_size", step_size)
    require_positive("convexity", convexity)
    if step_size * convexity > 1:
        raise ConfigError(
            f"step_size · convexity must not be above 1, got {step_size * convexity:g}",
            hint="a step size of 1/L or less",
        )


class AcceleratedTracking(NamedTuple):
    x: Array  # decision variable, shape (d,)
    v: Array  # the sequence that looks further ahead, shape (d,)
    z: Array  # where the gradient is taken, the paper's y, shape (d,)
    y: Array  # tracker of the average gradient, the paper's s, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)


@dataclass(frozen=True)
class AccDngd(Algorithm[AcceleratedTracking]):
    """Acc-DNGD-SC, accelerated distributed Nesterov gradient descent (Qu & Li 2020).

    x⁺ᵢ = Σⱼ wᵢⱼ yⱼ − η sᵢ        v⁺ᵢ = (1 − α) Σⱼ wᵢⱼ vⱼ + α Σⱼ wᵢⱼ yⱼ − (η/α) sᵢ
    y⁺ᵢ = (x⁺ᵢ + α v⁺ᵢ) / (1 + α)        s⁺ᵢ = Σⱼ wᵢⱼ sⱼ + ∇fᵢ(y⁺ᵢ) − ∇fᵢ(yᵢ)
    x⁰ = v⁰ = y⁰, sᵢ⁰ = ∇fᵢ(yᵢ⁰), α = √(μη)

    `step_size` is η, `convexity` μ. Assumes W doubly stochastic, fᵢ convex and L-smooth, their mean
    μ-strongly convex, η small enough: for such η it is linear, with (L/μ)^(5/7) in the place of the
    L/μ of gradient tracking. One gradient and three vectors an iteration. The paper's y and s are
    `z` and `y` of the state. Invariant: mean s = mean g.
    """

    step_size: float
    convexity: float = 0.1

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"convexity": MEAN_CONVEXITY}
    invariants: ClassVar[tuple[Invariant, ...]] = TRACKS

    def __post_init__(self) -> None:
        require_momentum(self.step_size, self.convexity)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"convexity": require_strong_convexity(bounds.mean_convexity)}

    @classmethod
    def safe_share(cls, modes: Array) -> float:
        """Stable on equal costs whether they are flat or as steep as can be."""
        return half_of_largest_stable(
            lambda a: max(spectral_radius(cls(a, mu), modes) for mu in (1.0, 1e-2, 1e-4))
        )

    def init(self, x: Array, problem: Gradient, here: Here) -> AcceleratedTracking:  # noqa: ARG002
        g = problem.gradient(x)
        return AcceleratedTracking(x, x, x, g, g)

    def step(
        self,
        s: AcceleratedTracking,
        problem: Gradient,
        here: Here,  # noqa: ARG002
    ) -> Step[AcceleratedTracking]:
        eta, alpha = self.step_size, math.sqrt(self.convexity * self.step_size)
        v_mixed, z_mixed, y_mixed = yield from mix(s.v, s.z, s.y)
        x = z_mixed - eta * s.y
        v = (1 - alpha) * v_mixed + alpha * z_mixed - eta / alpha * s.y
        z = (x + alpha * v) / (1 + alpha)
        g = problem.gradient(z)
        return AcceleratedTracking(x, v, z, y_mixed + g - s.g, g)


class MudagState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # x carried on, where the gradient is taken, shape (d,)
    s: Array  # tracker of the average gradient, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)


@dataclass(frozen=True)
class Mudag(Algorithm[MudagState]):
    """Mudag, multi-consensus accelerated gradient descent (Ye, Luo, Zhou & Zhang 2020, 2023).

    x⁺ = FastMix(y − η s, K)        y⁺ = x⁺ + (1 − α)/(1 + α) (x⁺ − x)
    s⁺ = FastMix(s + ∇f(y⁺) − ∇f(y), K)        y⁰ = x⁰, s⁰ = ∇f(x⁰), α = √(μη)

    In the form with a tracker, that of their DAPG without a proximal map. `step_size` is η,
    `convexity` μ, `slem` λ, `mixings` K; where K is 0 it is the least that leaves 1/32 of a
    disagreement in the long run. The paper asks for K of the order of log(L/μ)/√(1 − λ). Assumes W
    symmetric and doubly stochastic, fᵢ L-smooth, their mean μ-strongly convex. Linear with
    1 − O(√(μ/L)), as one node that had all the data. One gradient, 2K vectors an iteration.
    Invariant: mean s = mean g.
    """

    step_size: float
    convexity: float = 0.1
    slem: float = 0.9
    mixings: int = 0

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_network: ClassVar[Mapping[str, str]] = FastMix.from_network
    from_costs: ClassVar[Mapping[str, str]] = {"convexity": MEAN_CONVEXITY}
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("s", "g"),)

    def __post_init__(self) -> None:
        require_momentum(self.step_size, self.convexity)
        FastMix(self.slem)  # refuses one that is none
        require_times(self.mixings)

    @classmethod
    def of_network(cls, weights: Weights) -> dict[str, float]:
        return FastMix.of_network(weights)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"convexity": require_strong_convexity(bounds.mean_convexity)}

    @property
    def times(self) -> int:
        """K."""
        q = FastMix(self.slem).q
        return self.mixings or (1 if q == 0 else max(1, math.ceil(-math.log(LEFT) / math.log(q))))

    def init(self, x: Array, problem: Gradient, here: Here) -> MudagState:  # noqa: ARG002
        g = problem.gradient(x)
        return MudagState(x, x, g, g)

    def step(self, s: MudagState, problem: Gradient, here: Here) -> Step[MudagState]:  # noqa: ARG002
        alpha = math.sqrt(self.convexity * self.step_size)
        x = yield from fast_mix(s.y - self.step_size * s.s, self.slem, self.times)
        y = x + (1 - alpha) / (1 + alpha) * (x - s.x)
        g = problem.gradient(y)
        tracker = yield from fast_mix(s.s + g - s.g, self.slem, self.times)
        return MudagState(x, y, tracker, g)


class OpapcState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    f: Array  # the sequence that forgets slowly, the paper's x_f, shape (d,)
    y: Array  # dual variable, shape (d,)


def opapc_rate(algorithm: Opapc, at: Constants) -> float:
    """√(1 + ¼ min(1/√(κχ), 1/χ))⁻¹ of a distance, κ and χ those that the parameters stand for."""
    if not algorithm.covers(at):
        return 1.0
    chi, kappa = algorithm.condition, algorithm.smoothness / algorithm.convexity
    return 1 / math.sqrt(1 + min(1 / math.sqrt(kappa * chi), 1 / chi) / 4)


@dataclass(frozen=True)
class Opapc(Algorithm[OpapcState]):
    """OPAPC, optimal accelerated primal-dual method (Kovalev, Salim & Richtárik 2020).

    x_g = τ x + (1 − τ) x_f        x½ = (x − η (∇f(x_g) − α x_g + y)) / (1 + ηα)
    y⁺ = y + θ P x½                x⁺ = (x − η (∇f(x_g) − α x_g + y⁺)) / (1 + ηα)
    x_f⁺ = x_g + 2τ/(2 − τ) (x⁺ − x)        x_f⁰ = x⁰, y⁰ = 0

    P = I − R_K(W) by Chebyshev's polynomial, K exchanges; its eigenvalues lie in [1 − δ, 1 + δ]
    beside 0, χ = (1 + δ)/(1 − δ). `smoothness` is L, `convexity` μ, `second` and `smallest` bound
    W's eigenvalues beside 1; then α = μ, τ = min(1, √(χμ/L)/2), η = 1/(4τL), θ = 1/((1 + δ)η).
    `mixings` is K, where it is 0 the paper's ⌊√χ(I − W)⌋; 1 gives their APAPC. Assumes W symmetric
    and doubly stochastic, fᵢ μ-strongly convex and L-smooth. Linear, an error of ε after
    O(√(L/μ) log 1/ε) gradients and √χ(I − W) times as many exchanges, which is optimal. One
    gradient, K vectors an iteration. Invariant: mean y = 0.
    """

    smoothness: float = 1.0
    convexity: float = 0.1
    second: float = 0.9
    smallest: float = -0.9
    mixings: int = 0

    requires: ClassVar[Requires] = SYMMETRIC
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_network: ClassVar[Mapping[str, str]] = TOLD
    from_costs: ClassVar[Mapping[str, str]] = {
        "smoothness": "the largest Lᵢ",
        "convexity": "the smallest μᵢ",
    }
    theorem: ClassVar[Theorem] = Theorem(
        "Kovalev, Salim & Richtárik 2020", opapc_rate, symmetric=True
    )
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("y"),)

    def __post_init__(self) -> None:
        require_curvatures(self.smoothness, self.convexity)
        require_interval(self.within)
        require_times(self.mixings)

    @classmethod
    def of_network(cls, weights: Weights) -> dict[str, float]:
        return interval_of(weights)._asdict()

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        mu = require_strong_convexity(bounds.convexity)
        return {"smoothness": bounds.smoothness, "convexity": mu}

    @property
    def within(self) -> Interval:
        """Of W's eigenvalues beside 1."""
        return Interval(self.smallest, self.second)

    @property
    def times(self) -> int:
        """K."""
        return self.mixings or max(1, math.floor(math.sqrt(self.within.condition)))

    @property
    def delta(self) -> float:
        """δ."""
        return left_by_chebyshev(self.within, self.times)

    @property
    def condition(self) -> float:
        """χ of P."""
        return (1 + self.delta) / (1 - self.delta)

    def covers(self, at: Constants) -> bool:
        """Whether costs and weights are as the parameters say."""
        if at.smoothness is None or at.convexity is None:
            return False
        slack = 1e-9
        return (
            at.smoothness <= self.smoothness * (1 + slack)
            and at.convexity >= self.convexity * (1 - slack)
            and at.second <= self.second + slack
            and at.smallest >= self.smallest - slack
        )

    def init(self, x: Array, problem: Gradient, here: Here) -> OpapcState:  # noqa: ARG002
        return OpapcState(x, x, np.zeros_like(x))

    def step(self, s: OpapcState, problem: Gradient, here: Here) -> Step[OpapcState]:  # noqa: ARG002
        L, alpha = self.smoothness, self.convexity
        tau = min(1.0, math.sqrt(self.condition * alpha / L) / 2)
        eta = 1 / (4 * tau * L)
        theta = 1 / ((1 + self.delta) * eta)
        x_g = tau * s.x + (1 - tau) * s.f
        descended = s.x - eta * (problem.gradient(x_g) - alpha * x_g)
        half = (descended - eta * s.y) / (1 + eta * alpha)
        y = s.y + theta * (half - (yield from chebyshev_mix(half, self.within, self.times)))
        x = (descended - eta * y) / (1 + eta * alpha)
        return OpapcState(x, x_g + 2 * tau / (2 - tau) * (x - s.x), y)
