"""Mixing weights: how much a node takes from each value it hears, its own included.

Row i of W holds the weights wᵢⱼ over i itself and the nodes that send to i. Rows are kept sparse
and in node order, the diagonal always present, because that order is the order in which a mixed
value is summed everywhere: `Weights.apply` adds in it too, so a stacked executor gets the bits
that `Row.weighted_sum` gives a node of its own.

What a method needs of W (which sums are one, symmetry) is a fact about numbers, computed by
`stochastic` and `asymmetry`; `check_weights` turns what is missing into a refusal with a remedy.
The tolerance is 1e-10 times the size of what was summed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from p2pdo.dtypes import is_half, summed_in
from p2pdo.effects import Row
from p2pdo.errors import ConfigError, LocalProtocolError, did_you_mean
from p2pdo.graphs import sparse
from p2pdo.graphs.graph import Graph, row_pointers, square
from p2pdo.graphs.keys import among
from p2pdo.types import Array

TOLERANCE = 1e-10
LONG_ROW = 64  # entries; longer rows are summed one row at a time, see Weights.sweep


class Stochastic(IntFlag):
    """Which sums of a mixing matrix are one."""

    NONE = 0
    ROW = 1
    COLUMN = 2
    DOUBLY = 3


@dataclass(frozen=True, eq=False)
class Weights:
    """A sparse mixing matrix: row i is `indices`, `data` from `indptr[i]` to `indptr[i + 1]`.

    Invariant: indices ascend within a row and include the row's own. The arrays are read-only.
    """

    varies: ClassVar[bool] = False
    """Whether it depends on the iteration: then this is the mean; see `schedules`."""

    indptr: Array
    indices: Array
    data: Array

    def __post_init__(self) -> None:
        kinds = {"indptr": np.int64, "indices": np.int64, "data": np.float64}
        for name, dtype in kinds.items():
            array = np.array(getattr(self, name), dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        return self.digest() == other.digest() if isinstance(other, Weights) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest())

    @property
    def n(self) -> int:
        return len(self.indptr) - 1

    @property
    def degrees(self) -> tuple[float, float]:
        """How many others a node hears: the mean over all nodes, and the most."""
        counts = np.diff(self.indptr) - 1
        return float(counts.mean()), float(counts.max())

    @cached_property
    def rows(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(self.n), np.diff(self.indptr))

    @property
    def keys(self) -> Array:
        """The place of each entry in the matrix read row by row."""
        return self.rows * self.n + self.indices

    def at(self, iteration: int) -> Weights:  # noqa: ARG002 - these never change
        """The matrix of an iteration."""
        return self

    def samples(self) -> Sequence[Weights]:
        """Matrices that show what holds in every iteration."""
        return (self,)

    def row(self, i: int) -> Row:
        """What node i sums: itself and the nodes it hears, in node order."""
        here = slice(self.indptr[i], self.indptr[i + 1])
        return Row(tuple(zip(self.indices[here].tolist(), self.data[here].tolist(), strict=True)))

    def to_dense(self) -> Array:
        dense = np.zeros((self.n, self.n))
        dense[self.rows, self.indices] = self.data
        return dense

    def digest(self) -> bytes:
        """SHA-256 of the content: equal on every machine for equal weights."""
        content = hashlib.sha256(b"p2pdo weights 1\n")
        for array, kind in ((self.indptr, "<i8"), (self.indices, "<i8"), (self.data + 0.0, "<f8")):
            content.update(array.astype(kind).tobytes())  # + 0.0: no minus zero
        return content.digest()

    def apply(self, X: Array) -> Array:
        """W @ X for X of shape (n, …), in X's own precision.

        Every row adds its terms from zero in node order. Large products are SciPy's, where it
        is there and has the same bits (`sparse`); others are `sweep`'s.
        """
        if X.shape[:1] != (self.n,):
            raise LocalProtocolError(f"{self.n} nodes cannot mix values of shape {X.shape}")
        if self._is_large(X):
            matrix = self._sparse(X.dtype)
            if matrix is not None:
                product: Array = matrix @ X.reshape(self.n, -1)
                return product.reshape(X.shape)
        return self.sweep(X)

    def sweep(self, X: Array) -> Array:
        """The same by NumPy alone: no library is loaded for it.

        All rows go their first term, then all that have one their second, and so on. Rows longer
        than `LONG_ROW` are summed one at a time, so that the hub of a star costs one pass and
        not n.
        """
        total = np.zeros(X.shape, summed_in(X.dtype))
        column = -1, *[1] * (X.ndim - 1)
        sweeps, long_rows = self._terms_in(total.dtype)
        for rows, indices, data in sweeps:
            terms = data.reshape(column) * X.take(indices, axis=0)
            if rows is None:
                total += terms
            else:
                total[rows] += terms
        for i, indices, data in long_rows:
            total[i] += np.add.accumulate(data.reshape(column) * X[indices])[-1]
        return total.astype(X.dtype) if is_half(X.dtype) else total

    def _is_large(self, X: Array) -> bool:
        return X.dtype in sparse.FLOATS and len(self.data) * (X.size // self.n) >= sparse.LARGE

    def _sparse(self, dtype: np.dtype[Any]) -> Any:
        """SciPy's matrix of these weights in that precision, None where there is none."""
        if dtype not in self._by_dtype:
            parts = (self.data.astype(dtype), self.indices, self.indptr)
            self._by_dtype[dtype] = (
                sparse.matrix(parts, self.n) if sparse.rounds_products() else None
            )
        return self._by_dtype[dtype]

    @cached_property
    def _by_dtype(self) -> dict[np.dtype[Any], Any]:
        return {}

    def _terms_in(self, dtype: np.dtype[Any]) -> tuple[list[_Sweep], list[_LongRow]]:
        """For k = 0, 1, …: the k-th terms of all rows that have one; and the long rows."""
        if dtype not in self._terms:
            data, counts = self.data.astype(dtype), np.diff(self.indptr)
            rows = np.flatnonzero(counts > LONG_ROW)
            counts[rows] = 0
            parts = [(i, slice(self.indptr[i], self.indptr[i + 1])) for i in rows.tolist()]
            long_rows = [(i, self.indices[part], data[part]) for i, part in parts]
            sweeps: list[_Sweep] = []
            for k in range(counts.max()):
                rows = np.flatnonzero(counts > k)
                places = self.indptr[rows] + k
                every = None if len(rows) == self.n else rows
                sweeps.append((every, self.indices[places], data[places]))
            self._terms[dtype] = sweeps, long_rows
        return self._terms[dtype]

    @cached_property
    def _terms(self) -> dict[np.dtype[Any], tuple[list[_Sweep], list[_LongRow]]]:
        return {}


