"""Topologies from files and matrices, as the plain data that `graphs.files` parses.

    .json            edges, weights or entries, see `graphs.files`
    .npy, .npz       a square matrix of NumPy, or of scipy.sparse.save_npz
    anything else    an edge list: "i j" a line, or "i j w" for what i takes from j; # comments

A matrix of whole numbers or truth values is an adjacency matrix, one of floats the weights. In
both, entry (i, j) is about what i hears from j.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.graphs import files
from p2pdo.graphs.topologies import TOPOLOGIES
from p2pdo.types import Array, Plain

_COLUMNS = {2: "edges", 3: "entries"}


def read_topology(topology: Any) -> Any:
    """A file's content where `topology` is its path, a matrix as data; anything else as it is.

    Raises:
        ConfigError: there is no such file, or it is not what its suffix says.
    """
    if hasattr(topology, "tocoo") or isinstance(topology, np.ndarray):
        return from_matrix(topology, "the matrix")
    if not isinstance(topology, str) or topology.partition(":")[0] in TOPOLOGIES:
        return topology
    path = Path(topology)
    if not (path.suffix in (".json", ".npy", ".npz") or path.is_file()):
        return topology
    try:
        return _read(path)
    except OSError as error:
        raise ConfigError(
            f"cannot read the topology {path}: {error.strerror or error}", hint=files.SHAPE
        ) from None


def from_matrix(matrix: Any, what: str) -> Plain:
    """A dense or scipy.sparse matrix as data.

    Raises:
        ConfigError: it is not square, or holds no numbers.
    """
    if not hasattr(matrix, "tocoo"):
        matrix = np.asarray(matrix)
    shape, kind = matrix.shape, matrix.dtype.kind
    if len(shape) != 2 or shape[0] != shape[1] or kind not in "biuf":  # noqa: PLR2004 - two axes
        raise ConfigError(
            f"{what} is {matrix.dtype} {shape}, no square matrix of numbers",
            hint="one row a node: whole numbers for an adjacency, floats for weights",
        )
    rows, columns, values = _entries(matrix)
    n = int(shape[0])
    if kind == "f":
        entries = zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True)
        return {"entries": [list(entry) for entry in entries], "nodes": n}
    off = rows != columns
    heard = np.stack([columns[off], rows[off]], axis=1)
    keys = np.sort(heard[:, 0] * n + heard[:, 1])
    directed = not np.array_equal(keys, np.sort(heard[:, 1] * n + heard[:, 0]))
    return {"edges": heard.tolist(), "directed": directed, "nodes": n}


def _entries(matrix: Any) -> tuple[Array, Array, Array]:
    """The places and values that are not zero."""
    if hasattr(matrix, "tocoo"):
        matrix = matrix.tocoo()
        matrix.sum_duplicates()
        kept = matrix.data != 0
        rows, columns = matrix.row[kept].astype(np.int64), matrix.col[kept].astype(np.int64)
        return rows, columns, matrix.data[kept]
    rows, columns = np.nonzero(matrix)
    return rows, columns, matrix[rows, columns]


def _read(path: Path) -> Any:
    match path.suffix:
        case ".json":
            return _read_json(path)
        case ".npy" | ".npz":
            return from_matrix(_read_matrix(path), f"the topology {path}")
        case _:
            return _read_lines(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the topology {path} is not JSON: {error}", hint=files.SHAPE) from None


def _read_matrix(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        from scipy.sparse import load_npz

        return load_npz(path)
    except ImportError:
        raise MissingExtra(f"the sparse matrix {path}", "scipy", "data") from None
    except (ValueError, EOFError, KeyError) as error:
        raise ConfigError(
            f"the topology {path} holds no matrix: {error}",
            hint="write it with np.save, or scipy.sparse.save_npz",
        ) from None


def _read_lines(path: Path) -> Plain:
    """An edge list. Undirected where each line is an edge; weights where it has a third number."""
    rows: list[list[float]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"the topology {path} is not text", hint=files.SHAPE) from None
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            i, j, *weight = int(words[0]), int(words[1]), *map(float, words[2:])
        except (ValueError, IndexError):
            weight = [0.0, 0.0]
        if len(weight) > 1 or (rows and len(rows[0]) != 2 + len(weight)):
            raise ConfigError(
                f"line {number} of {path} is no edge: {line[:40]}",
                hint="write edges as 'i j' on every line, or weights as 'i j w'",
            )
        rows.append([i, j, *weight])
    if not rows:
        raise ConfigError(f"the topology {path} has no edges", hint="write 'i j' on every line")
    return {_COLUMNS[len(rows[0])]: rows}  # type: ignore[dict-item]
