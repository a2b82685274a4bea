"""Consensus among nodes of which some may lie: Byzantine nodes send what they like.

The median and the trimmed mean keep every honest node within the hull of the honest starts, entry
by entry, as long as at most the stated number of a node's neighbours lie; whoever mixes is moved
anywhere by one of them. They find a value in the hull, not the mean. Clipped gossip keeps the mean
where nobody lies, and bounds what a liar moves in an iteration. Who lies by values that are not
finite, or of another length, ends the run with its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from p2pdo.algorithms.base import (
    Algorithm,
    Limit,
    Requires,
    Stochastic,
    require_count,
    require_positive,
)
from p2pdo.algorithms.consensus import ConsensusState
from p2pdo.effects import Here, Step, exchange
from p2pdo.problems.base import Problem
from p2pdo.types import Array


@dataclass(frozen=True)
class MedianConsensus(Algorithm[ConsensusState]):
    """Coordinate-wise median (Yin et al. 2018; BRIDGE-M of Fang, Yang & Bajwa 2022).

    x⁺ᵢ = median of xᵢ and all xⱼ, entry by entry; of an even number the mean of the middle two

    Breakdown: fewer than half of the d_i + 1 values may be lies. On a complete graph where nobody
    lies all nodes agree after one iteration; on sparse graphs they need not agree. Invariant: an
    honest x stays between the smallest and the largest honest start.
    """

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.HULL

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        return ConsensusState(np.median(np.stack([s.x, *theirs.values()]), axis=0))


@dataclass(frozen=True)
class TrimmedMean(Algorithm[ConsensusState]):
    """Coordinate-wise trimmed mean (Yin et al. 2018; BRIDGE-T of Fang, Yang & Bajwa 2022).

    x⁺ᵢ = (xᵢ + Σ of the xⱼ without the b largest and the b smallest) / (d_i − 2b + 1), by entry

    `trim` is b. Breakdown: b lying neighbours of each node. A node that hears 2b others or fewer
    keeps its x. Where nobody lies, all nodes of a complete graph of more than 2b + 1 agree.
    Invariant: an honest x stays between the smallest and the largest honest start.
    """

    trim: int = 1

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.HULL

    def __post_init__(self) -> None:
        require_count("trim", self.trim)

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        count = len(here.in_neighbors)
        if count <= 2 * self.trim:
            return ConsensusState(s.x)
        in_order = np.sort(np.stack(list(theirs.values())), axis=0)
        kept = in_order[self.trim : count - self.trim]
        return ConsensusState((s.x + kept.sum(axis=0)) / (len(kept) + 1))


@dataclass(frozen=True)
class ClippedGossip(Algorithm[ConsensusState]):
    """ClippedGossip (He, Karimireddy & Jaggi 2022) with one radius for all nodes.

    x⁺ᵢ = Σⱼ wᵢⱼ (xᵢ + clip(xⱼ − xᵢ, τ))        clip(v, τ) = min(1, τ/‖v‖) v

    `radius` is τ. Assumes W symmetric and doubly stochastic. A lying neighbour j moves xᵢ by no
    more than wᵢⱼ τ in an iteration, which adds up: stop after as many iterations as agreement
    takes. The paper has a τ for each node, made from how many lie; one for all is what keeps the
    mean, because what j adds to i is what i takes from j. Invariant, where nobody lies: mean x
    never changes.
    """

    radius: float = 1.0

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, symmetric=True)
    limit: ClassVar[Limit] = Limit.MEAN

    def __post_init__(self) -> None:
        require_positive("radius", self.radius)

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        pulls = {j: self._clipped(x - s.x) for j, x in theirs.items()}
        pull: Array = here.row.weighted_sum({**pulls, here.node: np.zeros_like(s.x)})  # type: ignore[assignment]
        return ConsensusState(s.x + pull)

    def _clipped(self, v: Array) -> Array:
        length = float(np.linalg.norm(v))
        return v if length <= self.radius else v * (self.radius / length)
