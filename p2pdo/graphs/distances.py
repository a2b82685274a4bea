"""How many hops a network is wide."""

from __future__ import annotations

from p2pdo.graphs.graph import Adjacency, Graph

EXACT = 256
"""Nodes up to which all pairs are looked at."""


def hops(graph: Graph) -> int:
    """The diameter of a connected graph; above `EXACT` nodes a bound at most twice as large.

    The bound is the way from the furthest node to node 0 and on to the node furthest from it.
    """
    if graph.n <= EXACT:
        return max(_furthest(graph.n, graph.receivers, i) for i in range(graph.n))
    there = _furthest(graph.n, graph.senders, 0)
    return there + _furthest(graph.n, graph.receivers, 0) if graph.directed else 2 * there


def _furthest(n: int, adjacency: Adjacency, start: int) -> int:
    """The number of hops from `start` to the node furthest away."""
    pointers, neighbors = adjacency.indptr.tolist(), adjacency.indices.tolist()
    seen = bytearray(n)
    seen[start] = 1
    ring, far = [start], -1
    while ring:
        far += 1
        following = []
        for i in ring:
            for j in neighbors[pointers[i] : pointers[i + 1]]:
                if not seen[j]:
                    seen[j] = 1
                    following.append(j)
        ring = following
    return far
