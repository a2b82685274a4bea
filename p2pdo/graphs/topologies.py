"""Topologies by name.

Every builder works for one node and for two, or refuses with the number that would do: links
that would join a node to itself are left out and coinciding ones are one, so a ring of two is a
single edge. All are vectorised; 10⁵ nodes take well under a second.

A name may carry one parameter behind a colon, "erdos-renyi:0.4". `TOPOLOGIES` is the whole list;
to add a topology, write its builder and its line there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.graphs.graph import Graph, from_edges, from_matrix, from_networkx, require_nodes
from p2pdo.graphs.random_graphs import erdos_renyi, k_regular
from p2pdo.types import Array


def ring(n: int) -> Graph:
    """A closed chain: i — i+1."""
    i = _nodes(n)
    return _joined(n, [(i, (i + 1) % n)])


def directed_ring(n: int) -> Graph:
    """A closed chain one way round, i → i+1: each sends to one node and hears one other."""
    i = _nodes(n)
    return _joined(n, [(i, (i + 1) % n)], directed=True)


def path(n: int) -> Graph:
    """An open chain: i — i+1."""
    i = _nodes(n)
    return _joined(n, [(i[:-1], i[1:])])


def star(n: int) -> Graph:
    """Node 0 — every other."""
    i = _nodes(n)
    return _joined(n, [(np.zeros_like(i), i)])


def complete(n: int) -> Graph:
    """Everybody — everybody."""
    require_nodes(n)
    return _joined(n, [np.triu_indices(n, 1)])


def grid(n: int) -> Graph:
    """A rectangle of rows × columns = n, as square as n's divisors allow; a path if n is prime.

    Nodes are numbered row by row.
    """
    i = _nodes(n).reshape(sides(n))
    return _joined(n, [(i[:, :-1], i[:, 1:]), (i[:-1], i[1:])])


def torus(n: int) -> Graph:
    """A grid whose opposite sides are joined; a ring if n is prime."""
    i = _nodes(n).reshape(sides(n))
    return _joined(n, [(i, np.roll(i, -1, axis)) for axis in (0, 1)])


def hypercube(n: int) -> Graph:
    """Links i and i with one binary digit flipped; n must be a power of two."""
    i = _nodes(n)
    if n & (n - 1):
        below = 1 << (n.bit_length() - 1)
        raise ConfigError(
            f"a hypercube has 1, 2, 4, 8, … nodes, got {n}",
            hint=f"--nodes {below} or --nodes {2 * below}, or the topology exponential",
        )
    return _joined(n, [(i, i ^ (1 << k)) for k in range(n.bit_length() - 1)])


def exponential(n: int) -> Graph:
    """Static exponential, directed: i → i + 2ᵏ mod n for every 2ᵏ < n, ⌈log₂ n⌉ neighbours."""
    i = _nodes(n)
    hops = [1 << k for k in range((n - 1).bit_length())]
    return _joined(n, [(i, (i + hop) % n) for hop in hops], directed=True)


def sides(n: int) -> tuple[int, int]:
    """(rows, columns) of the squarest rectangle of n nodes, rows ≤ columns."""
    rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    return rows, n // rows


@dataclass(frozen=True, slots=True)
class Topology:
    """One line of the table.

    Attributes:
        build: called with (n, rng, the text behind the colon or None).
        about: what it is, in a few words.
        example: a parameter that may follow the colon; None if none may.
    """

    build: Callable[[int, np.random.Generator, str | None], Graph]
    about: str
    example: str | None = None


def by_name(name: str, n: int, rng: np.random.Generator) -> Graph:
    """The topology of that name, perhaps with a parameter behind a colon, on n nodes."""
    key, colon, text = name.partition(":")
    if key not in TOPOLOGIES:
        raise ConfigError(f"unknown topology '{key}'", hint=did_you_mean(key, list(TOPOLOGIES)))
    topology = TOPOLOGIES[key]
    if colon and topology.example is None:
        raise ConfigError(f"topology '{key}' takes no parameter, got '{text}'", hint=f"write {key}")
    return topology.build(n, rng, text if colon else None)


def _fixed(build: Callable[[int], Graph], about: str) -> Topology:
    return Topology(lambda n, _rng, _text: build(n), about)


def _erdos_renyi(n: int, rng: np.random.Generator, text: str | None) -> Graph:
    if text is None:
        return erdos_renyi(n, rng)
    try:
        p = float(text)
    except ValueError:
        raise ConfigError(
            f"the probability of an edge must be a number, got '{text}'", hint="erdos-renyi:0.4"
        ) from None
    return erdos_renyi(n, rng, p)


def _k_regular(n: int, rng: np.random.Generator, text: str | None) -> Graph:
    if text is None:
        return k_regular(n, rng)
    try:
        k = int(text)
    except ValueError:
        raise ConfigError(
            f"the number of neighbours must be a whole number, got '{text}'", hint="k-regular:4"
        ) from None
    return k_regular(n, rng, k)


TOPOLOGIES: Mapping[str, Topology] = {
    "ring": _fixed(ring, "a closed chain"),
    "directed-ring": _fixed(directed_ring, "a closed chain, one way round"),
    "path": _fixed(path, "an open chain"),
    "star": _fixed(star, "node 0 and every other"),
    "complete": _fixed(complete, "everybody and everybody"),
    "grid": _fixed(grid, "a rectangle, as square as the number of nodes allows"),
    "torus": _fixed(torus, "a grid with opposite sides joined"),
    "hypercube": _fixed(hypercube, "one binary digit apart; 2, 4, 8, … nodes"),
    "exponential": _fixed(exponential, "directed, 1, 2, 4, … nodes ahead"),
    "erdos-renyi": Topology(_erdos_renyi, "every edge with one probability", example="0.4"),
    "k-regular": Topology(_k_regular, "random, k neighbours each", example="4"),
}


def _nodes(n: int) -> Array:
    require_nodes(n)
    return np.arange(n)


def _joined(n: int, links: list[tuple[Array, Array]], directed: bool = False) -> Graph:
    """The graph of these (senders, receivers), less those that join a node to itself."""
    arcs = [np.stack([a.ravel(), b.ravel()], axis=1) for a, b in links]
    edges = np.concatenate([np.zeros((0, 2), np.int64), *arcs])
    return Graph(n, directed, edges[edges[:, 0] != edges[:, 1]])


__all__ = [
    "TOPOLOGIES",
    "Graph",
    "Topology",
    "by_name",
    "complete",
    "directed_ring",
    "erdos_renyi",
    "exponential",
    "from_edges",
    "from_matrix",
    "from_networkx",
    "grid",
    "hypercube",
    "k_regular",
    "path",
    "ring",
    "sides",
    "star",
    "torus",
]
