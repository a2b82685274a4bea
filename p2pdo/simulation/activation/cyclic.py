"""Turns: the nodes in order, some at once, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph
from p2pdo.simulation.activation.tick import Tick, waking


@dataclass(frozen=True)
class Nodes:
    """Tick k, at time k·every, wakes the `at_once` nodes from k·at_once on, modulo their number."""

    by_edges: ClassVar[bool] = False

    at_once: int = 1
    every: float = 1.0

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ConfigError(
                f"at_once must be one or more, got {self.at_once}", hint="for example Nodes(1)"
            )

    def ticks(self, graph: Graph, seed: int = 0) -> Iterator[Tick]:  # noqa: ARG002 - nothing is drawn
        some = min(self.at_once, graph.n)
        for k in count():
            awake = sorted((k * some + i) % graph.n for i in range(some))
            yield waking(graph, k * self.every, tuple(awake))
