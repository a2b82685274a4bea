"""Edges that come and go: in each round some are up, each a two-state Markov chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph
from p2pdo.simulation.activation.tick import ACTIVATION_STREAM, Tick, pairs_of, using


@dataclass(frozen=True)
class Edges:
    """An edge that is up fails with one probability a round, and comes back with the other.

    Round k is at time k·every. An edge begins in the stationary distribution. Where
    fails + recovers = 1, rounds are independent.
    """

    by_edges: ClassVar[bool] = True

    fails: float
    recovers: float
    every: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.fails <= 1 and 0 < self.recovers <= 1):
            raise ConfigError(
                f"fails must lie in [0, 1] and recovers in (0, 1], "
                f"got {self.fails} and {self.recovers}",
                hint="for example Edges(fails=0.1, recovers=0.5)",
            )

    def ticks(self, graph: Graph, seed: int) -> Iterator[Tick]:
        pairs = pairs_of(graph)
        rng = np.random.default_rng([seed, ACTIVATION_STREAM])
        is_up = rng.random(len(pairs)) < self.recovers / (self.fails + self.recovers)
        for k in count():
            arcs = (a for p, up in zip(pairs, is_up, strict=True) if up for a in p)
            yield using(k * self.every, tuple(arcs))
            u = rng.random(len(pairs))
            is_up = np.where(is_up, u >= self.fails, u < self.recovers)
