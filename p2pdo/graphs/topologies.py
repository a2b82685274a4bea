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
from p2pdo.graphs.geometric import geometric
from p2pdo.graphs.graph import (
    Graph,
    from_edges,
    from_matrix,
    from_networkx,
    require_nodes,
    require_room,
)
from p2pdo.graphs.random_graphs import erdos_renyi, k_regular, small_world
from p2pdo.graphs.schedules import one_peer_exponential
from p2pdo.graphs.weights import Weights
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
    require_room(n * (n - 1) / 2, f"a complete graph of {n:,} nodes")
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


def barbell(n: int) -> Graph:
    """Two complete halves of ⌈n/2⌉ and ⌊n/2⌋ nodes, and one link between their nearest numbers."""
    require_nodes(n)
    half = (n + 1) // 2
    require_room(half * (half - 1), f"a barbell of {n:,} nodes")
    halves = [np.triu_indices(half, 1), np.triu_indices(n - half, 1)]
    (low, high), (low_other, high_other) = halves
    bridge = (np.array([half - 1]), np.array([min(half, n - 1)]))
    return _joined(n, [(low, high), (low_other + half, high_other + half), bridge])


def tree(n: int, k: int = 2) -> Graph:
    """A complete k-ary tree: the parent of node i is ⌊(i − 1)/k⌋."""
    i = _nodes(n)
    if k < 1:
        raise ConfigError(f"a node of a tree has one child or more, got {k}", hint="tree:2")
    return _joined(n, [(i[1:], (i[1:] - 1) // k)])


def hierarchical(n: int, k: int = 4) -> Graph:
    """Groups of k consecutive nodes, complete inside; their first nodes are grouped alike.

    So on up to one group: hosts, racks, sites. A node is in at most ⌈log_k n⌉ groups.
    """
    i = _nodes(n)
    if k < 2:  # noqa: PLR2004 - groups of one never become one group
        raise ConfigError(f"a group has two nodes or more, got {k}", hint="hierarchical:4")
    require_room(n * (min(k, n) - 1) / 2, f"a hierarchical graph of {n:,} nodes")
    links, heads = [], i
    while len(heads) > 1:
        place = np.arange(len(heads))
        for hop in range(1, k):
            here = place[:-hop]
            together = here[here // k == (here + hop) // k]
            links.append((heads[together], heads[together + hop]))
        heads = heads[::k]
    return _joined(n, links)


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
        weights: those that belong to it, for n nodes; None where any may be chosen.
    """

    build: Callable[[int, np.random.Generator, str | None], Graph]
    about: str
    example: str | None = None
    weights: Callable[[int], Weights] | None = None


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


def _drawn(
    build: Callable[..., Graph], about: str, number: Callable[[str], float], what: str, example: str
) -> Topology:
    """A line of one that is built with (n, rng) and perhaps a number."""

    def build_with(n: int, rng: np.random.Generator, text: str | None) -> Graph:
        if text is None:
            return build(n, rng)
        try:
            value = number(text)
        except ValueError:
            kind = "number" if number is _real else "whole number"
            raise ConfigError(f"{what} must be a {kind}, got '{text}'", hint=example) from None
        return build(n, rng, value)

    return Topology(build_with, about, example.partition(":")[2])


def _real(text: str) -> float:
    return float(text)


def _sized(build: Callable[..., Graph], about: str, what: str, example: str) -> Topology:
    """The same of one that needs no generator, and perhaps a whole number."""
    return _drawn(lambda n, _rng, *size: build(n, *size), about, int, what, example)


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
    "barbell": _fixed(barbell, "two complete halves and one link between them"),
    "tree": _sized(tree, "node i's parent is (i - 1) // k", "the number of children", "tree:2"),
    "hierarchical": _sized(
        hierarchical,
        "complete groups of k, complete groups of their heads, and so on",
        "the size of a group",
        "hierarchical:4",
    ),
    "one-peer-exponential": Topology(
        lambda n, _rng, _text: exponential(n),
        "exponential, over one of its links in each iteration; brings its weights",
        weights=one_peer_exponential,
    ),
    "erdos-renyi": _drawn(
        erdos_renyi,
        "every edge with one probability",
        _real,
        "the probability of an edge",
        "erdos-renyi:0.4",
    ),
    "k-regular": _drawn(
        k_regular, "random, k neighbours each", int, "the number of neighbours", "k-regular:4"
    ),
    "small-world": _drawn(
        small_world,
        "a ring with two neighbours each way and random shortcuts",
        _real,
        "the probability of a shortcut",
        "small-world:0.1",
    ),
    "geometric": _drawn(
        geometric, "random points, linked where they are near", _real, "the radius", "geometric:0.3"
    ),
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
    "barbell",
    "by_name",
    "complete",
    "directed_ring",
    "erdos_renyi",
    "exponential",
    "from_edges",
    "from_matrix",
    "from_networkx",
    "geometric",
    "grid",
    "hierarchical",
    "hypercube",
    "k_regular",
    "path",
    "ring",
    "sides",
    "small_world",
    "star",
    "torus",
    "tree",
]
