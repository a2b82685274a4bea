"""Mixing weights: their laws on random graphs, the order of their sums, and their refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.dtypes import dtype_named
from p2pdo.effects import Row
from p2pdo.errors import ConfigError, LocalProtocolError
from p2pdo.graphs import (
    TOPOLOGIES,
    Stochastic,
    Weights,
    check_weights,
    complete,
    default_weights,
    directed_ring,
    exponential,
    from_edges,
    graph_by_name,
    is_symmetric,
    metropolis,
    path,
    push_weights,
    ring,
    star,
    stochastic,
    uniform,
    weights_by_name,
    weights_from_matrix as from_matrix,
)
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.weights import asymmetry, support

DOUBLY = Stochastic.DOUBLY


@st.composite
def connected(draw: st.DrawFn) -> Graph:
    """A random tree with some more links."""
    n = draw(st.integers(1, 12))
    tree = [(draw(st.integers(0, i - 1)), i) for i in range(1, n)]
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1])
    more = draw(st.lists(pairs, max_size=20)) if n > 1 else []
    return from_edges(n, tree + more)


@given(connected())
def test_metropolis_is_symmetric_doubly_stochastic_and_keeps_something(graph: Graph) -> None:
    W = metropolis(graph).to_dense()
    assert np.array_equal(W, W.T)
    np.testing.assert_allclose(W.sum(axis=0), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(W.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (W.diagonal() > 0).all()
    check_weights(metropolis(graph), graph, DOUBLY, symmetric=True)


def named(dtype: str) -> np.dtype[Any]:
    found = dtype_named(dtype)
    assert found is not None, "the tests' environment has ml_dtypes"
    return found


@given(connected())
def test_metropolis_is_its_formula(graph: Graph) -> None:
    W, degree = metropolis(graph).to_dense(), graph.in_degree
    for i, j in graph.edges.tolist():
        assert W[i, j] == 1 / (1 + max(degree[i], degree[j]))
    assert np.count_nonzero(W) == len(graph.edges) + graph.n


@given(connected(), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_row_sums_what_the_dense_row_sums(graph: Graph, metro: bool, seed: int) -> None:
    weights = metropolis(graph) if metro else uniform(graph)
    x = np.random.default_rng(seed).standard_normal((graph.n, 3))
    dense = weights.to_dense() @ x
    for i in range(graph.n):
        row = weights.row(i)
        assert [j for j, _ in row.entries] == sorted({i, *graph.in_neighbors(i)})
        mixed = row.weighted_sum({j: x[j] for j, _ in row.entries})
        np.testing.assert_allclose(mixed, dense[i], rtol=0, atol=1e-14)


@pytest.mark.parametrize("graph", [ring(1), ring(2), ring(9), star(200), complete(70), path(5)])
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "complex128", "int64"]
)
@pytest.mark.parametrize("tail", [(), (4,), (2, 3)])
def test_apply_has_the_bits_of_each_node_s_own_sum(
    graph: Graph, dtype: str, tail: tuple[int, ...]
) -> None:
    weights = metropolis(graph)
    X = (100 * np.random.default_rng(0).standard_normal((graph.n, *tail))).astype(named(dtype))
    mixed = weights.apply(X)
    assert mixed.dtype == (np.float64 if dtype == "int64" else X.dtype)
    for i in range(graph.n):
        row = weights.row(i)
        own = row.weighted_sum({j: np.asarray(X[j]) for j, _ in row.entries})
        assert np.array_equal(mixed[i], np.asarray(own))
    rounding = {"float16": 1e-3, "bfloat16": 4e-3}.get(dtype, 1e-4)
    dense = np.tensordot(weights.to_dense(), X.astype(np.result_type(X.dtype, np.float32)), 1)
    np.testing.assert_allclose(mixed.astype(dense.dtype), dense, rtol=rounding, atol=1e-4)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "complex64", "int16", "bool"]
)
def test_large_arrays_are_summed_with_the_same_bits(dtype: str) -> None:
    rng = np.random.default_rng(1)
    kind = named(dtype)
    summed = (
        np.dtype(np.float32)
        if kind.itemsize == 2 and dtype != "int16"
        else (kind.type(1) * 1.0).dtype
    )
    arrays = [(100 * rng.standard_normal((3, 30_011))).astype(kind) for _ in range(3)]
    arrays.append(np.asfortranarray(arrays[0]))
    for values in (arrays[:3], arrays[1:]):
        entries = tuple(enumerate((0.1, 1 / 3, 17 / 30)))
        expected = np.zeros(values[0].shape, summed)
        for (_, w), v in zip(entries, values, strict=True):
            expected += summed.type(w) * v.astype(summed)
        expected = expected.astype(kind) if summed == np.float32 else expected
        mixed = np.asarray(Row(entries).weighted_sum(dict(enumerate(values))))
        assert mixed.dtype == expected.dtype
        assert mixed.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_mean_of_halves_does_not_shrink(dtype: str, size: int) -> None:
    x = np.full(size, 1.5, named(dtype))
    third = Row(((0, 1 / 3), (1, 1 / 3), (2, 1 / 3)))
    for _ in range(100):  # weights in halves add up to 0.9998 or to 1.002
        x = np.asarray(third.weighted_sum({0: x, 1: x, 2: x}))
    assert x.dtype == named(dtype)
    assert (x == 1.5).all()


def test_apply_leaves_its_argument_alone_and_refuses_another_shape() -> None:
    weights, X = metropolis(ring(3)), np.ones((3, 2))
    X.flags.writeable = False
    np.testing.assert_allclose(weights.apply(X), 1, atol=1e-15)
    for wrong in (np.ones(4), np.array(1.0)):
        with pytest.raises(LocalProtocolError, match="3 nodes cannot mix"):
            weights.apply(wrong)


@pytest.mark.parametrize("graph", [directed_ring(1), directed_ring(2), directed_ring(7)])
def test_uniform_weights_of_a_directed_ring_are_doubly_stochastic(graph: Graph) -> None:
    weights = uniform(graph)
    assert stochastic(weights) == DOUBLY
    check_weights(weights, graph, DOUBLY)


def test_uniform_weights_of_exponential_are_doubly_stochastic() -> None:
    assert stochastic(uniform(exponential(11))) == DOUBLY


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("n", [1, 2, 8])
def test_the_default_weights_of_every_topology_are_accepted(name: str, n: int) -> None:
    graph = graph_by_name(name, n, np.random.default_rng(0))
    check_weights(default_weights(graph), graph, Stochastic.ROW, symmetric=not graph.directed)


def test_the_default_is_metropolis_on_undirected_and_uniform_on_directed_graphs() -> None:
    assert default_weights(star(4)) == metropolis(star(4))
    assert default_weights(directed_ring(4)) == uniform(directed_ring(4))
    assert weights_by_name("metropolis", star(4)) == metropolis(star(4))
    assert weights_by_name("uniform", star(4)) == uniform(star(4))


def test_the_weights_of_a_star_are_known() -> None:
    W = metropolis(star(4)).to_dense()
    quarter = [[0.25] * 4, *([0.25, *(0.75 * (i == j) for j in range(1, 4))] for i in range(1, 4))]
    np.testing.assert_allclose(W, quarter, rtol=0, atol=1e-15)


def test_self_is_in_the_row_even_with_weight_zero() -> None:
    weights = from_matrix([[0, 1], [1, 0]])
    assert weights.row(0).entries == ((0, 0.0), (1, 1.0))
    assert weights.row(1).entries == ((0, 1.0), (1, 0.0))


def test_a_matrix_comes_back_and_its_support_is_its_graph() -> None:
    W = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]])
    weights = from_matrix(W)
    assert np.array_equal(weights.to_dense(), W)
    assert support(weights) == from_edges(3, [(1, 0), (2, 1), (0, 2)], directed=True)
    assert support(metropolis(star(5))) == star(5)


def test_the_digest_is_of_the_content() -> None:
    W = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert from_matrix([[-0.0, 1], [1, -0.0]]).digest() == from_matrix(W).digest()
    assert from_matrix(W).digest() != metropolis(ring(2)).digest()
    assert len(from_matrix(W).digest()) == 32


def test_equal_weights_are_equal_and_hash_alike() -> None:
    assert metropolis(ring(4)) == metropolis(ring(4))
    assert hash(metropolis(ring(4))) == hash(metropolis(ring(4)))
    assert metropolis(ring(4)) != metropolis(path(4))
    assert metropolis(ring(4)) != "metropolis"


def test_weights_cannot_be_changed() -> None:
    weights = metropolis(ring(4))
    with pytest.raises(ValueError, match="read-only"):
        weights.data[0] = 1


@pytest.mark.parametrize(
    ("W", "sums"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], Stochastic.DOUBLY),
        ([[0.5, 0.5], [0.2, 0.8]], Stochastic.ROW),
        ([[0.5, 0.2], [0.5, 0.8]], Stochastic.COLUMN),
        ([[0.5, 0.2], [0.2, 0.8]], Stochastic.NONE),
        ([[1 + 1e-12, 0], [0, 1]], Stochastic.DOUBLY),
        ([[1 + 1e-9, 0], [0, 1]], Stochastic.NONE),
    ],
)
def test_the_sums_of_a_matrix_are_recognised(W: list[list[float]], sums: Stochastic) -> None:
    assert stochastic(from_matrix(W)) == sums


def test_symmetry_is_of_numbers_and_of_patterns() -> None:
    assert is_symmetric(metropolis(star(5)))
    assert asymmetry(from_matrix([[1, 0.2], [0.3, 1]])) == (0, 1)
    assert asymmetry(from_matrix([[1, 0, 0], [0, 1, 0.5], [0, 0, 1]])) == (1, 2)
    assert not is_symmetric(uniform(star(5)))


def test_pushed_shares_are_equal_and_column_stochastic_on_every_graph() -> None:
    W = push_weights(LOPSIDED)
    assert stochastic(W) is Stochastic.COLUMN
    assert W.to_dense().tolist() == [[1 / 3, 0, 1 / 2], [1 / 3, 1 / 2, 0], [1 / 3, 1 / 2, 1 / 2]]
    assert push_weights(directed_ring(4)) == uniform(directed_ring(4))
    assert push_weights(from_edges(1, [])).to_dense().tolist() == [[1.0]]


def test_a_directed_graph_is_refused_where_both_ends_must_hear_each_other() -> None:
    check_weights(uniform(star(4)), star(4), Stochastic.NONE, undirected=True)
    graph = directed_ring(4)
    with pytest.raises(ConfigError, match="the graph is directed") as refusal:
        check_weights(uniform(graph), graph, Stochastic.NONE, undirected=True)
    assert "push-pull" in str(refusal.value.hint)


def test_unknown_weights_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown weights 'metropol'") as refusal:
        weights_by_name("metropol", ring(3))
    assert "did you mean 'metropolis'" in str(refusal.value.hint)


def test_metropolis_on_a_directed_graph_is_refused() -> None:
    with pytest.raises(ConfigError, match="need an undirected graph") as refusal:
        metropolis(directed_ring(4))
    assert "--weights uniform" in str(refusal.value.hint)


SKEW = from_matrix([[0.5, 0.5, 0], [0.5, 0.1, 0.4], [0, 0.8, 0.2]])
CHAIN = from_edges(3, [(0, 1), (1, 2)], directed=True)
LOPSIDED = from_edges(3, [(0, 1), (1, 2), (2, 0), (0, 2)], directed=True)
CUT = Weights(
    indptr=np.array([0, 2, 4]), indices=np.array([0, 1, 0, 1]), data=np.array([1.0, 0, 0, 1])
)

REFUSALS = [
    (SKEW, path(3), DOUBLY, "not doubly stochastic: column 1 sums to 1.4", "--weights metropolis"),
    (SKEW, path(3), Stochastic.COLUMN, "not column stochastic: column 1 sums to 1.4", "metropolis"),
    (uniform(LOPSIDED), LOPSIDED, DOUBLY, "not doubly stochastic: column 0", "directed-ring"),
    (from_matrix([[1, 1], [1, 0]]), ring(2), DOUBLY, "doubly stochastic: row 0", "metropolis"),
    (
        from_matrix([[1, 1], [1, 0]]),
        directed_ring(2),
        Stochastic.ROW,
        "not row stochastic: row 0 sums to 2",
        "--weights uniform",
    ),
    (metropolis(ring(4)), ring(5), DOUBLY, "for 4 nodes, the graph has 5", "--nodes 4"),
    (metropolis(ring(4)), path(4), DOUBLY, r"weight \[0\]\[3\] is not zero", r"edge [3, 0]"),
    (
        metropolis(from_edges(4, [(0, 1), (2, 3)])),
        from_edges(4, [(0, 1), (2, 3)]),
        DOUBLY,
        "the graph is not connected: nothing from node 0 reaches node 2",
        "topology such as ring",
    ),
    (uniform(CHAIN), CHAIN, Stochastic.ROW, "strongly connected: nothing from node 1", "node 1 to"),
    (CUT, ring(2), DOUBLY, "with its zero weights the graph is not connected", "from node 0"),
]


@pytest.mark.parametrize(("weights", "graph", "needs", "message", "hint"), REFUSALS)
def test_what_would_not_converge_is_refused_with_reason_and_remedy(
    weights: Weights, graph: Graph, needs: Stochastic, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        check_weights(weights, graph, needs)
    assert hint in str(refusal.value.hint)


@pytest.mark.parametrize(
    ("graph", "remedy"),
    [(path(3), "--weights metropolis"), (LOPSIDED, "an undirected topology")],
)
def test_weights_that_must_be_symmetric_name_the_two_that_differ(graph: Graph, remedy: str) -> None:
    with pytest.raises(ConfigError, match=r"not symmetric: \[0\]\[1\] is .*, \[1\]\[0\] is") as e:
        check_weights(uniform(graph), graph, Stochastic.ROW, symmetric=True)
    assert remedy in str(e.value.hint)


def test_nothing_is_asked_of_sums_that_a_method_does_not_need() -> None:
    check_weights(SKEW, path(3), Stochastic.ROW)
    check_weights(from_matrix([[2, 1], [1, 0]]), ring(2), Stochastic.NONE, symmetric=True)


@pytest.mark.slow
def test_a_hundred_thousand_nodes_mix() -> None:
    graph = ring(100_000)
    weights = metropolis(graph)
    check_weights(weights, graph, DOUBLY, symmetric=True)
    spike = np.zeros((graph.n, 2))
    spike[0] = 3
    assert np.flatnonzero(weights.apply(spike)[:, 0]).tolist() == [0, 1, 99_999]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("topology", ["star", "k-regular:4", "exponential"])
def test_a_large_product_has_the_bits_of_a_nodes_own_sum(topology: str, dtype: Any) -> None:
    pytest.importorskip("scipy")
    graph = graph_by_name(topology, 200, np.random.default_rng(0))
    weights = default_weights(graph)
    X = np.random.default_rng(1).standard_normal((200, 260)).astype(dtype)
    assert weights._is_large(X)
    mixed = weights.apply(X)
    assert mixed.dtype == dtype
    for i in (0, 1, 199):
        alone = weights.row(i).weighted_sum(dict(enumerate(X)))
        assert alone.tobytes() == mixed[i].tobytes()


def test_without_scipy_a_large_product_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_by_name("k-regular:4", 300, np.random.default_rng(0))
    X = np.random.default_rng(1).standard_normal((300, 3, 50))
    expected = default_weights(graph).apply(X)
    monkeypatch.setattr("p2pdo.graphs.sparse.rounds_products", lambda: False)
    assert np.array_equal(default_weights(graph).apply(X), expected)
