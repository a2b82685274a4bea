"""Two nodes at a time: the one that wakes asks a neighbour, and both go to their average.

That the average is one atomic act, although two nodes take part in it, is a conversation:

    question   its number and x, which does not change until it is answered
    answer     the number, and δ = (their x − my x)/2 by a running sum: what goes over to the asker
    repeated   the question, at every wake-up until the answer is there
    busy       who waits for an answer itself answers at once, with nothing

The answerer moves by −δ when it answers, the asker by δ when it hears. A question that comes again
is answered again, with nothing new in the sum; so a lost question or answer is made up for, and
nothing is done twice. The sum of all x never changes, with what is under way.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
from p2pdo.algorithms.base import Limit, Requires, Stochastic, require_positive
from p2pdo.effects import Here
from p2pdo.problems.base import Gradient
from p2pdo.types import Array

NOBODY = -1


class PairState(NamedTuple):
    x: Array  # m in the start's dtype, shape (d,)
    m: Array  # the decision variable, float64, shape (d,)
    made: Array  # of m, what own steps added, float64, shape (d,)
    step: Array  # the own step that follows when the answer is there, float64, shape (d,)
    partner: int  # whom it has asked, or NOBODY
    question: int  # the number of its last question
    answered: tuple[int, ...]  # the number of the last question of each neighbour


class Pairwise(AsynchronousAlgorithm[PairState]):
    """What averages in pairs; `own_step` is what a node adds when its pair has averaged."""

    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE, undirected=True)
    channels: ClassVar[Mapping[str, Channel]] = {
        "question": Channel.LATEST,  # zero where there is none
        "x": Channel.LATEST,
        "answered": Channel.LATEST,
        "flow": Channel.RUNNING_SUM,
    }

    @abstractmethod
    def own_step(self, x: Array, problem: Any) -> Array:
        """Taken from x as it is when the question is asked."""

    def init(self, x: Array, problem: Any, here: Here) -> PairState:  # noqa: ARG002
        zero = np.zeros(x.shape)
        nothing = (0,) * len(here.in_neighbors)
        return PairState(x, x.astype(np.float64), zero, zero, NOBODY, 0, nothing)

    def wake(self, s: PairState, problem: Any, here: Here) -> tuple[PairState, Mapping[int, Parts]]:
        if s.partner == NOBODY:
            s = s._replace(step=self.own_step(s.x, problem).astype(np.float64))
            if not here.out_neighbors:
                return _stepped(s), {}
            chosen = int(here.rng.integers(len(here.out_neighbors)))
            s = s._replace(partner=here.out_neighbors[chosen], question=s.question + 1)
        return s, {s.partner: _said(s, s.partner, np.zeros(s.m.shape), here)}

    def receive(
        self, s: PairState, sender: int, parts: Parts, here: Here
    ) -> tuple[PairState, Parts | None]:
        heard: Any = parts
        s = _moved(s, heard["flow"])
        if s.partner == sender and heard["answered"] == s.question:
            s = _stepped(s)._replace(partner=NOBODY)
        if not heard["question"]:
            return s, None
        at, flow = here.in_neighbors.index(sender), np.zeros(s.m.shape)
        if heard["question"] != s.answered[at]:
            if s.partner == NOBODY:
                flow = (s.m - heard["x"]) / 2
            answered = (*s.answered[:at], heard["question"], *s.answered[at + 1 :])
            s = _moved(s, -flow)._replace(answered=answered)
        return s, _said(s, sender, flow, here)

    def mass(self, s: PairState) -> Mapping[str, Array]:
        return {"flow": s.m - s.made}


def _moved(s: PairState, by: Array) -> PairState:
    m = s.m + by
    return s._replace(x=m.astype(s.x.dtype), m=m)


def _stepped(s: PairState) -> PairState:
    return _moved(s, s.step)._replace(made=s.made + s.step, step=np.zeros(s.m.shape))


def _said(s: PairState, to: int, flow: Array, here: Here) -> Parts:
    answered = s.answered[here.in_neighbors.index(to)]
    question = s.question if s.partner == to else 0
    return {"question": question, "x": s.x, "answered": answered, "flow": flow}


@dataclass(frozen=True)
class RandomizedGossip(Pairwise):
    """Randomized pairwise gossip (Boyd, Ghosh, Prabhakar & Shah 2006).

    wake      a neighbour j at random:  xᵢ⁺ = xⱼ⁺ = (xᵢ + xⱼ)/2

    Assumes a connected undirected graph. Limit: the mean of the starts. Invariant: Σ x, with what
    is under way; no x leaves the hull of the starts. A neighbour that is itself waiting for an
    answer declines.
    """

    limit: ClassVar[Limit] = Limit.MEAN

    def own_step(self, x: Array, problem: Any) -> Array:  # noqa: ARG002
        return np.zeros(x.shape)


@dataclass(frozen=True)
class AdPsgd(Pairwise):
    """AD-PSGD (Lian, Zhang, Zhang & Liu 2018), asynchronous decentralized parallel SGD.

    wake      g = ∇fᵢ(xᵢ), a neighbour j at random:  xᵢ⁺ = xⱼ⁺ = (xᵢ + xⱼ)/2, then xᵢ⁺⁺ = xᵢ⁺ − γ g

    Assumes a connected undirected graph, fᵢ L-smooth. With a constant γ it stays at a distance that
    shrinks with γ: whose turn it is is random, and so is which gradient is followed. Where the
    paper parts the nodes into askers and answerers against deadlock, here a neighbour that is
    itself waiting declines, and the gradient is taken without the average. Invariant: Σ x changes
    by −γ g alone.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.NONE, oracle=Gradient, undirected=True
    )
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - the distance shrinks with it
        return 1 / 8

    def own_step(self, x: Array, problem: Gradient) -> Array:
        return -self.step_size * problem.gradient(x)
