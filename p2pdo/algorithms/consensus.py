"""Average consensus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic
from p2pdo.effects import Here, Step, mix
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

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW)
    batched: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.AGREEMENT

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
