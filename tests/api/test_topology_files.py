"""Topologies from files and matrices of every kind say what the same edges in JSON say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.api.topologies import inspect
from p2pdo.api.topology_files import read_topology
from p2pdo.errors import ConfigError
from p2pdo.graphs import default_weights, parse_graph, path
from p2pdo.graphs.weights import Weights

RING = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
PATH = path(3)
W: Weights = default_weights(PATH)


def parsed(topology: Any, n: int) -> Any:
    return parse_graph(read_topology(topology), n)


def test_an_edge_list_is_undirected_edges(tmp_path: Path) -> None:
    file = tmp_path / "path.txt"
    file.write_text("# a path\n0 1\n\n1,2  # the second\n")
    assert parsed(str(file), 3) == (PATH, None)


def test_a_third_column_holds_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "weights.csv"
    rows = zip(W.rows.tolist(), W.indices.tolist(), W.data.tolist(), strict=True)
    file.write_text("\n".join(f"{i},{j},{w!r}" for i, j, w in rows))
    assert parsed(str(file), 3) == (PATH, W)


@pytest.mark.parametrize("kind", ["dense", "npy", "sparse", "npz"])
def test_whole_numbers_are_an_adjacency_and_floats_the_weights(tmp_path: Path, kind: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for matrix, expected in (
        (PATH_ADJACENCY, (PATH, None)),
        (PATH_ADJACENCY.astype(bool), (PATH, None)),
        (W.to_dense(), (PATH, W)),
    ):
        topology: Any = matrix
        if kind == "npy":
            topology = str(tmp_path / "a.npy")
            np.save(topology, matrix)
        elif kind == "sparse":
            topology = sparse.csc_array(matrix)
        elif kind == "npz":
            topology = str(tmp_path / "a.npz")
            sparse.save_npz(topology, sparse.csr_array(matrix))
        assert parsed(topology, 3) == expected


PATH_ADJACENCY = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]])  # its diagonal says nothing


def test_an_adjacency_that_is_not_symmetric_is_directed() -> None:
    heard = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # 0 hears 2, 1 hears 0, 2 hears 1
    graph, _ = parsed(heard, 3)
    assert graph.directed
    assert graph.edges.tolist() == [[0, 1], [1, 2], [2, 0]]


def test_topo_tells_of_a_sparse_matrix() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    report = inspect(sparse.csr_array(RING), 4, None, 0)
    assert (report.edges, report.symmetric, report.stochastic) == (4, True, "doubly")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n1\n", "line 2 of .* is no edge: 1"),
        ("0 1\n1 2 0.5\n", "line 2 of .* is no edge"),
        ("0 one\n", "line 1 of .* is no edge: 0 one"),
        ("0 1 2 3\n", "line 1 of .* is no edge"),
        ("# nothing\n", "has no edges"),
    ],
)
def test_a_line_that_is_no_edge_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "edges"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_topology(str(file))


@pytest.mark.parametrize("name", ["no.npy", "no.npz", "no.json"])
def test_a_file_that_is_not_there_or_damaged_is_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with pytest.raises(ConfigError, match="cannot read the topology"):
        read_topology(str(file))
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match=r"the topology .*no"):
        read_topology(str(file))


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(4), np.array([["a"]])])
def test_what_is_no_square_matrix_is_refused(matrix: Any) -> None:
    with pytest.raises(ConfigError, match="no square matrix of numbers"):
        read_topology(matrix)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([[0, 3, 1.0]], r"entries\[0\] is not \[i, j, w\] with nodes 0 to 1"),
        ([[0, 0, 1.0], [0, 0, 1.0]], r"weight \[0\]\[0\] is given twice"),
        ([[0, 0, float("inf")]], "not finite"),
        ("none", "must be a list"),
        ([[0, 0, "x"]], "is not a number"),
    ],
)
def test_an_entry_that_cannot_be_is_named(entries: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_graph({"entries": entries, "nodes": 2}, 2)


def test_the_data_of_a_matrix_are_json() -> None:
    data = read_topology(W.to_dense())
    assert parse_graph(json.loads(json.dumps(data)), 3) == (PATH, W)
