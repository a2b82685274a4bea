"""Consensus: on an average, on the largest, on the smallest, on whether all say yes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Missing, Requires, Stochastic
from p2pdo.algorithms.theory import Theorem, slem_rate
from p2pdo.effects import Here, Step, exchange, mix
from p2pdo.problems.base import Problem
from p2pdo.types import Array


class ConsensusState(NamedTuple):
    x: Array  # the node's estimate, shape (d,)


@dataclass(frozen=True)
class Consensus(Algorithm[ConsensusState]):
    """Consensus (DeGroot 1974, *Reaching a consensus*).

    x⁺ᵢ = Σⱼ wᵢⱼ xⱼ

    Limit: Σᵢ πᵢ xᵢ⁰ at every node, π the left eigenvector of W for eigenvalue 1; the plain mean
    where W is doubly stochastic. Invariant there: mean x never changes.
    """

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW, time_varying=True)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.AGREEMENT
    theorem: ClassVar[Theorem] = Theorem("DeGroot 1974", slem_rate)

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[ConsensusState]:
        x = yield from mix(s.x)
        return ConsensusState(x)


@dataclass(frozen=True)
class MaxConsensus(Algorithm[ConsensusState]):
    """Max-consensus (Cortés 2008, *Distributed algorithms for reaching consensus*).

    x⁺ᵢ = max(xᵢ, maxⱼ xⱼ) over the in-neighbours j, entry by entry

    Reaches maxᵢ xᵢ⁰ exactly after as many iterations as the diameter, on every strongly connected
    graph; the weights are not looked at. A value that never arrives costs iterations alone: the
    next one of that neighbour is no smaller.
    """

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.LARGEST
    missing: ClassVar[Missing] = Missing.HOLD

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        return ConsensusState(np.maximum.reduce([s.x, *theirs.values()]))


@dataclass(frozen=True)
class MinConsensus(Algorithm[ConsensusState]):
    """Min-consensus (Cortés 2008, *Distributed algorithms for reaching consensus*).

    x⁺ᵢ = min(xᵢ, minⱼ xⱼ) over the in-neighbours j, entry by entry

    Reaches minᵢ xᵢ⁰ exactly after as many iterations as the diameter; `MaxConsensus` of −x, where
    a value never arrives too.
    """

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.SMALLEST
    missing: ClassVar[Missing] = Missing.HOLD

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState(x)

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        return ConsensusState(np.minimum.reduce([s.x, *theirs.values()]))


@dataclass(frozen=True)
class LogicAnd(Algorithm[ConsensusState]):
    """Logic-and consensus: min-consensus (Cortés 2008) of truths, for stopping together.

    x⁰ᵢ = 1 where the start is positive, else 0        x⁺ᵢ = xᵢ ∧ ⋀ⱼ xⱼ over the in-neighbours j

    1 in an entry says that all nodes said yes, and after as many iterations as the diameter all
    nodes know it; a 0 is never taken back. A value that never arrives costs iterations alone.
    """

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.ALL
    missing: ClassVar[Missing] = Missing.HOLD

    def init(self, x: Array, problem: Problem, here: Here) -> ConsensusState:  # noqa: ARG002
        return ConsensusState((x > 0).astype(x.dtype))

    def step(
        self,
        s: ConsensusState,
        problem: Problem,  # noqa: ARG002
        here: Here,  # noqa: ARG002
    ) -> Step[ConsensusState]:
        theirs = yield from exchange(s.x)
        return ConsensusState(np.minimum.reduce([s.x, *theirs.values()]))
