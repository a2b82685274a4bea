"""Graphs from plain data: what is read, and where a mistake is pointed out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.graphs import directed_ring, from_edges, parse_graph as parse, path, ring

HALVES = [[0.5, 0.5], [0.5, 0.5]]


def test_edges_are_undirected_unless_said() -> None:
    assert parse({"edges": [[0, 1], [1, 2]]}, 3) == (path(3), None)
    assert parse({"edges": [[0, 1], [1, 2]], "directed": False, "nodes": 3}, 3) == (path(3), None)


def test_directed_edges_go_from_the_first_to_the_second() -> None:
    data = {"edges": [[0, 1], [1, 2], [2, 0]], "directed": True}
    assert parse(data, 3) == (directed_ring(3), None)


def test_nodes_without_edges_stay() -> None:
    graph, _ = parse({"edges": [[0, 1]]}, 4)
    assert graph.n == 4
    assert not graph.is_connected()
    assert parse({"edges": []}, 1) == (ring(1), None)


@pytest.mark.parametrize("data", [HALVES, {"weights": HALVES}, {"weights": HALVES, "nodes": 2}])
def test_a_matrix_is_graph_and_weights(data: Any) -> None:
    graph, weights = parse(data, 2)
    assert graph == ring(2)
    assert weights is not None
    assert np.array_equal(weights.to_dense(), HALVES)


def test_a_matrix_s_row_is_what_a_node_hears() -> None:
    graph, weights = parse([[0.5, 0, 0.5], [1, 0, 0], [0, 1, 0]], 3)
    assert weights is not None
    assert graph == from_edges(3, [(2, 0), (0, 1), (1, 2)], directed=True)
    assert weights.row(1).entries == ((0, 1.0), (1, 0.0))


MISTAKES: list[tuple[Any, str, str]] = [
    (None, "cannot be read from None", "edges"),
    ("ring", "cannot be read from 'ring'", "edges"),
    ({}, "either edges or weights, got neither", "edges"),
    ({"edges": [], "weights": HALVES}, "got both", "edges"),
    ({"edges": [], "direct": True}, "unknown key 'direct'", "did you mean 'directed'"),
    ({"weights": HALVES, "directed": True}, "unknown key 'directed'", "weights"),
    ({"edges": [], "directed": "yes"}, "'directed' must be true or false, got 'yes'", "true"),
    ({"edges": [], "nodes": [0, 1]}, "must be the number of nodes", '"nodes": 2'),
    ({"edges": [], "nodes": True}, "must be the number of nodes, got True", '"nodes": 2'),
    ({"edges": [], "nodes": 3}, "has 3 nodes, the run has 2", "--nodes 3"),
    ({"edges": {"0": 1}}, "'edges' must be a list", "edges"),
    ({"edges": [[0, 1], [0]]}, r"edges\[1\] is not a pair", "[i, j]"),
    ({"edges": [[0, 1.5]]}, r"edges\[0\] is not a pair", "[i, j]"),
    ({"edges": ["01"]}, r"edges\[0\] is not a pair", "[i, j]"),
    ({"edges": [[0, False]]}, r"edges\[0\] is not a pair", "[i, j]"),
    ({"edges": [[0, 2]]}, "names a node that does not exist: there are 2", "from 0"),
    ({"edges": [[0, 10**60]]}, "names a node that does not exist: 1000", "from 0"),
    ({"edges": [[1, 1]]}, "joins node 1 to itself", "leave it out"),
    ({"weights": 5}, "must be a list of rows, got 5", "weights"),
    ([[1.0]], "has 1 nodes, the run has 2", "--nodes 1"),
    ([], "square", "one row per node"),
    ([[0.5, 0.5], [1]], "row 1 of the weights must have 2 numbers, one per node, got 1", "square"),
    ([[0.5, 0.5], 1], "row 1 of the weights must have 2 numbers, one per node, got 1", "square"),
    ([[0.5, "0.5"], [1, 0]], r"entry \[0\]\[1\] of the weights is not a number: '0.5'", "write 0"),
    ([[0.5, None], [1, 0]], r"entry \[0\]\[1\] of the weights is not a number: None", "write 0"),
    ([[True, 0], [1, 0]], r"entry \[0\]\[0\] of the weights is not a number: True", "write 0"),
    ([[0.5, float("nan")], [1, 0]], r"entry \[0\]\[1\] of the matrix is nan", "finite"),
    ([[0.5, 0], [float("-inf"), 0]], r"entry \[1\]\[0\] of the matrix is -inf", "finite"),
    ([[0.5, 10**400], [1, 0]], r"entry \[0\]\[1\] of the matrix is inf", "finite"),
]


@pytest.mark.parametrize(("data", "message", "hint"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_remedy(data: Any, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        parse(data, 2)
    assert hint in str(refusal.value.hint)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["edges", "weights", "directed", "nodes", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_json_says_is_a_graph_or_a_config_error(data: Any) -> None:
    try:
        graph, _ = parse(json.loads(json.dumps(data)), 2)
    except ConfigError as refusal:
        assert refusal.hint  # noqa: PT017 - either outcome is right; this is about one
    else:
        assert graph.n == 2
