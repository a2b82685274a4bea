"""Trees, barbells, hierarchies, small worlds, geometric graphs: by networkx and by definition."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.graphs import (
    barbell,
    default_weights,
    geometric,
    graph_by_name,
    hierarchical,
    small_world,
    tree,
)
from p2pdo.graphs.geometric import near
from p2pdo.graphs.graph import Graph


def links(graph: Graph) -> set[tuple[int, int]]:
    return {(i, j) for i, j in graph.links.tolist()}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("n", [2, 5, 6, 9])
def test_a_barbell_is_two_complete_halves_and_a_link(n: int) -> None:
    half = (n + 1) // 2
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if (i < half) == (j < half)}
    assert links(barbell(n)) == expected | {(half - 1, half)}


@pytest.mark.parametrize(("k", "levels"), [(1, 5), (2, 4), (3, 3)])
def test_a_tree_is_networkxs_balanced_tree(k: int, levels: int) -> None:
    twin = nx.balanced_tree(k, levels) if k > 1 else nx.path_graph(levels)
    expected = {(min(e), max(e)) for e in twin.edges}
    assert links(tree(twin.number_of_nodes(), k)) == expected


def test_a_hierarchy_is_complete_groups_of_nodes_and_of_heads() -> None:
    def complete(*nodes: int) -> set[tuple[int, int]]:
        return {(i, j) for i in nodes for j in nodes if i < j}

    groups = [complete(*range(at, at + 3)) for at in range(0, 18, 3)]
    heads = complete(0, 3, 6) | complete(9, 12, 15) | complete(0, 9)
    assert links(hierarchical(18, 3)) == set.union(*groups) | heads


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 100])
@pytest.mark.parametrize(
    "name", ["barbell", "tree", "tree:5", "hierarchical", "hierarchical:2", "small-world:1"]
)
def test_each_is_connected_for_every_number_of_nodes(name: str, n: int) -> None:
    graph = graph_by_name(name, n, rng())
    assert (graph.n, graph.directed) == (n, False)
    assert graph.is_connected()


def test_a_small_world_is_the_lattice_and_as_many_shortcuts_as_drawn() -> None:
    n = 2000
    lattice = nx.circulant_graph(n, [1, 2])
    assert links(small_world(n, rng(), 0.0)) == {(min(e), max(e)) for e in lattice.edges}
    graph = small_world(n, rng(), 0.25)
    assert links(graph) >= links(small_world(n, rng(), 0.0))
    assert len(graph.links) - 2 * n == pytest.approx(0.25 * 2 * n, rel=0.1)
    assert small_world(n, rng(), 0.25) == graph
    assert small_world(n, rng(1), 0.25) != graph


@pytest.mark.parametrize("radius", [0.03, 0.2, 0.7, 1.5])
def test_near_are_all_pairs_within_the_radius_and_no_other(radius: float) -> None:
    points = rng().random((300, 2))
    points[:4] = [[0, 0], [0, 0.999999], [0.999999, 0], [0.5, 0.5]]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = {(i, j) for i, j in np.argwhere(distance <= radius).tolist() if i < j}
    found = near(points, radius)
    assert {(min(p), max(p)) for p in found.tolist()} == expected
    assert len(found) == len(expected)


def test_a_geometric_graph_is_connected_and_drawn_twice_the_same() -> None:
    graph = geometric(200, rng())
    assert graph.is_connected()
    assert geometric(200, rng()) == graph
    with pytest.raises(ConfigError, match="not connected in any") as caught:
        geometric(50, rng(), 0.01)
    assert "geometric:0.3" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tree:0", "one child or more"),
        ("tree:two", "must be a whole number"),
        ("hierarchical:1", "two nodes or more"),
        ("small-world:2", "must lie in"),
        ("small-world:many", "must be a number"),
        ("geometric:0", "must be positive"),
        ("barbell:3", "takes no parameter"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        graph_by_name(name, 8, rng())


@pytest.mark.parametrize("name", ["tree", "hierarchical", "small-world", "geometric"])
def test_a_hundred_thousand_nodes_have_weights(name: str) -> None:
    weights = default_weights(graph_by_name(name, 100_000, rng()))
    assert weights.n == 100_000
    assert np.allclose(np.add.reduceat(weights.data, weights.indptr[:-1]), 1)


@pytest.mark.parametrize(
    "name", ["complete", "barbell", "hierarchical:50000", "erdos-renyi:0.5", "geometric:0.5"]
)
def test_a_graph_with_more_links_than_memory_is_refused_before_it_is_built(name: str) -> None:
    with pytest.raises(ConfigError, match="links, too many for one machine") as caught:
        graph_by_name(name, 100_000, rng())
    assert "exponential" in str(caught.value.hint)