_Sweep: TypeAlias = "tuple[Array | None, Array, Array]"
"""The rows, None where it is all of them; whose values they take; by which weights."""

_LongRow: TypeAlias = "tuple[int, Array, Array]"


def metropolis(graph: Graph) -> Weights:
    """Metropolis–Hastings: wᵢⱼ = 1 / (1 + max(dᵢ, dⱼ)), the rest on the diagonal.

    Symmetric and doubly stochastic with a positive diagonal, on every undirected graph.
    """
    if graph.directed:
        raise ConfigError(
            "metropolis weights need an undirected graph: both ends of a link use one weight",
            hint="--weights uniform, or an undirected topology such as ring",
        )
    degree = graph.in_degree
    senders, receivers = graph.edges.T
    shares = 1.0 / (1 + np.maximum(degree[senders], degree[receivers]))
    given_away = np.bincount(receivers, weights=shares, minlength=graph.n)
    return assemble(receivers, senders, shares, diagonal=1.0 - given_away)


def uniform(graph: Graph) -> Weights:
    """The plain average of self and all that is heard: wᵢⱼ = 1 / (1 + in-degree of i).

    Row stochastic; doubly stochastic where all in- and out-degrees are equal (directed ring,
    exponential).
    """
    share = 1.0 / (1 + graph.in_degree)
    senders, receivers = graph.edges.T
    return assemble(receivers, senders, share[receivers], diagonal=share)


def push(graph: Graph) -> Weights:
    """What `By.PUSH` weighs with: wᵢⱼ = 1 / (1 + out-degree of j), each sender's equal shares.

    Column stochastic on every graph; doubly stochastic where `uniform` is.
    """
    share = 1.0 / (1 + graph.out_degree)
    senders, receivers = graph.edges.T
    return assemble(receivers, senders, share[senders], diagonal=share)


