"""Graphs of places: nodes at random points of the unit square, linked where they are near.

Points are put into cells as wide as the radius, so that only points of one cell and of its
neighbours are compared, all cells at once: O(n + links).
"""

from __future__ import annotations

import math

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, require_nodes, require_room
from p2pdo.graphs.random_graphs import connected_draw
from p2pdo.types import Array

_AHEAD = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))  # a cell, and half of its neighbours


def geometric(n: int, rng: np.random.Generator, radius: float | None = None) -> Graph:
    """Random points of the unit square, linked at a distance of at most `radius`; connected.

    The default radius √(2 ln n / (π n)) is √2 times the threshold of connectedness (Gupta & Kumar
    1998).
    """
    require_nodes(n)
    enough = math.sqrt(2 * math.log(max(n, 2)) / (math.pi * n))
    radius = enough if radius is None else radius
    if not (math.isfinite(radius) and radius > 0):
        raise ConfigError(f"the radius must be positive, got {radius}", hint="geometric:0.3")

    around = min(1.0, math.pi * radius**2)  # the part of all nodes that one is near to, at most
    require_room(around * n * (n - 1) / 2, f"a geometric graph of {n:,} nodes")

    def draw() -> Graph:
        return Graph(n, directed=False, edges=near(rng.random((n, 2)), radius))

    return connected_draw(
        draw,
        f"a geometric graph of {n} nodes with radius {radius:g}",
        f"a larger radius: geometric:{1.5 * enough:.2g}",
    )


def near(points: Array, radius: float) -> Array:
    """The pairs of points of the unit square whose distance is at most `radius`, shape (m, 2)."""
    side = min(radius, 1.0)
    width = math.ceil(1 / side) + 2  # a rim of empty cells: no neighbour is across an edge
    cells = (points // side).astype(np.int64) + 1
    cell = cells[:, 0] * width + cells[:, 1]
    order = np.argsort(cell, kind="stable")
    held = np.searchsorted(cell[order], np.arange(width * width + 1))
    pairs = []
    for down, right in _AHEAD:
        others = cell + down * width + right
        first, count = held[others], held[others + 1] - held[others]
        i = np.repeat(np.arange(len(points)), count)
        within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
        j = order[np.repeat(first, count) + within]
        is_near = ((points[i] - points[j]) ** 2).sum(axis=1) <= radius**2
        is_new = i < j if (down, right) == (0, 0) else np.ones(len(i), bool)
        pairs.append(np.stack([i, j], axis=1)[is_near & is_new])
    return np.concatenate(pairs)
