"""Who is at work when: rates, chains and turns, one seed one schedule."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.topologies import by_name
from p2pdo.simulation.activation import Schedule, Tick, cyclic, markov, poisson

MANY = 6000


def graph_of(topology: str, n: int = 6) -> Graph:
    return by_name(topology, n, np.random.default_rng(0))


RING, DIRECTED = graph_of("ring"), graph_of("directed-ring")


def first(schedule: Schedule, graph: Graph, count: int = MANY, seed: int = 1) -> list[Tick]:
    return list(islice(schedule.ticks(graph, seed), count))


@pytest.mark.parametrize(
    "schedule",
    [poisson.Nodes(2.0), poisson.Edges(), markov.Edges(0.1, 0.5), cyclic.Nodes(2)],
)
@pytest.mark.parametrize("graph", [RING, DIRECTED], ids=["ring", "directed ring"])
def test_a_schedule_is_its_seeds_and_uses_edges_of_the_graph(
    schedule: Schedule, graph: Graph
) -> None:
    found = first(schedule, graph, 200)
    assert found == first(schedule, graph, 200)
    assert all(a.time <= b.time for a, b in pairwise(found))
    arcs = {(int(i), int(j)) for i, j in graph.edges}
    for tick in found:
        assert set(tick.edges) <= arcs
        assert {i for i, _ in tick.edges} <= set(tick.nodes)
        assert list(tick.nodes) == sorted(set(tick.nodes))
    if not isinstance(schedule, cyclic.Nodes):
        assert found != first(schedule, graph, 200, seed=2)


def test_poisson_clocks_ring_at_their_rates() -> None:
    found = first(poisson.Nodes(2.0, {3: 8.0}), RING)
    woken = Counter(node for tick in found for node in tick.nodes)
    span = found[-1].time
    for node in range(6):
        assert woken[node] / span == pytest.approx(8.0 if node == 3 else 2.0, rel=0.15)
    times = [tick.time for tick in found if tick.nodes == (0,)]
    gaps = np.diff(times)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15), "as of an exponential"


def test_another_nodes_rate_does_not_move_a_clock() -> None:
    ways = [poisson.Nodes(1.0), poisson.Nodes(1.0, {3: 50.0})]
    found = [[t.time for t in first(way, RING) if t.nodes == (0,)] for way in ways]
    assert found[1] == found[0][: len(found[1])] != []


def test_a_node_that_never_wakes_is_left_out() -> None:
    assert {t.nodes for t in first(poisson.Nodes(0.0, {2: 1.0}), RING, 50)} == {(2,)}


def test_an_edge_is_used_both_ways_and_an_arc_one_way() -> None:
    assert all(tick.edges[0] == tick.edges[1][::-1] for tick in first(poisson.Edges(), RING, 99))
    assert all(len(tick.edges) == 1 for tick in first(poisson.Edges(), DIRECTED, 99))


@pytest.mark.parametrize(("fails", "recovers"), [(0.1, 0.4), (0.5, 0.5), (0.0, 1.0)])
def test_edges_are_up_as_often_and_as_long_as_their_chain_says(
    fails: float, recovers: float
) -> None:
    found = first(markov.Edges(fails, recovers), RING)
    up = np.array([(0, 1) in tick.edges for tick in found])
    assert up.mean() == pytest.approx(recovers / (fails + recovers), abs=0.04)
    if fails:
        failed = np.count_nonzero(up[:-1] & ~up[1:]) / np.count_nonzero(up[:-1])
        assert failed == pytest.approx(fails, abs=0.04)


def test_turns_go_round() -> None:
    assert [t.nodes for t in first(cyclic.Nodes(), RING, 7)] == [(k % 6,) for k in range(7)]
    pairs = [t.nodes for t in first(cyclic.Nodes(4), RING, 3)]
    assert pairs == [(0, 1, 2, 3), (0, 1, 4, 5), (2, 3, 4, 5)]
    assert first(cyclic.Nodes(99), RING, 1)[0].nodes == tuple(range(6))


def test_what_is_no_schedule_is_refused() -> None:
    for make in (
        lambda: markov.Edges(1.5, 0.5),
        lambda: markov.Edges(0.5, 0.0),
        lambda: cyclic.Nodes(0),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.hint
