"""ADMM with a variable for each end of each edge: exact also where messages are lost.

Node i keeps zᵢⱼ for each neighbour j, one row of `z` in neighbour order. Only zᵢⱼ remembers what j
said; where j's message is missing it stays as it was, and the fixed point is the same.

All of it is written for ADMM in the form that sends mᵢⱼ = 2ρ xᵢ − zᵢⱼ and averages
zᵢⱼ⁺ = (1 − a) zᵢⱼ + a mⱼᵢ with the relaxation a in (0, 1).
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
    Missing,
    Requires,
    Stochastic,
    require_count,
    require_positive,
)
from p2pdo.algorithms.edges import Came, Edges, edges_of
from p2pdo.algorithms.node_admm import PENALTY, penalty_of
from p2pdo.effects import Here, Step
from p2pdo.errors import ConfigError
from p2pdo.problems.base import FiniteSum, Gradient, Prox
from p2pdo.types import Array


class EdgeState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    z: Array  # one row for each neighbour, shape (degree, d)


def require_relaxation(a: float) -> None:
    if not 0 < a < 1:
        raise ConfigError(
            f"relaxation must lie in (0, 1), got {a}", hint="for example --set relaxation=0.5"
        )


def averaged(z: Array, theirs: Came, a: float) -> Array:
    """(1 − a) z + a m, row by row; a row whose neighbour's message is missing stays."""
    z_new = theirs.rows
    z_new *= a
    z_new += (1 - a) * z
    for k in theirs.missing:
        z_new[k] = z[k]
    return z_new


def message(rho: float, x: Array, z: Array, edges: Edges) -> Array:
    """mᵢⱼ = 2ρ xᵢ − zᵢⱼ, row by row."""
    m = edges.each(2 * rho * x)
    m -= z
    return m


@dataclass(frozen=True)
class EdgeAdmm(Algorithm[EdgeState]):
    """Relaxed ADMM over edges (Bastianello, Carli, Schenato & Todescato 2021).

    xᵢ = prox_{fᵢ/(ρ dᵢ)}(Σⱼ zᵢⱼ / (ρ dᵢ))        mᵢⱼ = 2ρ xᵢ − zᵢⱼ
    zᵢⱼ⁺ = (1 − a) zᵢⱼ + a mⱼᵢ

    `rho` is ρ, `relaxation` a, dᵢ the number of neighbours. Assumes fᵢ closed and convex and an
    undirected graph; any ρ > 0, no step size. The start is zᵢⱼ = ρ xᵢ⁰. A node alone has no edge:
    it iterates prox_{f/ρ}. With a = ½ it is `ConsensusAdmm` of half its ρ. Invariant at the limit:
    zᵢⱼ + zⱼᵢ = 2ρ x.
    """

    rho: float = 1.0
    relaxation: float = 0.5

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Prox, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    missing: ClassVar[Missing] = Missing.HOLD
    from_costs: ClassVar[Mapping[str, str]] = {"rho": f"2 {PENALTY}"}
    needs_costs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_positive("rho", self.rho)
        require_relaxation(self.relaxation)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        return {"rho": 2 * penalty_of(bounds)}

    def init(self, x: Array, problem: Prox, here: Here) -> EdgeState:  # noqa: ARG002
        return EdgeState(x, edges_of(here).each(self.rho * x))

    def step(self, s: EdgeState, problem: Prox, here: Here) -> Step[EdgeState]:
        edges = edges_of(here)
        if edges:
            weight = self.rho * edges.degree
            x = problem.prox(edges.total(s.z) / weight, weight)
        else:
            x = problem.prox(s.x, self.rho)
        theirs = yield from edges.swap(message(self.rho, x, s.z, edges))
        return EdgeState(x, averaged(s.z, theirs, self.relaxation))


class TrackingEdgeState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    z: Array  # one row for each neighbour: of what agrees on x, shape (degree, d)
    t: Array  # the same of what agrees on the gradient


@dataclass(frozen=True)
class AdmmTracking(Algorithm[TrackingEdgeState]):
    """ADMM-tracking gradient (Carnevale, Bastianello, Notarstefano & Carli 2025).

    (y; s) = ((x; ∇f(x)) + Σⱼ zᵢⱼ) / (1 + ρ dᵢ)        x⁺ = x + γ (y − x) − γ δ s
    mᵢⱼ = 2ρ (y; s) − zᵢⱼ        zᵢⱼ⁺ = (1 − a) zᵢⱼ + a mⱼᵢ        zᵢⱼ⁰ = 0

    ADMM agrees on the mean of x and of the gradients while x descends along them. `step_size` is
    δ, `gamma` γ, `rho` ρ, `relaxation` a. Assumes an undirected graph, strongly convex F, L-smooth
    fᵢ, γ small enough.
    """

    step_size: float
    gamma: float = 0.1
    rho: float = 0.5
    relaxation: float = 0.8

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Gradient, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    missing: ClassVar[Missing] = Missing.HOLD

    def __post_init__(self) -> None:
        for name in ("step_size", "gamma", "rho"):
            require_positive(name, getattr(self, name))
        require_relaxation(self.relaxation)

    def init(self, x: Array, problem: Gradient, here: Here) -> TrackingEdgeState:  # noqa: ARG002
        nothing = edges_of(here).each(np.zeros_like(x))
        return TrackingEdgeState(x, nothing, nothing)

    def step(self, s: TrackingEdgeState, problem: Gradient, here: Here) -> Step[TrackingEdgeState]:
        edges = edges_of(here)
        weight = 1 + self.rho * edges.degree
        y = (s.x + edges.total(s.z)) / weight
        tracked = (problem.gradient(s.x) + edges.total(s.t)) / weight
        theirs = yield from edges.swap_all(
            message(self.rho, y, s.z, edges), message(self.rho, tracked, s.t, edges)
        )
        x = s.x + self.gamma * (y - s.x) - self.gamma * self.step_size * tracked
        z, t = map(averaged, (s.z, s.t), theirs, (self.relaxation,) * 2)
        return TrackingEdgeState(x, z, t)


