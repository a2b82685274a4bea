"""How many hops a network is wide, beside networkx."""

import networkx as nx
import numpy as np
import pytest

from p2pdo.graphs import distances
from p2pdo.graphs.distances import hops
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.graphs.topologies import by_name

TOPOLOGIES = ["ring", "path", "star", "complete", "grid", "directed-ring", "exponential"]


def graph(topology: str, n: int) -> Graph:
    return by_name(topology, n, np.random.default_rng(0))


def diameter(of: Graph) -> int:
    made = nx.DiGraph()
    made.add_nodes_from(range(of.n))
    made.add_edges_from(of.edges.tolist())
    return int(nx.diameter(made))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_it_is_the_diameter(topology: str) -> None:
    for n in (1, 2, 9, 16):
        assert hops(graph(topology, n)) == diameter(graph(topology, n))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_of_large_networks_it_is_a_bound(topology: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "EXACT", 0)
    for n in (2, 9, 25):
        exact = diameter(graph(topology, n))
        assert exact <= hops(graph(topology, n)) <= 2 * exact


def test_the_ways_of_a_directed_graph_are_its_arcs() -> None:
    shortcut = from_edges(5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 4)], directed=True)
    assert hops(shortcut) == diameter(shortcut) == 4
