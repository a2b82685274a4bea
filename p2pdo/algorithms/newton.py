"""Newton's method without a network-wide Hessian: each node inverts its own.

The Hessian of all nodes' costs together is block diagonal; what couples them is a penalty or a
multiplier on their disagreement, (I − W) x. Each method solves its node's block exactly and treats
the coupling by a truncated series (Network Newton, ESOM), by a regularisation in its place (Newton
tracking) or by that of ADMM (DQM). Steps are full ones: far from the optimum of costs that are
not quadratic a larger ε, or penalty, makes them safer.
"""

from __future__ import annotations

import math
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
    require_share,
    require_strong_convexity,
)
from p2pdo.algorithms.edges import edges_of
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.algorithms.node_admm import NodeState, apart
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.problems.base import Hessian
from p2pdo.types import Array

SYMMETRIC = Requires(weights=Stochastic.DOUBLY, symmetric=True, oracle=Hessian)
PENALTY = "√(L μ̄), μ̄ the mean of the costs' μᵢ"


def penalty_of(bounds: CostBounds) -> float:
    """√(L μ̄): between what the flattest and the steepest direction ask for.

    Where each cost has both, it is within a small factor of the best that one number can be.
    """
    return math.sqrt(bounds.smoothness * require_strong_convexity(bounds.mean_convexity))


def own_weight(here: Here) -> float:
    """wᵢᵢ."""
    return next((w for j, w in here.row.entries if j == here.node), 0.0)


def shifted(H: Array, by: float) -> Array:
    """H + by·I, in H's dtype."""
    return np.asarray(H + by * np.eye(len(H), dtype=H.dtype))


def require_order(order: int) -> None:
    if order < 0:
        raise ConfigError(f"order must be 0 or more, got {order}", hint="--set order=1")


def require_nonnegative(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(
            f"{name} must be 0 or a positive number, got {value}", hint=f"--set {name}=0.1"
        )


class PointState(NamedTuple):
    x: Array  # decision variable, shape (d,)


@dataclass(frozen=True)
class NetworkNewton(Algorithm[PointState]):
    """Network Newton NN-K (Mokhtari, Ling & Ribeiro 2017).

    gᵢ = (1 − wᵢᵢ) xᵢ − Σ_{j≠i} wᵢⱼ xⱼ + α ∇fᵢ(xᵢ)        Dᵢᵢ = α ∇²fᵢ(xᵢ) + 2 (1 − wᵢᵢ) I
    dᵢ⁽⁰⁾ = −Dᵢᵢ⁻¹ gᵢ        dᵢ⁽ᵏ⁺¹⁾ = Dᵢᵢ⁻¹ ((1 − wᵢᵢ) dᵢ⁽ᵏ⁾ + Σ_{j≠i} wᵢⱼ dⱼ⁽ᵏ⁾ − gᵢ)
    x⁺ᵢ = xᵢ + ε dᵢ⁽ᴷ⁾

    `order` is K, `step_size` α, `newton_step` ε in (0, 1]. Minimises ½ xᵀ(I − W)x + α Σᵢ fᵢ(xᵢ),
    whose minimiser is that of DGD with the same α, by K + 1 terms of the series of its inverse
    Hessian. Assumes W symmetric and doubly stochastic, fᵢ strongly convex with a Lipschitz Hessian.
    Linear, on quadratics for every α with ε = 1: an iteration multiplies the error by
    (D⁻¹B)^(K+1), whose eigenvalues lie in [0, 1). Sends K + 1 vectors an iteration.
    """

    step_size: float
    order: int = 1
    newton_step: float = 1.0

    requires: ClassVar[Requires] = SYMMETRIC
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_order(self.order)
        require_share("newton_step", self.newton_step)

    def init(self, x: Array, problem: Hessian, here: Here) -> PointState:  # noqa: ARG002
        return PointState(x)

    def step(self, s: PointState, problem: Hessian, here: Here) -> Step[PointState]:
        x_mixed, w = (yield from mix(s.x)), own_weight(here)
        g = s.x - x_mixed + self.step_size * problem.gradient(s.x)
        D = shifted(self.step_size * problem.hessian(s.x), 2 * (1 - w))
        d = -np.linalg.solve(D, g)
        for _ in range(self.order):
            d_mixed = yield from mix(d)
            d = np.linalg.solve(D, d_mixed + (1 - 2 * w) * d - g)
        return PointState(s.x + self.newton_step * d)


class DualState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    q: Array  # multiplier of the disagreement before x, shape (d,)


@dataclass(frozen=True)
class _SecondOrderDual(Algorithm[DualState]):
    """x⁺ = x + direction, q⁺ = q + α (I − W) x⁺; q is brought up to date when x has been mixed."""

    alpha: float = 1.0
    damping: float = 1.0

    requires: ClassVar[Requires] = SYMMETRIC
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"alpha": PENALTY}
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("q"),)

    def __post_init__(self) -> None:
        require_positive("alpha", self.alpha)
        require_nonnegative("damping", self.damping)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"alpha": penalty_of(bounds)}

    @property
    def epsilon(self) -> float:
        """ε."""
        return self.damping * self.alpha

    def init(self, x: Array, problem: Hessian, here: Here) -> DualState:  # noqa: ARG002
        return DualState(x, np.zeros_like(x))

    def step(self, s: DualState, problem: Hessian, here: Here) -> Step[DualState]:
        pull = self.alpha * (s.x - (yield from mix(s.x)))
        q = s.q + pull if here.iteration else s.q  # q⁰ = 0 is that of x⁰
        g = problem.gradient(s.x) + q + pull
        d = yield from self.direction(g, problem.hessian(s.x), here)
        return DualState(s.x + d, q)

    def direction(self, g: Array, H: Array, here: Here) -> Step[Array]:
        """What x moves by; `g` is the gradient of the augmented Lagrangian."""
        raise NotImplementedError


