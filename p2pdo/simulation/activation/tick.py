"""A tick: one moment at which something is active."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from p2pdo.graphs.graph import Graph

ACTIVATION_STREAM = 10  # no other generator is made from (seed, 10)


class Tick(NamedTuple):
    """One moment.

    Attributes:
        time: in the schedule's unit; it never falls.
        nodes: who is awake, in node order.
        edges: the arcs (sender, receiver) that are used, both ways where the graph is undirected;
            a schedule of nodes has those among the awake ones' own: all that leave them.
    """

    time: float
    nodes: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]


class Schedule(Protocol):
    """Who is active when.

    Attributes:
        by_edges: whether its ticks say which edges are up, and not only who is awake.
    """

    @property
    def by_edges(self) -> bool: ...
    def ticks(self, graph: Graph, seed: int) -> Iterator[Tick]: ...


def waking(graph: Graph, time: float, nodes: tuple[int, ...]) -> Tick:
    """These are awake, and send to all whom they tell."""
    return Tick(time, nodes, tuple((i, j) for i in nodes for j in graph.out_neighbors(i)))


def using(time: float, edges: tuple[tuple[int, int], ...]) -> Tick:
    """These are used, and their ends are awake."""
    return Tick(time, tuple(sorted({end for edge in edges for end in edge})), edges)


def pairs_of(graph: Graph) -> list[tuple[tuple[int, int], ...]]:
    """What can be used together: both arcs of an undirected edge, or one arc; sorted."""
    arcs = sorted((int(i), int(j)) for i, j in graph.edges)
    if graph.directed:
        return [(arc,) for arc in arcs]
    return [((i, j), (j, i)) for i, j in arcs if i < j]
