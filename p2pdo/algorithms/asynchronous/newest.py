"""Agreement by the newest values that a node has heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
from p2pdo.algorithms.base import Limit, Requires, Stochastic, require_share
from p2pdo.effects import Here
from p2pdo.problems.base import Problem
from p2pdo.types import Array


class HeardState(NamedTuple):
    x: Array  # shape (d,)
    heard: tuple[Array, ...]  # the newest x of each in-neighbour


@dataclass(frozen=True)
class AsynchronousConsensus(AsynchronousAlgorithm[HeardState]):
    """Asynchronous consensus (Bertsekas & Tsitsiklis 1989, section 7.3; Fang & Antsaklis 2005).

    wake      x⁺ = wᵢᵢ x + Σⱼ wᵢⱼ xⱼ,  xⱼ the newest that came of j (x⁰ before any did)

    Assumes a strongly connected graph, row-stochastic weights, nobody too far behind or too long
    unheard. Limit: one value in the hull of the starts; which, the order of events decides.
    """

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW)
    limit: ClassVar[Limit] = Limit.ONE_VALUE
    channels: ClassVar[Mapping[str, Channel]] = {"x": Channel.LATEST}

    def init(self, x: Array, problem: Problem, here: Here) -> HeardState:  # noqa: ARG002
        return HeardState(x, (x,) * len(here.in_neighbors))

    def wake(
        self,
        s: HeardState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> tuple[HeardState, Mapping[int, Parts]]:
        heard = dict(zip(here.in_neighbors, s.heard, strict=True))
        x: Any = here.row.weighted_sum({**heard, here.node: s.x})
        return HeardState(x, s.heard), {j: {"x": x} for j in here.out_neighbors}

    def receive(
        self, s: HeardState, sender: int, parts: Parts, here: Here
    ) -> tuple[HeardState, None]:
        at = here.in_neighbors.index(sender)
        x: Any = parts["x"]
        return HeardState(s.x, (*s.heard[:at], x, *s.heard[at + 1 :])), None


class GossipState(NamedTuple):
    x: Array  # shape (d,)


@dataclass(frozen=True)
class BroadcastGossip(AsynchronousAlgorithm[GossipState]):
    """Broadcast gossip (Aysal, Yildiz, Sarwate & Scaglione 2009).

    wake      x to every out-neighbour
    receive   x⁺ = γ x + (1 − γ) xⱼ

    Assumes a strongly connected graph, γ in (0, 1). Limit: one value in the hull of the starts,
    whose expectation over the order of events is their mean where each node hears as many as hear
    it. The mean itself is not kept.
    """

    kept: float = 0.5  # γ

    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.ONE_VALUE
    channels: ClassVar[Mapping[str, Channel]] = {"x": Channel.LATEST}

    def __post_init__(self) -> None:
        require_share("kept", self.kept)

    def init(self, x: Array, problem: Problem, here: Here) -> GossipState:  # noqa: ARG002
        return GossipState(x)

    def wake(
        self,
        s: GossipState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> tuple[GossipState, Mapping[int, Parts]]:
        return s, {j: {"x": s.x} for j in here.out_neighbors}

    def receive(
        self,
        s: GossipState,
        sender: int,  # noqa: ARG002
        parts: Parts,
        here: Here,  # noqa: ARG002
    ) -> tuple[GossipState, None]:
        theirs: Any = parts["x"]
        return GossipState(self.kept * s.x + (1 - self.kept) * theirs), None
