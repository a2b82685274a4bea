"""Weights that vary: their matrices, their rows, and what is read and refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms.base import Requires
from p2pdo.errors import ConfigError
from p2pdo.graphs import Stochastic, check_weights, graph_by_name, is_symmetric, stochastic
from p2pdo.graphs.files import parse
from p2pdo.graphs.schedules import active_links, cycle, one_peer_exponential, row_from_plain
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.weights import Weights, from_matrix, metropolis, support
from p2pdo.protocol.assignment import resolve_graph

TIME_VARYING = Requires(weights=Stochastic.DOUBLY, time_varying=True)


def matching(n: int = 4) -> Any:
    """Pairs (0,1)(2,3), then (1,2)(3,0): each iteration alone joins nobody else."""
    return {"cycle": [{"edges": [[0, 1], [2, 3]]}, {"edges": [[1, 2], [3, 0]]}]}


@pytest.mark.parametrize("n", [1, 2, 4, 8, 32, 64])
def test_one_peer_exponential_is_exact_after_log2_n_iterations(n: int) -> None:
    weights = one_peer_exponential(n)
    X = np.random.default_rng(0).integers(-8, 8, (n, 3)).astype(float)  # sums without rounding
    exact, iterations = X.mean(axis=0), max(1, n.bit_length() - 1)
    assert len(weights.phases) == iterations
    for k in range(iterations):
        if n > 1:
            assert not (exact == X).all()
        X = weights.at(k).apply(X)
    assert (exact == X).all()
    assert spectrum(weights).iterations_to_1e6 == iterations


@pytest.mark.parametrize("n", [3, 6, 7, 100])
def test_one_peer_exponential_has_one_sender_a_node_for_every_n(n: int) -> None:
    weights = one_peer_exponential(n)
    union = graph_by_name("exponential", n, np.random.default_rng(0))
    assert np.array_equal(support(weights).edges, union.edges)
    for k in range(2 * len(weights.phases)):
        W = weights.at(k)
        assert Stochastic.DOUBLY in stochastic(W)
        sender = (np.arange(n) - 2 ** (k % len(weights.phases))) % n
        assert np.array_equal(W.to_dense(), (np.eye(n) + np.eye(n)[sender]) / 2)


def schedules() -> list[Any]:
    graph = graph_by_name("barbell", 7, np.random.default_rng(0))
    return [one_peer_exponential(6), active_links(graph, 0.4, 3), parse(matching(), 4)[1]]


@pytest.mark.parametrize("which", range(3))
def test_a_nodes_row_is_its_row_of_the_iterations_matrix(which: int) -> None:
    weights = schedules()[which]
    X = np.random.default_rng(1).standard_normal((weights.n, 5))
    for i in range(weights.n):
        row = weights.row(i)
        assert row.varies
        assert row.entries == Weights.row(weights, i).entries
        plain = json.loads(json.dumps([row.entries, row.to_plain()]))
        told = row_from_plain(*plain)
        for k in range(12):
            expected = weights.at(k).apply(X)[i]
            assert row.at(k).weighted_sum(dict(enumerate(X))).tobytes() == expected.tobytes()
            assert told.at(k) == row.at(k)


@pytest.mark.parametrize("which", range(3))
def test_the_schedule_as_one_matrix_is_its_mean(which: int) -> None:
    weights = schedules()[which]
    count = 6 if which != 1 else 4000
    mean = sum(weights.at(k).to_dense() for k in range(count)) / count
    assert np.allclose(mean, weights.to_dense(), atol=1e-15 if which != 1 else 0.02)


def test_active_links_are_symmetric_and_differ_from_one_iteration_to_the_next() -> None:
    graph = graph_by_name("k-regular:4", 200, np.random.default_rng(0))
    weights = active_links(graph, 0.3, 5)
    counts = []
    for k in range(20):
        W = weights.at(k)
        assert is_symmetric(W)
        assert Stochastic.DOUBLY in stochastic(W)
        assert W.data.min() >= 0
        counts.append(len(support(W).links))
    assert np.mean(counts) == pytest.approx(0.3 * 400, rel=0.1)
    assert len(set(counts)) > 5
    assert weights.at(3) == active_links(graph, 0.3, 5).at(3)
    assert weights.at(3) != active_links(graph, 0.3, 6).at(3)
    assert active_links(graph, 1.0, 5).at(0) == metropolis(graph)


def test_a_cycle_is_connected_over_time_though_no_iteration_is() -> None:
    graph, weights, _ = resolve_graph(matching(), None, 4, 0, TIME_VARYING)
    assert graph == graph_by_name("ring", 4, np.random.default_rng(0))
    assert not support(weights.at(0)).is_connected()
    assert spectrum(weights).iterations_to_1e6 == 2  # both halves, then both halves' means


def test_schedules_are_told_apart() -> None:
    a, b = one_peer_exponential(8), cycle(one_peer_exponential(8).phases[::-1])
    assert np.allclose(a.to_dense(), b.to_dense())
    assert a.digest() != b.digest()
    assert a == one_peer_exponential(8)


def test_a_method_for_one_matrix_refuses_many() -> None:
    with pytest.raises(ConfigError, match="vary with the iteration") as caught:
        resolve_graph("one-peer-exponential", None, 8, 0, Requires(weights=Stochastic.DOUBLY))
    assert "gradient-tracking" in str(caught.value.hint)
    resolve_graph("one-peer-exponential", None, 8, 0, TIME_VARYING)


def test_every_iterations_sums_are_checked() -> None:
    right, wrong = np.full((2, 2), 0.5), np.array([[0.5, 0.5], [0.2, 0.8]])
    weights = cycle([from_matrix(right), from_matrix(wrong)])
    with pytest.raises(ConfigError, match=r"column 0 sums to 0\.7"):
        check_weights(weights, support(weights), Stochastic.DOUBLY, time_varying=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"cycle": []}, "must be a list of graphs"),
        ({"cycle": [{"edges": [[0, 1]]}], "nodes": 2}, "stand alone"),
        ({"cycle": [{"cycle": [{"edges": [[0, 1]]}]}]}, "a cycle is within a cycle"),
        ({"cycle": [[[1.0]]]}, "the graph has 1 nodes, the run has 2"),
    ],
)
def test_a_cycle_that_cannot_be_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(data, 2)


@pytest.mark.parametrize("p", [0.0, -1.0, 1.5])
def test_a_probability_that_cannot_be_is_refused(p: float) -> None:
    with pytest.raises(ConfigError, match="must lie in"):
        active_links(graph_by_name("ring", 4, np.random.default_rng(0)), p, 0)