def from_matrix(matrix: Any) -> Weights:
    """A user's square matrix: entry (i, j) weighs what i hears from j. Must be finite."""
    dense = square(matrix)
    off_diagonal = ~np.eye(len(dense), dtype=bool)
    receivers, senders = np.nonzero((dense != 0) & off_diagonal)
    return assemble(receivers, senders, dense[receivers, senders], diagonal=dense.diagonal())


def from_entries(n: int, rows: Array, columns: Array, data: Array) -> Weights:
    """A user's sparse matrix of these entries, each place at most once. Must be finite.

    Raises:
        ConfigError: a weight is not finite, or a place is given twice.
    """
    if not np.isfinite(data).all():
        raise ConfigError("a weight is not finite", hint="weights are numbers")
    keys = rows * n + columns
    ordered = np.sort(keys)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        i, j = divmod(int(ordered[twice[0]]), n)
        raise ConfigError(f"weight [{i}][{j}] is given twice", hint="give each place once")
    is_diagonal = rows == columns
    diagonal = np.zeros(n)
    diagonal[rows[is_diagonal]] = data[is_diagonal]
    off = ~is_diagonal
    return assemble(rows[off], columns[off], data[off], diagonal=diagonal)


def by_name(name: str, graph: Graph, seed: int = 0) -> Weights:
    """The weights of that rule on this graph; `rules.WEIGHTS` has them all.

    A rule may carry a parameter behind a colon; what is random in it is a function of the seed.
    """
    from p2pdo.graphs.rules import WEIGHTS  # rules are made of what is here

    key, colon, text = name.partition(":")
    if key not in WEIGHTS:
        raise ConfigError(f"unknown weights '{key}'", hint=did_you_mean(key, list(WEIGHTS)))
    rule = WEIGHTS[key]
    if rule.build_with is not None:
        return rule.build_with(graph, seed, text if colon else None)
    if colon:
        raise ConfigError(f"weights '{key}' take no parameter, got '{text}'", hint=f"write {key}")
    return rule.build(graph)


def default(graph: Graph) -> Weights:
    """What is used when nobody says: metropolis on undirected graphs, uniform on directed."""
    return uniform(graph) if graph.directed else metropolis(graph)


def support(weights: Weights) -> Graph:
    """Who hears whom with a weight that is not zero; undirected if that pattern is symmetric."""
    kept = (weights.rows != weights.indices) & (weights.data != 0)
    receivers, senders = weights.rows[kept], weights.indices[kept]
    transposed = np.sort(senders * weights.n + receivers)
    directed = not np.array_equal(weights.keys[kept], transposed)
    return Graph(weights.n, directed, np.stack([senders, receivers], axis=1))


def stochastic(weights: Weights) -> Stochastic:
    """Which sums are one."""
    found = Stochastic.NONE
    for side in (Stochastic.ROW, Stochastic.COLUMN):
        if _first_wrong_sum(weights, side) is None:
            found |= side
    return found


def is_symmetric(weights: Weights) -> bool:
    return asymmetry(weights) is None


def asymmetry(weights: Weights) -> tuple[int, int] | None:
    """The first (i, j), i < j, whose weight differs from that of (j, i); None if W = Wᵀ."""
    transposed = weights.indices * weights.n + weights.rows
    order = np.argsort(transposed)
    if np.array_equal(transposed[order], weights.keys):
        places, differs = weights.keys, np.abs(weights.data - weights.data[order])
    else:
        places, entry = np.unique(np.r_[weights.keys, transposed], return_inverse=True)
        signed = np.r_[weights.data, -weights.data]
        differs = np.abs(np.bincount(entry, weights=signed))
    scale = max(1.0, float(np.abs(weights.data).max()))
    wrong = np.flatnonzero(differs > TOLERANCE * scale)
    return divmod(int(places[wrong[0]]), weights.n) if wrong.size else None


def check_weights(
    weights: Weights,
    graph: Graph,
    stochastic: Stochastic,
    symmetric: bool = False,
    undirected: bool = False,
    *,
    time_varying: bool = False,
) -> None:
    """Refuses weights and graph on which a method that needs this would not converge.

    `time_varying` is whether it converges on weights that vary with the iteration.

    Raises:
        ConfigError: with the reason and what to use instead.
    """
    if weights.varies and not time_varying:
        raise ConfigError(
            "the weights vary with the iteration, and this method needs one W",
            hint="a method for weights that vary: consensus, dgd, gradient-tracking; "
            "or a static topology such as exponential",
        )
    _check_fit(weights, graph)
    _check_connected(graph, "the graph")
    if not weights.data.all():  # a weight of zero may cut what the graph joins
        _check_connected(support(weights), "with its zero weights the graph")
    if undirected and graph.directed:
        raise ConfigError(
            "the graph is directed: both ends of an edge must hear each other here",
            hint="an undirected topology such as ring, or a method for directed graphs: push-pull",
        )
    for sample in weights.samples():
        _check_sums(sample, graph, stochastic)
        if symmetric:
            _check_symmetry(sample, graph)


