"""ADMM with one dual variable a node: exact, linearised, and with inner gradient steps.

Node i keeps pᵢ, the sum of what its edges' multipliers pull; it needs of its neighbours no more
than their x. The three differ in how they minimise fᵢ(v) + pᵢᵀv + ρ Σⱼ ‖v − (xᵢ + xⱼ)/2‖².
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
    require_count,
    require_positive,
)
from p2pdo.algorithms.edges import Edges, edges_of
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.effects import Here, Step
from p2pdo.problems.base import Gradient, Prox
from p2pdo.types import Array


class NodeState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    p: Array  # dual variable, shape (d,)


PENALTY = "√(L μ̄)/d̄, μ̄ the mean of the costs' μᵢ, d̄ that of the numbers of neighbours; else 1"
FLAT, FLATTEST = 30, 1000
"""L over the curvature that stands for a μ̄ of 0, and over the least that is believed."""


def penalty_of(bounds: CostBounds) -> float:
    """√(L μ̄)/d̄: the curvature of a node's penalty is of the order of ρ dᵢ.

    Of costs that are only convex the sum may well be more, so μ̄ is not taken below L/1000, and for
    L/30 where it is 0.
    """
    L, mu = bounds.smoothness, bounds.mean_convexity
    curvature = max(mu, L / FLATTEST) if mu > 0 else L / FLAT
    return math.sqrt(L * curvature) / max(1.0, bounds.mean_degree)


def apart(x: Array, edges: Edges) -> Step[Array]:
    """Σⱼ (xᵢ − xⱼ), added up in neighbour order."""
    theirs = yield from edges.hear(x)
    return edges.total(edges.each(x) - theirs.rows)


@dataclass(frozen=True)
class ConsensusAdmm(Algorithm[NodeState]):
    """Decentralized consensus ADMM (Mateos, Bazerque & Giannakis 2010; Shi et al. 2014).

    p⁺ᵢ = pᵢ + ρ Σⱼ (xᵢ − xⱼ)
    x⁺ᵢ = argmin_v fᵢ(v) + p⁺ᵢᵀv + ρ Σⱼ ‖v − (xᵢ + xⱼ)/2‖²        p⁰ = 0

    `rho` is ρ. Assumes an undirected graph and fᵢ closed and convex; any ρ > 0, no step size. A
    node alone iterates prox_{f/ρ}. Invariant: mean p = 0.
    """

    rho: float = 1.0

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Prox, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"rho": PENALTY}
    needs_costs: ClassVar[bool] = False
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("p"),)

    def __post_init__(self) -> None:
        require_positive("rho", self.rho)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"rho": penalty_of(bounds)}

    def init(self, x: Array, problem: Prox, here: Here) -> NodeState:  # noqa: ARG002
        return NodeState(x, np.zeros_like(x))

    def step(self, s: NodeState, problem: Prox, here: Here) -> Step[NodeState]:
        edges = edges_of(here)
        away = yield from apart(s.x, edges)
        p = s.p + self.rho * away
        weight = 2 * self.rho * edges.degree if edges else self.rho
        # Σⱼ (xᵢ + xⱼ)/2 = dᵢ xᵢ − Σⱼ (xᵢ − xⱼ)/2
        v = s.x - (self.rho * away + p) / weight
        return NodeState(problem.prox(v, weight), p)


@dataclass(frozen=True)
class Dlm(Algorithm[NodeState]):
    """DLM, decentralized linearized ADMM (Ling, Shi, Wu & Ribeiro 2015).

    x⁺ᵢ = xᵢ − (∇fᵢ(xᵢ) + ρ Σⱼ (xᵢ − xⱼ) + pᵢ) / (2ρ dᵢ + 1/α)        p⁺ᵢ = pᵢ + ρ Σⱼ (x⁺ᵢ − x⁺ⱼ)

    `rho` is ρ, the paper's c, and `step_size` α, one over the paper's ρ; a node's own step is the
    smaller the more neighbours it has. Assumes an undirected graph, fᵢ convex and L-smooth,
    α ≤ 1/L. The p of the state is that of the last x whose neighbours have been heard, so that one
    exchange an iteration is enough. Invariant: mean p = 0.
    """

    step_size: float
    rho: float = 1.0

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Gradient, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"rho": PENALTY}
    needs_costs: ClassVar[bool] = False
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("p"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_positive("rho", self.rho)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"rho": penalty_of(bounds)}

    def init(self, x: Array, problem: Gradient, here: Here) -> NodeState:  # noqa: ARG002
        return NodeState(x, np.zeros_like(x))

    def step(self, s: NodeState, problem: Gradient, here: Here) -> Step[NodeState]:
        edges = edges_of(here)
        away = self.rho * (yield from apart(s.x, edges))
        p = s.p + away if here.iteration else s.p  # p⁰ = 0 is that of x⁰
        own_step = 1 / (1 / self.step_size + 2 * self.rho * edges.degree)
        return NodeState(s.x - own_step * (problem.gradient(s.x) + away + p), p)


@dataclass(frozen=True)
class Dinno(Algorithm[NodeState]):
    """DiNNO (Yu, Vincent & Schwager 2022), with gradient steps inside.

    p⁺ᵢ = pᵢ + ρ Σⱼ (xᵢ − xⱼ)        x⁺ᵢ = v after B steps from v = xᵢ of
    v ← v − (∇fᵢ(v) + p⁺ᵢ + 2ρ Σⱼ (v − (xᵢ + xⱼ)/2)) / (1/α + 2ρ dᵢ)        p⁰ = 0

    `rho` is ρ, `local_steps` B, `step_size` α ≤ 1/L. The paper leaves the inner optimizer open;
    this step is the largest that is safe for f and the penalty together. Assumes an undirected
    graph and fᵢ convex and L-smooth. Invariant: mean p = 0.
    """

    step_size: float
    rho: float = 1.0
    local_steps: int = 5

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Gradient, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {"rho": PENALTY}
    needs_costs: ClassVar[bool] = False
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("p"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_positive("rho", self.rho)
        require_count("local_steps", self.local_steps)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"rho": penalty_of(bounds)}

    def init(self, x: Array, problem: Gradient, here: Here) -> NodeState:  # noqa: ARG002
        return NodeState(x, np.zeros_like(x))

    def step(self, s: NodeState, problem: Gradient, here: Here) -> Step[NodeState]:
        edges = edges_of(here)
        away = self.rho * (yield from apart(s.x, edges))
        p, weight = s.p + away, 2 * self.rho * edges.degree
        own_step = 1 / (1 / self.step_size + weight)
        v = s.x
        for _ in range(self.local_steps):
            v = v - own_step * (problem.gradient(v) + p + weight * (v - s.x) + away)
        return NodeState(v, p)
