"""Edge arrays of all nodes are those of each, one below the other."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms.edges import AllEdges, Came, Carry, Edges, EveryNode, edges_of
from p2pdo.effects import Exchange, ExchangeEach, Here
from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.types import Array

KITE = from_edges(5, [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)])
RNG = np.random.default_rng(2)


def of_one(graph: Graph, i: int) -> Edges:
    return edges_of(Here(0, i, graph.in_neighbors(i), graph.out_neighbors(i)))


def of_all(graph: Graph) -> Edges:
    return edges_of(EveryNode(0, -1, (), (), edges=lambda: AllEdges(graph, np.dtype(float))))


def carried(step: Generator[Any, Any, Any]) -> Any:
    """What a stacked step is answered."""
    effect = next(step)
    assert isinstance(effect, Carry)
    with pytest.raises(StopIteration) as stop:
        step.send(tuple(rows[effect.places] for rows in effect.arrays))
    return stop.value.value


def delivered(steps: list[Generator[Any, Any, Any]]) -> list[Any]:
    """What one step of each node is answered."""
    effects = [next(step) for step in steps]
    came = []
    for i, step in enumerate(steps):
        inbox = {}
        for j, sent in enumerate(effects):
            if isinstance(sent, ExchangeEach) and i in sent.values:
                inbox[j] = sent.values[i]
            elif isinstance(sent, Exchange) and j in KITE.in_neighbors(i):
                inbox[j] = sent.value
        with pytest.raises(StopIteration) as stop:
            step.send(inbox)
        came.append(stop.value.value)
    return came


def below(arrays: Iterable[Array]) -> Array:
    return np.concatenate(list(arrays))


def parts(rows: Array) -> list[Array]:
    return np.split(rows, np.cumsum(KITE.out_degree)[:-1])


def test_sums_and_copies_of_all_nodes_are_those_of_each() -> None:
    edges, X = of_all(KITE), RNG.standard_normal((5, 3))
    Z = RNG.standard_normal((len(KITE.edges), 3))
    each = [of_one(KITE, i) for i in range(5)]
    assert np.array_equal(edges.each(X), below(e.each(x) for e, x in zip(each, X, strict=True)))
    assert edges.total(Z) == pytest.approx(
        np.stack([e.total(z) for e, z in zip(each, parts(Z), strict=True)]), abs=1e-15
    )
    deep = Z.reshape(-1, 3, 1)
    assert np.array_equal(edges.total(deep)[:, :, 0], edges.total(Z))
    assert edges.degree.ravel().tolist() == [e.degree for e in each]


def test_what_is_swapped_and_heard_comes_in_the_same_rows() -> None:
    X, Z = RNG.standard_normal((5, 3)), RNG.standard_normal((len(KITE.edges), 3))
    each = [of_one(KITE, i) for i in range(5)]
    swapped = delivered([e.swap(z.copy()) for e, z in zip(each, parts(Z), strict=True)])
    assert np.array_equal(carried(of_all(KITE).swap(Z)).rows, below(s.rows for s in swapped))
    heard = delivered([e.hear(x) for e, x in zip(each, X, strict=True)])
    assert np.array_equal(carried(of_all(KITE).hear(X)).rows, below(h.rows for h in heard))
    both = delivered([e.swap_all(z.copy(), 2 * z) for e, z in zip(each, parts(Z), strict=True)])
    of_both = carried(of_all(KITE).swap_all(Z, 2 * Z))
    for k, came in enumerate(of_both):
        assert np.array_equal(came.rows, below(b[k].rows for b in both))


def test_a_row_whose_neighbour_was_not_heard_is_named() -> None:
    step = of_one(KITE, 2).swap(np.ones((3, 2)))
    next(step)
    with pytest.raises(StopIteration) as stop:
        step.send({0: np.full(2, 7.0), 3: np.full(2, 9.0)})
    came: Came = stop.value.value
    assert (came.rows[:, 0].tolist(), list(came.missing)) == ([7, 0, 9], [1])


def test_a_node_alone_has_no_edges() -> None:
    alone = from_edges(1, [])
    for edges in (of_one(alone, 0), of_all(alone)):
        assert not edges
        assert edges.total(edges.each(np.ones((1, 2)))).shape[-1] == 2
    assert not of_all(alone).total(np.zeros((0, 2))).any()


def test_networks_without_edge_arrays_are_refused() -> None:
    with pytest.raises(ConfigError, match="node 2 has no neighbour"):
        AllEdges(from_edges(3, [(0, 1)]), np.dtype(float))
    with pytest.raises(ConfigError, match="directed"):
        AllEdges(from_edges(3, [(0, 1), (1, 2), (2, 0)], directed=True), np.dtype(float))
