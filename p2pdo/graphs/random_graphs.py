"""Random graphs, drawn until they are connected.

The generator is an argument: equal generators give equal graphs. A draw that falls apart is
thrown away and repeated with the same generator, a bounded number of times; parameters that
almost never give a connected graph are refused with the figure that would.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, require_nodes, require_room
from p2pdo.graphs.keys import among
from p2pdo.types import Array

TRIES = 100
STALLED_ROUNDS = 20  # rounds of pairing without a new edge before a draw starts over


def erdos_renyi(n: int, rng: np.random.Generator, p: float | None = None) -> Graph:
    """G(n, p), conditioned on being connected: every pair is linked with probability p.

    The default p = min(1, 2 ln n / n) is twice the threshold of connectedness. Drawing costs
    O(n + edges): the number of links is binomial, and given it all sets of links are equally
    likely.
    """
    require_nodes(n)
    p = min(1.0, 2 * math.log(n) / n) if p is None else p
    if not 0 <= p <= 1:
        raise ConfigError(
            f"the probability of an edge must lie in [0, 1], got {p}", hint="erdos-renyi:0.4"
        )
    pairs = n * (n - 1) // 2
    require_room(pairs * p, f"G({n:,}, {p:g})")

    def draw() -> Graph:
        chosen = rng.choice(pairs, rng.binomial(pairs, p), replace=False)
        return Graph(n, directed=False, edges=_pair_of(chosen))

    enough = min(1.0, 2 * math.log(max(n, 2)) / max(n, 2))
    return connected_draw(
        draw, f"G({n}, {p:g})", f"raise the probability: erdos-renyi:{enough:.2g}"
    )


def k_regular(n: int, rng: np.random.Generator, k: int | None = None) -> Graph:
    """A random connected graph in which every node has k neighbours; by default min(4, n − 1).

    k = 2 is a ring through a random order of the nodes, the only connected one. Otherwise edge
    stubs are shuffled and paired, pairs that would be a loop or a double edge are paired again
    (Steger & Wormald 1999); for dense k the complement is drawn.
    """
    require_nodes(n)
    k = min(4, n - 1) if k is None else k
    _check_degree(n, k)
    require_room(n * k / 2, f"a {k}-regular graph of {n:,} nodes")
    if k == 2:  # noqa: PLR2004 - see above
        order = rng.permutation(n)
        return Graph(n, directed=False, edges=np.stack([order, np.roll(order, -1)], axis=1))
    if 2 * k >= n:
        return Graph(n, directed=False, edges=_complement(n, _regular_links(n, n - 1 - k, rng)))

    def draw() -> Graph:
        return Graph(n, directed=False, edges=_regular_links(n, k, rng))

    return connected_draw(draw, f"a {k}-regular graph of {n} nodes", "choose a larger k")


def small_world(n: int, rng: np.random.Generator, p: float = 0.1) -> Graph:
    """A ring with links to the next node and the one after it, and random shortcuts.

    Each of these links brings a shortcut between two random nodes with probability p (Newman &
    Watts 1999), so the graph is connected whatever is drawn.
    """
    require_nodes(n)
    if not 0 <= p <= 1:
        raise ConfigError(
            f"the probability of a shortcut must lie in [0, 1], got {p}", hint="small-world:0.1"
        )
    i = np.arange(n)
    lattice = np.concatenate([np.stack([i, (i + hop) % n], axis=1) for hop in (1, 2)])
    shortcuts = rng.integers(0, n, (rng.binomial(len(lattice), p), 2))
    edges = np.concatenate([lattice, shortcuts])
    return Graph(n, directed=False, edges=edges[edges[:, 0] != edges[:, 1]])


def _check_degree(n: int, k: int) -> None:
    if not 0 <= k < n:
        raise ConfigError(
            f"a node among {n} cannot have {k} neighbours", hint=f"choose k from 0 to {n - 1}"
        )
    if n * k % 2:
        raise ConfigError(
            f"no {k}-regular graph has {n} nodes: n times k must be even",
            hint=f"k-regular:{k + 1}, or one node more or fewer",
        )
    if n > k + 1 and k < 2:  # noqa: PLR2004 - a ring is the sparsest connected one
        raise ConfigError(
            f"a {k}-regular graph of {n} nodes is never connected", hint="k-regular:2 or more"
        )


def connected_draw(draw: Callable[[], Graph], what: str, hint: str) -> Graph:
    """The first drawn graph that is connected.

    Raises:
        ConfigError: none of `TRIES` was; `hint` says what to ask for instead.
    """
    for _ in range(TRIES):
        graph = draw()
        if graph.is_connected():
            return graph
    raise ConfigError(f"{what} was not connected in any of {TRIES} draws", hint=hint)


def _pair_of(index: Array) -> Array:
    """The index-th of the pairs (0,1) (0,2) (1,2) (0,3) …: j(j−1)/2 pairs come before (0, j)."""
    j = ((1 + np.sqrt(8.0 * index + 1)) / 2).astype(np.int64)
    j -= j * (j - 1) // 2 > index  # the root may have been rounded up,
    j += j * (j + 1) // 2 <= index  # or down
    return np.stack([index - j * (j - 1) // 2, j], axis=1)


def _regular_links(n: int, k: int, rng: np.random.Generator) -> Array:
    for _ in range(TRIES):
        links = _pair_stubs(n, k, rng)
        if links is not None:
            return links
    raise ConfigError(
        f"no {k}-regular graph of {n} nodes was found in {TRIES} draws", hint="try another --seed"
    )


def _pair_stubs(n: int, k: int, rng: np.random.Generator) -> Array | None:
    """Links of a simple k-regular graph, or None if the last stubs do not fit together."""
    stubs = np.repeat(np.arange(n), k)
    taken = np.zeros(0, np.int64)
    stalled = 0
    while stubs.size and stalled < STALLED_ROUNDS:
        rng.shuffle(stubs)
        low, high = np.sort(stubs.reshape(-1, 2), axis=1).T
        keys = low * n + high
        first = np.zeros(len(keys), bool)
        first[np.unique(keys, return_index=True)[1]] = True
        good = first & (low != high) & ~among(keys, taken)
        taken = np.sort(np.r_[taken, keys[good]])
        stubs = np.r_[low[~good], high[~good]]
        stalled = 0 if good.any() else stalled + 1
    return None if stubs.size else np.stack(np.divmod(taken, n), axis=1)


def _complement(n: int, links: Array) -> Array:
    low, high = np.triu_indices(n, 1)
    keys = low * n + high
    absent = ~among(keys, np.sort(links.min(axis=1) * n + links.max(axis=1)))
    return np.stack([low[absent], high[absent]], axis=1)
