"""Who sends to whom.

A graph has nodes 0 … n−1 and *arcs*: the arc (i, j) means that i sends to j. An undirected graph
has both arcs of every link. The arcs are kept once, sorted, in one read-only array; the two
adjacencies (who hears whom, who is heard by whom) are compressed rows derived from it, so that
10⁵ nodes cost a few arrays and no Python object each.

Invariant: no self-loops (every node keeps its own value anyway), no double arcs, and an
undirected graph's arcs are closed under reversal. The constructor brings arcs into this form or
refuses them, so no other graph exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.graphs import sparse
from p2pdo.graphs.keys import distinct
from p2pdo.types import Array

MANY = 10_000  # nodes; from here on SciPy, where it is installed, searches the graph


class Adjacency(NamedTuple):
    """Compressed rows: node i's neighbours are `indices[indptr[i]:indptr[i + 1]]`, sorted."""

    indptr: Array
    indices: Array

    def of(self, i: int) -> tuple[int, ...]:
        return tuple(self.indices[self.indptr[i] : self.indptr[i + 1]].tolist())


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes 0 … n−1 and arcs.

    Attributes:
        n: the number of nodes.
        directed: whether an arc may stand without its reverse.
        edges: the arcs, shape (m, 2), sorted; (i, j) means that i sends to j. An undirected
            graph has both directions of every link here, and each link once in `links`.
    """

    n: int
    directed: bool
    edges: Array

    def __post_init__(self) -> None:
        require_nodes(self.n)
        object.__setattr__(self, "edges", _canonical(self.n, self.directed, self.edges))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        same_kind = (self.n, self.directed) == (other.n, other.directed)
        return same_kind and np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash((self.n, self.directed, self.edges.tobytes()))

    @cached_property
    def links(self) -> Array:
        """Each linked pair of nodes once, as i < j, sorted, whichever of the two sends."""
        senders, receivers = self.edges.T
        if not self.directed:
            once: Array = self.edges[senders < receivers]
            return once
        return _unique_arcs(self.n, np.minimum(senders, receivers), np.maximum(senders, receivers))

    @cached_property
    def senders(self) -> Adjacency:
        """Row i: the nodes that send to i."""
        if not self.directed:
            return self.receivers
        senders, receivers = self.edges.T
        keys = np.sort(receivers * self.n + senders)
        return Adjacency(row_pointers(self.n, receivers), keys % self.n)

    @cached_property
    def receivers(self) -> Adjacency:
        """Row i: the nodes that i sends to."""
        return Adjacency(row_pointers(self.n, self.edges[:, 0]), self.edges[:, 1].copy())

    @property
    def in_degree(self) -> Array:
        """How many nodes send to each node, shape (n,)."""
        return np.diff(self.senders.indptr)

    @property
    def out_degree(self) -> Array:
        """How many nodes each node sends to, shape (n,)."""
        return np.diff(self.receivers.indptr)

    def in_neighbors(self, i: int) -> tuple[int, ...]:
        """The nodes that send to i, sorted."""
        return self.senders.of(i)

    def out_neighbors(self, i: int) -> tuple[int, ...]:
        """The nodes that i sends to, sorted."""
        return self.receivers.of(i)

    def missing_path(self) -> tuple[int, int] | None:
        """A pair (i, j) such that nothing from i ever reaches j; None in a connected graph.

        Strongly connected means that node 0 reaches all and all reach node 0: two searches.
        """
        unreached = _unreached(self.n, self.receivers)
        if unreached is not None:
            return 0, unreached
        if not self.directed:
            return None
        unheard = _unreached(self.n, self.senders)
        return None if unheard is None else (unheard, 0)

    def is_connected(self) -> bool:
        """Whether a path leads from every node to every other; along the arcs' directions."""
        return self.missing_path() is None


def from_edges(n: int, edges: Iterable[Any] | Array, directed: bool = False) -> Graph:
    """A graph from (i, j) pairs, "i sends to j"; undirected, one direction of each is enough.

    Pairs that say the same twice are one. Node numbers start at 0.
    """
    return Graph(n, directed, _pairs(edges))


def from_matrix(matrix: Any) -> Graph:
    """The graph that a square matrix spells: j sends to i where entry (i, j) is not zero.

    The diagonal says nothing. The graph is undirected if the pattern is symmetric.
    """
    pattern = square(matrix) != 0
    receivers, senders = np.nonzero(pattern & ~np.eye(len(pattern), dtype=bool))
    directed = not np.array_equal(pattern, pattern.T)
    return Graph(len(pattern), directed, np.stack([senders, receivers], axis=1))


