"""Topologies against networkx's, for one node and two, by name, and drawn twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.graphs import topologies
from p2pdo.graphs.random_graphs import _pair_of, _pair_stubs, _regular_links
from p2pdo.graphs.topologies import TOPOLOGIES, Graph, by_name, from_edges

FIXED = [
    "ring",
    "directed-ring",
    "path",
    "star",
    "complete",
    "grid",
    "torus",
    "hypercube",
    "exponential",
]
BIG = 100_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def links(graph: Graph) -> set[tuple[int, int]]:
    return {(i, j) for i, j in graph.links.tolist()}


def to_networkx(graph: Graph) -> Any:
    made = nx.DiGraph() if graph.directed else nx.Graph()
    made.add_nodes_from(range(graph.n))
    made.add_edges_from(graph.edges.tolist())
    return made


def torus_of_networkx(n: int) -> Any:
    rows, columns = topologies.sides(n)
    return nx.grid_2d_graph(rows, columns, periodic=True)


TWINS: list[tuple[str, int, Callable[[int], Any]]] = [
    ("ring", 8, nx.cycle_graph),
    ("ring", 3, nx.cycle_graph),
    ("directed-ring", 7, lambda n: nx.cycle_graph(n, create_using=nx.DiGraph)),
    ("path", 9, nx.path_graph),
    ("star", 6, lambda n: nx.star_graph(n - 1)),
    ("complete", 7, nx.complete_graph),
    ("grid", 12, lambda _n: nx.grid_2d_graph(3, 4)),
    ("grid", 16, lambda _n: nx.grid_2d_graph(4, 4)),
    ("grid", 7, nx.path_graph),
    ("torus", 12, torus_of_networkx),
    ("torus", 25, torus_of_networkx),
    ("torus", 7, nx.cycle_graph),
    ("hypercube", 16, lambda _n: nx.hypercube_graph(4)),
]


@pytest.mark.parametrize(("name", "n", "twin"), TWINS, ids=lambda value: str(value)[:16])
def test_a_topology_is_networkx_s(name: str, n: int, twin: Callable[[int], Any]) -> None:
    ours, theirs = to_networkx(by_name(name, n, rng())), twin(n)
    assert ours.number_of_nodes() == theirs.number_of_nodes()
    assert nx.is_isomorphic(ours, theirs)


def test_exponential_sends_to_the_nodes_at_powers_of_two() -> None:
    graph = topologies.exponential(10)
    assert graph.directed
    assert graph.out_neighbors(0) == (1, 2, 4, 8)
    assert graph.out_neighbors(9) == (0, 1, 3, 7)
    assert graph.in_neighbors(0) == (2, 6, 8, 9)
    undirected = to_networkx(graph).to_undirected()
    assert nx.utils.graphs_equal(undirected, nx.circulant_graph(10, [1, 2, 4, 8]))


def test_exponential_of_a_power_of_two_has_exactly_log_n_neighbours() -> None:
    assert set(topologies.exponential(16).out_degree.tolist()) == {4}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_one_node_has_no_edges_and_is_connected(name: str) -> None:
    graph = by_name(name, 1, rng())
    assert graph.n == 1
    assert graph.edges.shape == (0, 2)
    assert graph.links.shape == (0, 2)
    assert graph.in_neighbors(0) == graph.out_neighbors(0) == ()
    assert graph.is_connected()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_two_nodes_hear_each_other_once(name: str) -> None:
    graph = by_name(name, 2, rng())
    assert graph.edges.tolist() == [[0, 1], [1, 0]]
    assert graph.in_neighbors(0) == graph.out_neighbors(0) == (1,)
    assert graph.is_connected()


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 13, 16, 24])
def test_every_topology_is_connected_and_simple_or_refused_with_a_remedy(name: str, n: int) -> None:
    if name == "hypercube" and n & (n - 1):
        with pytest.raises(ConfigError) as refusal:
            by_name(name, n, rng(n))
        assert "--nodes" in str(refusal.value.hint)
        return
    graph = by_name(name, n, rng(n))
    assert graph.n == n
    assert graph.is_connected()
    arcs = graph.edges.tolist()
    assert len({tuple(arc) for arc in arcs}) == len(arcs)
    assert all(i != j for i, j in arcs)
    assert graph.directed or links(graph) == {(i, j) for i, j in arcs if i < j}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_no_nodes_are_refused(name: str) -> None:
    for n in (0, -3):
        with pytest.raises(ConfigError, match="at least one node"):
            by_name(name, n, rng())


def test_a_hypercube_of_twelve_names_the_sizes_that_would_do() -> None:
    with pytest.raises(ConfigError, match="got 12") as refusal:
        topologies.hypercube(12)
    assert "--nodes 8 or --nodes 16" in str(refusal.value.hint)


@pytest.mark.parametrize("name", ["erdos-renyi", "erdos-renyi:0.3", "k-regular", "k-regular:3"])
def test_one_seed_gives_one_graph(name: str) -> None:
    first, again, other = (by_name(name, 24, rng(seed)) for seed in (7, 7, 8))
    assert first == again
    assert hash(first) == hash(again)
    assert first != other


@pytest.mark.parametrize("p", [0.0, 0.02])
def test_a_graph_that_is_never_connected_is_refused_with_a_probability_that_is(p: float) -> None:
    with pytest.raises(ConfigError, match="not connected in any of 100 draws") as refusal:
        topologies.erdos_renyi(40, rng(), p)
    assert "erdos-renyi:0.18" in str(refusal.value.hint)


def test_erdos_renyi_with_probability_one_is_complete() -> None:
    assert by_name("erdos-renyi:1", 9, rng()) == topologies.complete(9)


def test_erdos_renyi_has_about_the_expected_number_of_links() -> None:
    graph = topologies.erdos_renyi(400, rng(), 0.1)
    expected = 0.1 * 400 * 399 / 2
    assert abs(len(graph.links) - expected) < 5 * np.sqrt(expected)


def test_every_pair_of_nodes_has_one_number() -> None:
    pairs = _pair_of(np.arange(10 * 9 // 2))
    assert {(i, j) for i, j in pairs.tolist()} == links(topologies.complete(10))


@given(st.integers(min_value=1, max_value=10**9))
def test_the_first_and_last_pair_of_a_node_are_found_exactly(j: int) -> None:
    first = j * (j - 1) // 2
    assert _pair_of(np.array([first, first + j - 1])).tolist() == [[0, j], [j - 1, j]]


@given(st.integers(2, 30), st.integers(1, 29), st.integers(0, 2**32 - 1))
def test_k_regular_is_regular_and_connected_wherever_it_exists(n: int, k: int, seed: int) -> None:
    if k >= n or n * k % 2 or (k == 1 and n > 2):
        with pytest.raises(ConfigError) as refusal:
            topologies.k_regular(n, rng(seed), k)
        assert refusal.value.hint
        return
    graph = topologies.k_regular(n, rng(seed), k)
    assert set(graph.in_degree.tolist()) == {k}
    assert graph.is_connected()


def test_stubs_that_do_not_fit_together_end_the_draw() -> None:
    # Two nodes cannot have two links with each other.
    assert _pair_stubs(2, 2, rng()) is None
    with pytest.raises(ConfigError, match="no 2-regular graph of 2 nodes"):
        _regular_links(2, 2, rng())


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("rign", "unknown topology 'rign'", "did you mean 'ring'"),
        ("ring:3", "takes no parameter", "ring"),
        ("ring:", "takes no parameter", "ring"),
        ("erdos-renyi:often", "must be a number, got 'often'", "erdos-renyi:0.4"),
        ("erdos-renyi:1.5", r"in \[0, 1\]", "erdos-renyi:0.4"),
        ("erdos-renyi:nan", r"in \[0, 1\]", "erdos-renyi:0.4"),
        ("k-regular:2.5", "whole number", "k-regular:4"),
        ("k-regular:9", "cannot have 9 neighbours", "0 to 8"),
        ("k-regular:-1", "cannot have -1 neighbours", "0 to 8"),
        ("k-regular:3", "must be even", "k-regular:4"),
        ("k-regular:0", "never connected", "k-regular:2"),
    ],
)
def test_a_wrong_name_or_parameter_is_refused_with_a_remedy(
    name: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        by_name(name, 9, rng())
    assert hint in str(refusal.value.hint)


def test_the_example_of_each_parameter_is_legal() -> None:
    for name, topology in TOPOLOGIES.items():
        assert topology.about
        if topology.example is not None:
            assert by_name(f"{name}:{topology.example}", 12, rng()).is_connected()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arcs", "neighbours"),
    [
        ("ring", 2 * BIG, (1, BIG - 1)),
        ("torus", 4 * BIG, (1, 399, 400, BIG - 400)),  # 250 × 400
        ("grid", 4 * BIG - 2 * 250 - 2 * 400, (1, 400)),
        ("exponential", 17 * BIG, tuple(sorted(BIG - 2**k for k in range(17)))),
    ],
)
def test_a_hundred_thousand_nodes_are_built(
    name: str, arcs: int, neighbours: tuple[int, ...]
) -> None:
    graph = by_name(name, BIG, rng())
    assert len(graph.edges) == arcs
    assert graph.in_neighbors(0) == neighbours
    assert graph.is_connected()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["erdos-renyi:0.00023", "k-regular:4"])
def test_a_hundred_thousand_random_nodes_are_built(name: str) -> None:
    graph = by_name(name, BIG, rng())
    assert graph.is_connected()
    assert graph.in_degree.sum() == 2 * len(graph.links)


@pytest.mark.slow
def test_importing_graphs_imports_neither_networkx_nor_scipy() -> None:
    code = "import sys, p2pdo.graphs; sys.exit(bool({'networkx', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_graph_from_edges_is_its_own_copy() -> None:
    edges = np.array([[0, 1], [1, 2]])
    graph = from_edges(3, edges)
    edges[:] = 0
    assert links(graph) == {(0, 1), (1, 2)}
    assert not graph.edges.flags.writeable
