"""Edge arrays: what a step keeps and sends for each of its edges, of one node or of all at once.

A row of an edge array is one edge between a node and a neighbour of an undirected graph:

    edges = edges_of(here)
    z = edges.each(x)                       # x on every edge
    total = edges.total(z)                  # Σⱼ zᵢⱼ
    theirs = yield from edges.swap(m)       # in the row of mᵢⱼ what came, mⱼᵢ
    theirs = yield from edges.hear(x)       # in the row of zᵢⱼ what came, xⱼ
    edges.degree                            # dᵢ

At a node the rows are its neighbours, in node order, and `degree` is a number. In a stacked step,
one for all nodes, the rows are the edges of node 0, then those of node 1 and so on, and `degree`
is a column of shape (N, 1). A step that is written with these is written for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from p2pdo.effects import Exchange, ExchangeEach, Here, Step
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.graphs import sparse
from p2pdo.graphs.graph import Graph
from p2pdo.types import Array


class Came(NamedTuple):
    """What came, row by row, in an array of the receiver's own.

    The rows named in `missing` are zero because nothing came.
    """

    rows: Array
    missing: Sequence[int] = ()


class Edges(ABC):
    """The edges of one node or of all; see the module's docstring."""

    @property
    @abstractmethod
    def degree(self) -> Any:
        """How many edges a node has: a number, or a column for all nodes."""

    @abstractmethod
    def __bool__(self) -> bool:
        """Whether there is an edge."""

    @abstractmethod
    def each(self, x: Array) -> Array:
        """A node's x on each of its edges."""

    @abstractmethod
    def total(self, rows: Array) -> Array:
        """The sum over each node's edges."""

    @abstractmethod
    def swap_all(self, *arrays: Array) -> Step[tuple[Came, ...]]:
        """The same for several edge arrays in one exchange."""

    def swap(self, rows: Array) -> Step[Came]:
        """Sends each neighbour the row of its edge; in the same row comes what it sent."""
        (came,) = yield from self.swap_all(rows)
        return came

    @abstractmethod
    def hear(self, x: Array) -> Step[Came]:
        """Sends every neighbour x; in the row of its edge comes what it sent."""


def edges_of(here: Here) -> Edges:
    """Of the node that runs the step, or of all nodes where one step is run for all."""
    return here.edges() if isinstance(here, EveryNode) else _OfOne(here.in_neighbors)


@dataclass(frozen=True)
class _OfOne(Edges):
    neighbors: tuple[int, ...]

    @property
    def degree(self) -> int:
        return len(self.neighbors)

    def __bool__(self) -> bool:
        return bool(self.neighbors)

    def each(self, x: Array) -> Array:
        return np.repeat(x[None], len(self.neighbors), axis=0)

    def total(self, rows: Array) -> Array:
        return np.asarray(rows.sum(axis=0))

    def swap_all(self, *arrays: Array) -> Step[tuple[Came, ...]]:
        alone = len(arrays) == 1
        sent = arrays[0] if alone else zip(*arrays, strict=True)
        theirs = yield ExchangeEach(dict(zip(self.neighbors, sent, strict=True)))
        if alone:
            return (self._rows(theirs, arrays[0]),)
        each = ({j: value[k] for j, value in theirs.items()} for k in range(len(arrays)))
        return tuple(map(self._rows, each, arrays))

    def hear(self, x: Array) -> Step[Came]:
        theirs = yield Exchange(x)
        return self._rows(theirs, self.each(x))

    def _rows(self, theirs: Mapping[int, Array], like: Array) -> Came:
        rows, missing = np.zeros_like(like), []
        for k, j in enumerate(self.neighbors):
            if j in theirs:
                rows[k] = theirs[j]
            else:
                missing.append(k)
        return Came(rows, missing)


# ---- all nodes at once ----


class Carry(NamedTuple):
    """Asks for arrays with row `places[k]` of these as row k; of stacked steps alone."""

    arrays: tuple[Array, ...]
    places: Array


@dataclass(frozen=True, eq=False)
class AllEdges(Edges):
    """Of all nodes of an undirected graph, node by node.

    Raises:
        ConfigError: the graph is directed, or some node has no edge where others do.
    """

    graph: Graph
    dtype: np.dtype[Any]  # of what the edges carry: a degree of another would widen it

    def __post_init__(self) -> None:
        if self.graph.directed:
            raise ConfigError("a directed graph has no edge arrays", hint="use --on dense")
        alone = np.flatnonzero(self.graph.out_degree == 0)
        if len(alone) and len(self.graph.edges):
            raise ConfigError(
                f"node {alone[0]} has no neighbour, and a stacked step is one for all nodes",
                hint="use --on dense",
            )

    @cached_property
    def degree(self) -> Array:
        return self.graph.out_degree[:, None].astype(self.dtype)

    def __bool__(self) -> bool:
        return len(self.graph.edges) > 0

    def each(self, x: Array) -> Array:
        return x[self.graph.edges[:, 0]]

    def total(self, rows: Array) -> Array:
        if not self:
            return np.zeros((self.graph.n, *rows.shape[1:]), rows.dtype)
        if sparse.rounds_products() and rows.dtype in sparse.FLOATS:
            flat: Array = self._sums(rows.dtype) @ rows.reshape(len(rows), -1)
            return flat.reshape(-1, *rows.shape[1:])
        return np.add.reduceat(rows, self.graph.receivers.indptr[:-1], axis=0)

    def swap_all(self, *arrays: Array) -> Step[tuple[Came, ...]]:
        return self._carry(arrays, self._reverse)

    def hear(self, x: Array) -> Step[Came]:
        (came,) = yield from self._carry((x,), self.graph.edges[:, 1])
        return came

    def _carry(
        self, arrays: tuple[Array, ...], places: Array
    ) -> Generator[Any, Any, tuple[Came, ...]]:
        carried = yield Carry(arrays, places)
        return tuple(map(Came, carried))

    @cached_property
    def _reverse(self) -> Array:
        """The row of (j, i) at that of (i, j): edges are sorted, and closed under reversal."""
        owner, neighbor = self.graph.edges.T
        return np.lexsort((owner, neighbor))

    def _sums(self, dtype: np.dtype[Any]) -> Any:
        if dtype not in self._matrices:
            m = len(self.graph.edges)
            parts = (np.ones(m, dtype), np.arange(m), self.graph.receivers.indptr)
            self._matrices[dtype] = sparse.matrix(parts, self.graph.n, m)
        return self._matrices[dtype]

    @cached_property
    def _matrices(self) -> dict[np.dtype[Any], Any]:
        return {}


@dataclass(frozen=True)
class EveryNode(Here):
    """Here for all nodes at once: there is no one node whose random numbers could be drawn."""

    edges: Callable[[], Edges] = field(kw_only=True)

    @property
    def rng(self) -> np.random.Generator:
        raise WorkloadFailed(
            "a stacked step drew random numbers of one node",
            hint="run it with --on dense, or draw from here.common_rng",
            iteration=self.iteration,
        )
