"""The graph itself: neighbours, connectedness, and where it may come from."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.graphs import from_edges, from_networkx, graph_from_matrix as from_matrix, ring
from p2pdo.graphs.graph import Graph


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    n = draw(st.integers(1, 9))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1])
    edges = draw(st.lists(pairs, max_size=25)) if n > 1 else []
    return from_edges(n, edges, directed=draw(st.booleans()))


@given(graphs())
def test_both_directions_of_the_neighbours_agree_with_the_arcs(graph: Graph) -> None:
    arcs = {(i, j) for i, j in graph.edges.tolist()}
    nodes = range(graph.n)
    assert {(i, j) for i in nodes for j in graph.out_neighbors(i)} == arcs
    assert {(j, i) for i in nodes for j in graph.in_neighbors(i)} == arcs
    for i in nodes:
        assert list(graph.in_neighbors(i)) == sorted(graph.in_neighbors(i))
        assert list(graph.out_neighbors(i)) == sorted(graph.out_neighbors(i))
        assert graph.directed or graph.in_neighbors(i) == graph.out_neighbors(i)
    assert graph.in_degree.tolist() == [len(graph.in_neighbors(i)) for i in nodes]
    assert graph.out_degree.tolist() == [len(graph.out_neighbors(i)) for i in nodes]


@given(graphs())
def test_connectedness_is_networkx_s(graph: Graph) -> None:
    theirs = nx.DiGraph(graph.edges.tolist())
    theirs.add_nodes_from(range(graph.n))
    assert graph.is_connected() == nx.is_strongly_connected(theirs)
    gap = graph.missing_path()
    assert gap is None or not nx.has_path(theirs, *gap)


@given(graphs())
def test_a_graph_survives_networkx_and_its_adjacency_matrix(graph: Graph) -> None:
    theirs = nx.DiGraph() if graph.directed else nx.Graph()
    theirs.add_nodes_from(range(graph.n))
    theirs.add_edges_from(graph.edges.tolist())
    assert from_networkx(theirs) == graph
    hears = nx.to_numpy_array(theirs).T
    assert np.array_equal(from_matrix(hears).edges, graph.edges)


@given(graphs())
def test_links_are_each_linked_pair_once(graph: Graph) -> None:
    pairs = [tuple(sorted(arc)) for arc in graph.edges.tolist()]
    assert [tuple(link) for link in graph.links.tolist()] == sorted(set(pairs))


def test_an_edge_means_that_the_first_sends_to_the_second() -> None:
    graph = from_edges(3, [(0, 2)], directed=True)
    assert graph.out_neighbors(0) == (2,)
    assert graph.in_neighbors(2) == (0,)
    assert graph.in_neighbors(0) == graph.out_neighbors(2) == ()


def test_a_matrix_entry_means_that_the_column_sends_to_the_row() -> None:
    graph = from_matrix([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]])
    assert graph.directed
    assert graph.edges.tolist() == [[0, 1]]


def test_a_symmetric_pattern_is_an_undirected_graph() -> None:
    assert from_matrix([[0, 1], [2, 0]]) == ring(2)


def test_edges_told_twice_are_one() -> None:
    assert from_edges(2, [(0, 1), (1, 0), (0, 1)]) == ring(2)


def test_labels_of_networkx_that_are_not_numbers_keep_their_order() -> None:
    theirs = nx.Graph([("b", "a"), ("a", "c")])
    assert from_networkx(theirs).links.tolist() == [[0, 1], [1, 2]]


def test_labels_of_networkx_that_are_numbers_stay_whatever_their_order() -> None:
    theirs = nx.MultiDiGraph([(2, 0), (2, 0), (0, 1)])
    assert from_networkx(theirs).edges.tolist() == [[0, 1], [2, 0]]


def test_graphs_differ_from_other_things_and_by_direction() -> None:
    assert ring(2) != "ring"
    assert ring(2) != from_edges(2, [(0, 1), (1, 0)], directed=True)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 3)], r"edge \[0, 3\] names a node that does not exist"),
        ([(-1, 0)], r"edge \[-1, 0\] names a node that does not exist"),
        ([(1, 1)], "joins node 1 to itself"),
        ([(0, 1, 2)], "not pairs"),
        ([(0, 1), (2,)], "not pairs"),
        ([0, 1], "not pairs"),
        ([(0.0, 1.0)], "not pairs"),
        ([(0, 10**30)], "not pairs"),
        ([("a", "b")], "not pairs"),
        (5, "not pairs"),
    ],
)
def test_wrong_edges_are_refused_with_a_remedy(edges: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        from_edges(3, edges)  # type: ignore[arg-type]
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 2]], "square, got 1 by 2"),
        ([], "square, got 0"),
        (3, "square, got a single number"),
        ([[1, 2], [3]], "not a square table"),
        ([["a"]], "not a square table"),
        ([[0, float("nan")], [0, 0]], r"entry \[0\]\[1\] of the matrix is nan"),
    ],
)
def test_a_wrong_matrix_is_refused_with_a_remedy(matrix: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        from_matrix(matrix)
    assert refusal.value.hint
