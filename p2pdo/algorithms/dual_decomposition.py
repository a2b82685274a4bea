"""Dual decomposition of "all nodes agree": a multiplier for each edge, a minimisation at each node.

The plain method that SSDA accelerates and ADMM makes proximal. It keeps the multipliers of the
edges apart, so that the price of each agreement can be seen.
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
    require_strong_convexity,
)
from p2pdo.algorithms.edges import edges_of
from p2pdo.algorithms.invariants import Invariant
from p2pdo.effects import Here, Step
from p2pdo.problems.base import DualGradient
from p2pdo.types import Array

PART = 0.9
"""Of μ/d, up to which costs of curvature μ are stable on every graph."""


class PricedEdges(NamedTuple):
    x: Array  # decision variable, the answer to the last prices, shape (d,)
    z: Array  # multipliers, one row for each neighbour, shape (degree, d)


@dataclass(frozen=True)
class DualDecomposition(Algorithm[PricedEdges]):
    """Distributed dual decomposition (Terelius, Topcu & Murray 2011), by an edge's multiplier.

    x⁺ᵢ = argmin_v fᵢ(v) + (Σⱼ λᵢⱼ)ᵀ v        λ⁺ᵢⱼ = λᵢⱼ + α (x⁺ᵢ − x⁺ⱼ)        λᵢⱼ⁰ = 0

    *Decentralized multi-agent optimization via dual decomposition*. `step_size` is α. Both ends of
    an edge keep its multiplier, λⱼᵢ = −λᵢⱼ to the last bit, and send their x alone; the start is
    not used. Assumes an undirected graph, fᵢ μ-strongly convex, α < 2μ / λmax of the Laplacian,
    which is 2d at most, d the largest number of neighbours. Linear where fᵢ are L-smooth: the
    distance of the multipliers shrinks by 1 − α λ₂/L, λ₂ the Laplacian's smallest but zero.
    Invariant: Σᵢ Σⱼ λᵢⱼ = 0.
    """

    step_size: float = 0.05

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=DualGradient, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    from_costs: ClassVar[Mapping[str, str]] = {
        "step_size": f"{PART} μ/d, the smallest μᵢ and the largest number of neighbours"
    }
    invariants: ClassVar[tuple[Invariant, ...]] = (
        Invariant("Σᵢ Σⱼ λᵢⱼ = 0", lambda state: np.asarray(state.z.sum(axis=0))),
    )

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> dict[str, float]:
        convexity = require_strong_convexity(bounds.convexity)
        return {"step_size": PART * convexity / max(1.0, bounds.largest_degree)}

    def init(self, x: Array, problem: DualGradient, here: Here) -> PricedEdges:  # noqa: ARG002
        return PricedEdges(x, edges_of(here).each(np.zeros_like(x)))

    def step(self, s: PricedEdges, problem: DualGradient, here: Here) -> Step[PricedEdges]:
        edges = edges_of(here)
        x = problem.dual_gradient(-edges.total(s.z))
        theirs = yield from edges.hear(x)
        return PricedEdges(x, s.z + self.step_size * (edges.each(x) - theirs.rows))
