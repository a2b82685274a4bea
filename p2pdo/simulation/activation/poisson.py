"""Poisson clocks: each rings by itself, independently of all others (Boyd et al. 2006)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from p2pdo.graphs.graph import Graph
from p2pdo.simulation.activation.tick import ACTIVATION_STREAM, Tick, pairs_of, using, waking


@dataclass(frozen=True)
class Nodes:
    """Each node wakes `rate` times in a unit of time on average; `rates` names others."""

    by_edges: ClassVar[bool] = False

    rate: float = 1.0
    rates: Mapping[int, float] = field(default_factory=dict)

    def ticks(self, graph: Graph, seed: int) -> Iterator[Tick]:
        rates = [self.rates.get(i, self.rate) for i in range(graph.n)]
        for time, node in _ringing(rates, seed):
            yield waking(graph, time, (node,))


@dataclass(frozen=True)
class Edges:
    """Each edge is used `rate` times in a unit of time on average, alone."""

    by_edges: ClassVar[bool] = True

    rate: float = 1.0

    def ticks(self, graph: Graph, seed: int) -> Iterator[Tick]:
        pairs = pairs_of(graph)
        for time, k in _ringing([self.rate] * len(pairs), seed):
            yield using(time, pairs[k])


def _ringing(rates: list[float], seed: int) -> Iterator[tuple[float, int]]:
    """(time, which clock), in order; each clock draws from a generator of its own."""
    rngs = [np.random.default_rng([seed, ACTIVATION_STREAM, k]) for k in range(len(rates))]
    due = [(rngs[k].exponential(1 / rate), k) for k, rate in enumerate(rates) if rate > 0]
    heapq.heapify(due)
    while due:
        time, k = due[0]
        yield float(time), k
        heapq.heapreplace(due, (time + rngs[k].exponential(1 / rates[k]), k))