@dataclass(frozen=True)
class LtAdmm(Algorithm[EdgeState]):
    """LT-ADMM, local training (Ren, Bastianello, Johansson & Parisini 2025).

    τ times φ ← φ − γ ∇f(φ) − β (ρ dᵢ xᵢ − Σⱼ zᵢⱼ) from φ = xᵢ        xᵢ⁺ = φ
    mᵢⱼ = 2ρ xᵢ⁺ − zᵢⱼ        zᵢⱼ⁺ = (1 − a) zᵢⱼ + a mⱼᵢ        zᵢⱼ⁰ = ρ xᵢ⁰

    `step_size` is γ, `local_steps` τ, `beta` β, `rho` ρ, `relaxation` a; the paper has a = ½.
    Assumes an undirected graph, fᵢ L-smooth, γ ≲ 1/(τ L), τ β ρ maxᵢ dᵢ below one: a smaller
    β on graphs with hubs.
    """

    step_size: float
    local_steps: int = 5
    beta: float = 0.2
    rho: float = 0.1
    relaxation: float = 0.5

    batched: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Gradient, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    missing: ClassVar[Missing] = Missing.HOLD

    def __post_init__(self) -> None:
        for name in ("step_size", "beta", "rho"):
            require_positive(name, getattr(self, name))
        require_count("local_steps", self.local_steps)
        require_relaxation(self.relaxation)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - the steps are local ones
        return 1 / 8

    def init(self, x: Array, problem: Gradient, here: Here) -> EdgeState:  # noqa: ARG002
        return EdgeState(x, edges_of(here).each(self.rho * x))

    def step(self, s: EdgeState, problem: Gradient, here: Here) -> Step[EdgeState]:
        edges = edges_of(here)
        pull = self.beta * (self.rho * edges.degree * s.x - edges.total(s.z))
        phi = s.x
        for _ in range(self.local_steps):
            phi = phi - self.step_size * problem.gradient(phi) - pull
        theirs = yield from edges.swap(message(self.rho, phi, s.z, edges))
        return EdgeState(phi, averaged(s.z, theirs, self.relaxation))


@dataclass(frozen=True)
class LtAdmmVr(Algorithm[EdgeState]):
    """LT-ADMM-VR, variance reduced (Ren, Bastianello, Johansson & Parisini 2025).

    `LtAdmm` with v in the place of ∇f(φ), over mini-batches B of the m terms of f:

    v = |B|⁻¹ Σ_{k∈B} (∇fₖ(φ) − tₖ) + m⁻¹ Σₖ tₖ        then tₖ = ∇fₖ(φ) for k in B

    The table t begins each iteration at the gradients of all terms at x, so an iteration costs
    m + τ |B| term gradients. `batch_size` is |B|, drawn with replacement.
    """

    step_size: float
    local_steps: int = 5
    batch_size: int = 1
    beta: float = 0.2
    rho: float = 0.1
    relaxation: float = 0.5

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=FiniteSum, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    missing: ClassVar[Missing] = Missing.HOLD

    def __post_init__(self) -> None:
        for name in ("step_size", "beta", "rho"):
            require_positive(name, getattr(self, name))
        require_count("local_steps", self.local_steps)
        require_count("batch_size", self.batch_size)
        require_relaxation(self.relaxation)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - the steps are local ones
        return 1 / 32

    def init(self, x: Array, problem: FiniteSum, here: Here) -> EdgeState:  # noqa: ARG002
        return EdgeState(x, edges_of(here).each(self.rho * x))

    def step(self, s: EdgeState, problem: FiniteSum, here: Here) -> Step[EdgeState]:
        edges = edges_of(here)
        pull = self.beta * (self.rho * edges.degree * s.x - edges.total(s.z))
        phi, table = s.x, problem.term_gradients(s.x, np.arange(problem.terms))
        for _ in range(self.local_steps):
            rows = here.rng.integers(problem.terms, size=self.batch_size)
            fresh = problem.term_gradients(phi, rows)
            v = (fresh - table[rows]).mean(axis=0) + table.mean(axis=0)
            table[rows] = fresh
            phi = phi - self.step_size * v - pull
        theirs = yield from edges.swap(message(self.rho, phi, s.z, edges))
        return EdgeState(phi, averaged(s.z, theirs, self.relaxation))