def _check_fit(weights: Weights, graph: Graph) -> None:
    if weights.n != graph.n:
        raise ConfigError(
            f"the weights are for {weights.n} nodes, the graph has {graph.n}",
            hint=f"--nodes {weights.n}, or weights with {graph.n} rows",
        )
    arcs = np.sort(graph.edges[:, 1] * graph.n + graph.edges[:, 0])
    used = (weights.rows != weights.indices) & (weights.data != 0)
    stray = np.flatnonzero(used & ~among(weights.keys, arcs))
    if stray.size:
        i, j = int(weights.rows[stray[0]]), int(weights.indices[stray[0]])
        raise ConfigError(
            f"weight [{i}][{j}] is not zero, but node {j} does not send to node {i}",
            hint=f"add the edge [{j}, {i}] to the graph, or set that weight to 0",
        )


def _check_connected(graph: Graph, what: str) -> None:
    gap = graph.missing_path()
    if gap is not None:
        strongly = "strongly " if graph.directed else ""
        raise ConfigError(
            f"{what} is not {strongly}connected: nothing from node {gap[0]} reaches node {gap[1]}",
            hint=f"add edges that lead from node {gap[0]} to node {gap[1]}, "
            "or choose a connected topology such as ring",
        )


def _check_sums(weights: Weights, graph: Graph, needs: Stochastic) -> None:
    for side in (Stochastic.ROW, Stochastic.COLUMN):
        wrong = _first_wrong_sum(weights, side) if side in needs else None
        if wrong is not None:
            line, total = wrong
            name = "row" if side is Stochastic.ROW else "column"
            kind = "doubly" if needs is Stochastic.DOUBLY else name
            raise ConfigError(
                f"weights are not {kind} stochastic: {name} {line} sums to {total:.10g}",
                hint=_remedy(graph, side, needs),
            )


def _check_symmetry(weights: Weights, graph: Graph) -> None:
    place = asymmetry(weights)
    if place is not None:
        i, j = place
        one, other = (dict(weights.row(a).entries).get(b, 0.0) for a, b in ((i, j), (j, i)))
        raise ConfigError(
            f"weights are not symmetric: [{i}][{j}] is {one:.10g}, [{j}][{i}] is {other:.10g}",
            hint="an undirected topology such as ring, with --weights metropolis"
            if graph.directed
            else "give the topology by name or as edges, with --weights metropolis",
        )


def _remedy(graph: Graph, side: Stochastic, needs: Stochastic) -> str:
    if not graph.directed:
        return "give the topology by name or as edges, with --weights metropolis"
    if side is Stochastic.ROW and needs is Stochastic.ROW:
        return "--weights uniform, or divide each row by its sum"
    return (
        "--weights uniform on a balanced topology (directed-ring, exponential), "
        "or an undirected one with --weights metropolis"
    )


def _first_wrong_sum(weights: Weights, side: Stochastic) -> tuple[int, float] | None:
    line = weights.rows if side is Stochastic.ROW else weights.indices
    totals = np.bincount(line, weights=weights.data, minlength=weights.n)
    sizes = np.bincount(line, weights=np.abs(weights.data), minlength=weights.n)
    wrong = np.flatnonzero(np.abs(totals - 1) > TOLERANCE * np.maximum(1, sizes))
    return (int(wrong[0]), float(totals[wrong[0]])) if wrong.size else None


def assemble(rows: Array, columns: Array, data: Array, diagonal: Array) -> Weights:
    """The matrix of these entries beside its diagonal, in any order, each place once."""
    n = len(diagonal)
    rows, columns = np.r_[rows, np.arange(n)], np.r_[columns, np.arange(n)]
    order = np.argsort(rows * n + columns)
    return Weights(row_pointers(n, rows), columns[order], np.r_[data, diagonal][order])
