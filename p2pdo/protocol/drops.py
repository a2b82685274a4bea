"""Drops: values that were sent and never arrive.

Which ones is a function of (seed, iteration, exchange within it, sender, receiver) and of nothing
else, least of all of time. So every executor loses the same ones, and a result has the same bits
on all of them.

Each directed edge is good or bad, a Markov chain over the iterations that begins in its stationary
distribution, and loses a value with a probability of its state (Gilbert 1960; Elliott 1963). Where
both states lose alike, losses are independent.

A receiver draws for all its in-neighbours, in node order, for `BLOCK` iterations at once. A chain
goes on from block to block: who asks for a late block first has the earlier ones drawn on the way,
so that a run that is resumed loses what the whole one loses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from p2pdo.errors import ConfigError

DROPS_STREAM = 8  # no other generator is made from (seed, 8)
BLOCK = 256

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Drops:
    """How many values are lost, and how they cluster.

    Attributes:
        in_good: probability that a value is lost while its edge is good.
        in_bad: the same while it is bad.
        to_bad: probability that a good edge is bad in the next iteration.
        to_good: probability that a bad edge is good in the next iteration.
    """

    in_good: float
    in_bad: float = 1.0
    to_bad: float = 0.0
    to_good: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("in_good", "in_bad", "to_bad", "to_good"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} of a drop must lie in [0, 1], got {getattr(self, name)}",
                    hint="for example --drop 0.1",
                )
        if self.rate >= 1:
            raise ConfigError("every value would be lost", hint="for example --drop 0.1")

    @property
    def share_bad(self) -> float:
        """Of the time that an edge is bad, in the long run."""
        return self.to_bad / (self.to_bad + self.to_good) if self.to_bad else 0.0

    @property
    def rate(self) -> float:
        """Share of values that are lost in the long run."""
        return self.share_bad * self.in_bad + (1 - self.share_bad) * self.in_good

    def at(self, node: int, senders: tuple[int, ...]) -> Arrivals:
        """What arrives at a receiver that hears these."""
        return Arrivals(self, node, senders)


def uniform(probability: float, seed: int = 0) -> Drops:
    """Each value is lost with this probability, independently of all others.

    Raises:
        ConfigError: it is none, or every value would be lost.
    """
    if not 0 <= probability <= 1:
        raise ConfigError(
            f"the share of values that are lost must lie in [0, 1], got {probability}",
            hint="for example --drop 0.1",
        )
    return Drops(probability, seed=seed)


def bursts(rate: float, length: float, seed: int = 0) -> Drops:
    """A share `rate` of all values is lost, in bursts of `length` iterations on average.

    Raises:
        ConfigError: there is no such chain.
    """
    if not (0 <= rate < 1 and length >= 1 and rate <= length * (1 - rate)):
        raise ConfigError(
            f"no bursts of {length} iterations on average make up {rate} of all values",
            hint="a rate below 1 and a length of at least 1, for example --drop 0.1:5",
        )
    return Drops(0.0, 1.0, rate / (1 - rate) / length, 1 / length, seed)


class Arrivals:
    """What of one receiver's values arrives. Keeps the block that was asked for last."""

    def __init__(self, drops: Drops, node: int, senders: tuple[int, ...]) -> None:
        self.dropped = 0
        self._drops = drops
        self._node = node
        self._senders = senders
        self._block = -1
        self._bad: Mask = np.zeros((0, len(senders)), bool)
        self._lost: dict[int, Mask] = {}  # by exchange within the iteration, of this block

    def of(self, iteration: int, phase: int) -> tuple[int, ...]:
        """Whose values arrive at the `phase`-th exchange of the iteration."""
        lost = self._lost_in(phase, iteration // BLOCK)[iteration % BLOCK]
        if not lost.any():
            return self._senders
        arrived = [j for j, gone in zip(self._senders, lost.tolist(), strict=True) if not gone]
        self.dropped += len(self._senders) - len(arrived)
        return tuple(arrived)

    def _lost_in(self, phase: int, block: int) -> Mask:
        if block != self._block:
            self._enter(block)
        if phase not in self._lost:
            drops, uniforms = self._drops, self._uniforms(1 + phase, block)
            chance = np.where(self._bad, drops.in_bad, drops.in_good)
            self._lost[phase] = uniforms < chance
        return self._lost[phase]

    def _enter(self, block: int) -> None:
        if block < self._block:
            self._block = -1
        while self._block < block:
            self._block += 1
            self._bad = self._states(self._block)
        self._lost = {}

    def _states(self, block: int) -> Mask:
        """Which edges are bad in each of the block's iterations."""
        drops = self._drops
        uniforms = self._uniforms(0, block)
        bad: Mask = np.zeros(uniforms.shape, bool)
        if not drops.to_bad:
            return bad
        for k, u in enumerate(uniforms):
            if k == block == 0:
                bad[k] = u < drops.share_bad
            else:
                before = bad[k - 1] if k else self._bad[-1]
                bad[k] = np.where(before, u >= drops.to_good, u < drops.to_bad)
        return bad

    def _uniforms(self, stream: int, block: int) -> npt.NDArray[np.float64]:
        rng = np.random.default_rng([self._drops.seed, DROPS_STREAM, stream, self._node, block])
        return rng.random((BLOCK, len(self._senders)))