@dataclass(frozen=True)
class Esom(_SecondOrderDual):
    """ESOM-K, exact second-order method (Mokhtari, Shi, Ling & Ribeiro 2016).

    g = ∇f(x) + q + α (I − W) x        D = ∇²f(x) + ε I + 2α (I − W_d)        B = α (I − 2W_d + W)
    d⁽⁰⁾ = −D⁻¹ g        d⁽ᵏ⁺¹⁾ = D⁻¹ (B d⁽ᵏ⁾ − g)
    x⁺ = x + d⁽ᴷ⁾        q⁺ = q + α (I − W) x⁺        q⁰ = 0

    `order` is K, ε = `damping` · α, W_d the diagonal of W. A method of multipliers whose quadratic
    model is minimised by K + 1 terms of the series of (D − B)⁻¹. Assumes W symmetric and doubly
    stochastic, fᵢ strongly convex with a Lipschitz Hessian; linear. Sends K + 1 vectors an
    iteration. The q of the state is that before its x. Invariant: mean q = 0.
    """

    order: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_order(self.order)

    def direction(self, g: Array, H: Array, here: Here) -> Step[Array]:
        w = own_weight(here)
        D = shifted(H, self.epsilon + 2 * self.alpha * (1 - w))
        d: Array = -np.linalg.solve(D, g)
        for _ in range(self.order):
            d_mixed = yield from mix(d)
            d = np.linalg.solve(D, self.alpha * (d_mixed + (1 - 2 * w) * d) - g)
        return d


@dataclass(frozen=True)
class NewtonTracking(_SecondOrderDual):
    """Newton tracking (Zhang, Ling & So 2021).

    x⁺ = x − u
    u⁺ = [∇²f(x⁺) + ε I]⁻¹ ([∇²f(x) + ε I] u + ∇f(x⁺) − ∇f(x) + α (I − W)(2x⁺ − x))
    u⁰ = [∇²f(x⁰) + ε I]⁻¹ (∇f(x⁰) + α (I − W) x⁰)

    ε = `damping` · α. Assumes W symmetric and doubly stochastic, fᵢ strongly convex with a
    Lipschitz Hessian, ε large enough: from 2α on it outweighs α (I − W). Linear, with one vector an
    iteration. Kept as q = [∇²f(x) + ε I] u − ∇f(x) − α (I − W) x, for which
    q⁺ = q + α (I − W) x⁺, q⁰ = 0; the q of the state is that before its x. Invariant: mean q = 0.
    """

    damping: float = 2.0

    def direction(self, g: Array, H: Array, here: Here) -> Step[Array]:  # noqa: ARG002
        yield from ()
        return np.asarray(-np.linalg.solve(shifted(H, self.epsilon), g))


@dataclass(frozen=True)
class Dqm(Algorithm[NodeState]):
    """DQM, decentralized quadratically approximated ADMM (Mokhtari, Shi, Ling & Ribeiro 2016).

    x⁺ᵢ = xᵢ − (2ρ dᵢ I + ∇²fᵢ(xᵢ))⁻¹ (∇fᵢ(xᵢ) + ρ Σⱼ (xᵢ − xⱼ) + pᵢ)
    p⁺ᵢ = pᵢ + ρ Σⱼ (x⁺ᵢ − x⁺ⱼ)        p⁰ = 0

    `rho` is ρ, the paper's c, and p its φ. DLM with each node's own Hessian for 1/α. Assumes an
    undirected graph, fᵢ strongly convex with a Lipschitz Hessian; linear. The p of the state is
    that of the last x whose neighbours have been heard. Invariant: mean p = 0.
    """

    rho: float = 1.0

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Hessian, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"rho": PENALTY}
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("p"),)

    def __post_init__(self) -> None:
        require_positive("rho", self.rho)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"rho": penalty_of(bounds)}

    def init(self, x: Array, problem: Hessian, here: Here) -> NodeState:  # noqa: ARG002
        return NodeState(x, np.zeros_like(x))

    def step(self, s: NodeState, problem: Hessian, here: Here) -> Step[NodeState]:
        edges = edges_of(here)
        away = self.rho * (yield from apart(s.x, edges))
        p = s.p + away if here.iteration else s.p  # p⁰ = 0 is that of x⁰
        D = shifted(problem.hessian(s.x), 2 * self.rho * edges.degree)
        return NodeState(s.x - np.linalg.solve(D, problem.gradient(s.x) + away + p), p)
