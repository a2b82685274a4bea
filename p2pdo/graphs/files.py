"""Graphs and weights as plain data, the content of an adjacency file.

    {"edges": [[0, 1], [1, 2]], "directed": false, "nodes": 3}     node i sends to node j
    {"weights": [[0.5, 0.5], [0.5, 0.5]]}                          row i weighs what i hears
    [[0.5, 0.5], [0.5, 0.5]]                                       the same, bare
    {"entries": [[0, 0, 0.5], [0, 1, 0.5], …], "nodes": 2}      of [i, j, w], without zeros
    {"cycle": [{"edges": [[0, 1]]}, {"edges": [[1, 2]]}]}          one a iteration, then again

In a matrix, W[i][j] ≠ 0 for i ≠ j means that j sends to i. "directed" and "nodes" may be left
out. Here is no I/O: the caller has loaded the data, from whatever format. Whatever is wrong with
it is a `ConfigError` that names the place; whether the graph is connected and the weights fit an
algorithm is `check_weights`' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.graphs.schedules import cycle
from p2pdo.graphs.weights import Weights, default, from_entries, from_matrix, support
from p2pdo.types import Array

CYCLE = 'write {"cycle": [{"weights": [[…], …]}, {"edges": [[0, 1], …]}, …]}'
ENTRIES = 'write {"entries": [[i, j, w], …], "nodes": N}: what i takes from j'
SHAPE = 'write {"edges": [[0, 1], …], "directed": false} or {"weights": [[…], …]}'


def parse(data: Any, n: int) -> tuple[Graph, Weights | None]:
    """The graph over n nodes that this data spells, and the weights if it has any."""
    if isinstance(data, Mapping):
        return _from_mapping(data, n)
    if _is_list(data):
        return _from_weights(data, n)
    raise ConfigError(f"a graph cannot be read from {_kind(data)}", hint=SHAPE)


def _from_mapping(data: Mapping[str, Any], n: int) -> tuple[Graph, Weights | None]:
    if "cycle" in data:
        return _from_cycle(data, n)
    forms = [key for key in ("edges", "weights", "entries") if key in data]
    if len(forms) != 1:
        which = "neither" if not forms else "both" if len(forms) == 2 else "all three"  # noqa: PLR2004
        raise ConfigError(f"a graph has either edges or weights, got {which}", hint=SHAPE)
    known = ["edges", "directed", "nodes"] if "edges" in data else [forms[0], "nodes"]
    for key in data:
        if key not in known:
            raise ConfigError(
                f"unknown key '{key}' in the graph", hint=did_you_mean(str(key), known)
            )
    _check_count(data.get("nodes", n), n)
    if "weights" in data:
        return _from_weights(data["weights"], n)
    if "entries" in data:
        weights = from_entries(n, *_entries(data["entries"], n))
        return support(weights), weights
    return from_edges(n, _edges(data["edges"]), _directed(data.get("directed", False))), None


def _from_cycle(data: Mapping[str, Any], n: int) -> tuple[Graph, Weights]:
    """One graph or matrix an iteration; edges without weights have their default ones."""
    phases = data["cycle"]
    if not _is_list(phases) or not phases or set(data) != {"cycle"}:
        raise ConfigError("'cycle' must be a list of graphs, and stand alone", hint=CYCLE)
    matrices = []
    for phase in phases:
        graph, weights = parse(phase, n)
        if weights is None:
            weights = default(graph)
        if weights.varies:
            raise ConfigError("a cycle is within a cycle", hint=CYCLE)
        matrices.append(weights)
    found = cycle(matrices)
    return support(found), found


def _from_weights(rows: Any, n: int) -> tuple[Graph, Weights]:
    weights = from_matrix(_matrix(rows))
    _check_count(weights.n, n)
    return support(weights), weights


def _check_count(nodes: Any, n: int) -> None:
    if not _is_int(nodes):
        raise ConfigError(
            f"'nodes' must be the number of nodes, got {_kind(nodes)}", hint=f'"nodes": {n}'
        )
    if nodes != n:
        raise ConfigError(f"the graph has {nodes} nodes, the run has {n}", hint=f"--nodes {nodes}")


def _directed(flag: Any) -> bool:
    if not isinstance(flag, bool):
        raise ConfigError(
            f"'directed' must be true or false, got {_kind(flag)}", hint='"directed": true'
        )
    return flag


def _edges(edges: Any) -> list[tuple[int, int]]:
    if not _is_list(edges):
        raise ConfigError(f"'edges' must be a list, got {_kind(edges)}", hint=SHAPE)
    return [_edge(place, edge) for place, edge in enumerate(edges)]


def _entries(entries: Any, n: int) -> tuple[Array, Array, Array]:
    """(rows, columns, weights)."""
    if not _is_list(entries):
        raise ConfigError(f"'entries' must be a list, got {_kind(entries)}", hint=ENTRIES)
    rows, columns, weights = [], [], []
    for place, entry in enumerate(entries):
        match entry:
            case [i, j, w] if _is_int(i) and _is_int(j) and 0 <= i < n and 0 <= j < n:
                rows.append(i)
                columns.append(j)
                weights.append(_weight(i, j, w))
            case _:
                raise ConfigError(
                    f"entries[{place}] is not [i, j, w] with nodes 0 to {n - 1}: {_kind(entry)}",
                    hint=ENTRIES,
                )
    return np.array(rows, np.int64), np.array(columns, np.int64), np.array(weights, np.float64)


def _edge(place: int, edge: Any) -> tuple[int, int]:
    match edge:
        case [i, j] if _is_int(i) and _is_int(j):
            return _small(place, i), _small(place, j)
        case _:
            raise ConfigError(
                f"edges[{place}] is not a pair of node numbers: {_kind(edge)}",
                hint="write each edge as [i, j] with whole numbers from 0: i sends to j",
            )


def _small(place: int, i: int) -> int:
    if abs(i) > 2**31:
        raise ConfigError(
            f"edges[{place}] names a node that does not exist: {_kind(i)}",
            hint="number the nodes from 0",
        )
    return i


def _matrix(rows: Any) -> list[list[float]]:
    if not _is_list(rows):
        raise ConfigError(f"'weights' must be a list of rows, got {_kind(rows)}", hint=SHAPE)
    return [_row(i, row, len(rows)) for i, row in enumerate(rows)]


def _row(i: int, row: Any, n: int) -> list[float]:
    if not _is_list(row) or len(row) != n:
        got = f"{len(row)} numbers" if _is_list(row) else _kind(row)
        raise ConfigError(
            f"row {i} of the weights must have {n} numbers, one per node, got {got}",
            hint="a weight matrix is square, 0 where two nodes do not talk; "
            'or are these edges? {"edges": [[0, 1], …]}',
        )
    return [_weight(i, j, w) for j, w in enumerate(row)]


def _weight(i: int, j: int, w: Any) -> float:
    if isinstance(w, bool) or not isinstance(w, int | float):
        raise ConfigError(
            f"entry [{i}][{j}] of the weights is not a number: {_kind(w)}",
            hint="write 0 where two nodes do not talk",
        )
    try:
        return float(w)
    except OverflowError:
        return float("inf")  # refused as every weight that is not finite


def _is_list(data: Any) -> bool:
    return isinstance(data, Sequence) and not isinstance(data, str | bytes)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(data: Any) -> str:
    """What was found, short enough for a message."""
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - a line's worth