def from_networkx(graph: Any) -> Graph:
    """A graph from networkx.

    Labels 0 … n−1 keep their number; other labels are numbered in the graph's own node order.
    """
    labels = list(graph.nodes())
    if set(labels) == set(range(len(labels))):
        labels = list(range(len(labels)))
    index = {label: i for i, label in enumerate(labels)}
    edges = [(index[u], index[v]) for u, v in graph.edges()]
    return from_edges(len(labels), edges, directed=graph.is_directed())


def require_nodes(n: int) -> None:
    if n < 1:
        raise ConfigError(f"a graph needs at least one node, got {n}", hint="--nodes 8")


MOST_LINKS = 50_000_000
"""With their weights these take some ten GB."""


def require_room(links: float, what: str) -> None:
    """Refuses a graph that would only fill the memory, before it is built."""
    if links > MOST_LINKS:
        raise ConfigError(
            f"{what} has {links:,.0f} links, too many for one machine",
            hint=f"at most {MOST_LINKS:,}: fewer nodes, or a sparser topology such as exponential",
        )


def square(matrix: Any) -> Array:
    """The matrix as float64, or why it cannot be one of a graph."""
    try:
        a = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(
            "the matrix is not a square table of numbers",
            hint="give one row per node, each with one number per node",
        ) from None
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.shape[0] == 0:  # noqa: PLR2004 - two axes
        shape = " by ".join(map(str, a.shape)) or "a single number"
        raise ConfigError(
            f"a matrix over nodes is square, got {shape}",
            hint="give one row per node, each with one number per node",
        )
    if not np.isfinite(a).all():
        i, j = np.argwhere(~np.isfinite(a))[0].tolist()
        raise ConfigError(
            f"entry [{i}][{j}] of the matrix is {a[i, j]}",
            hint="every entry must be a finite number; 0 where two nodes do not talk",
        )
    return a


def row_pointers(n: int, rows: Array) -> Array:
    """Where each row of sorted-by-row entries begins, shape (n + 1,)."""
    pointers = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=pointers[1:])
    return pointers


def _pairs(edges: Iterable[Any] | Array) -> Array:
    try:
        pairs = np.asarray(edges if isinstance(edges, np.ndarray) else list(edges))
    except (TypeError, ValueError):  # ragged, or no sequence at all
        pairs = np.zeros(1)
    if pairs.size == 0:
        return np.zeros((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":  # noqa: PLR2004
        raise ConfigError(
            "edges are not pairs of node numbers",
            hint="write each edge as [i, j] with whole numbers from 0: i sends to j",
        )
    return pairs.astype(np.int64)


def _canonical(n: int, directed: bool, edges: Array) -> Array:
    outside = np.flatnonzero(((edges < 0) | (edges >= n)).any(axis=1))
    if outside.size:
        i, j = edges[outside[0]].tolist()
        raise ConfigError(
            f"edge [{i}, {j}] names a node that does not exist: there are {n}, 0 to {n - 1}",
            hint="number the nodes from 0, or give more of them with --nodes",
        )
    loops = np.flatnonzero(edges[:, 0] == edges[:, 1])
    if loops.size:
        i = int(edges[loops[0], 0])
        raise ConfigError(
            f"edge [{i}, {i}] joins node {i} to itself",
            hint="leave it out: every node keeps its own value in any case",
        )
    senders, receivers = edges[:, 0], edges[:, 1]
    if not directed:
        senders, receivers = np.r_[senders, receivers], np.r_[receivers, senders]
    return _unique_arcs(n, senders, receivers)


def _unique_arcs(n: int, senders: Array, receivers: Array) -> Array:
    keys = distinct(senders.astype(np.int64) * n + receivers)
    arcs = np.stack(np.divmod(keys, n), axis=1)
    arcs.flags.writeable = False
    return arcs


def _unreached(n: int, adjacency: Adjacency) -> int | None:
    """The first node that a search from node 0 does not find."""
    seen = _search_in_bulk(n, adjacency) if n >= MANY else None
    if seen is None:
        seen = _search(n, adjacency)
    missing = seen.find(0)
    return None if missing < 0 else missing


def _search_in_bulk(n: int, adjacency: Adjacency) -> bytearray | None:
    """What SciPy finds from node 0; None where it is not installed."""
    found = sparse.reached(adjacency.indptr, adjacency.indices, n)
    if found is None:
        return None
    seen = np.zeros(n, np.uint8)
    seen[found] = 1
    return bytearray(seen.tobytes())


def _search(n: int, adjacency: Adjacency) -> bytearray:
    pointers, neighbors = adjacency.indptr.tolist(), adjacency.indices.tolist()
    seen = bytearray(n)
    seen[0] = 1
    stack = [0]
    while stack:
        i = stack.pop()
        for j in neighbors[pointers[i] : pointers[i + 1]]:
            if not seen[j]:
                seen[j] = 1
                stack.append(j)
    return seen
