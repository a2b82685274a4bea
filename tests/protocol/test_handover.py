"""Seats in one memory: values go over exactly once and in order, and no wait is in vain.

Random networks are played to the end with the ready taken in a random order; an independent count
says what each must have received.
"""

from __future__ import annotations

import numpy as np
import pytest

from p2pdo.effects import Row
from p2pdo.errors import RemoteProtocolError
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.handover import Seat, seats_of
from p2pdo.protocol.rounds import WINDOW


def seats_on(graph: Graph) -> list[Seat]:
    return seats_of(
        [
            Place(i, f"node-{i}", graph.in_neighbors(i), graph.out_neighbors(i), Row(()))
            for i in range(graph.n)
        ]
    )


def random_graph(rng: np.random.Generator) -> Graph:
    n = int(rng.integers(1, 8))
    arcs = {(a, b) for a, b in rng.integers(0, n, (12, 2)).tolist() if a != b}
    return from_edges(n, sorted(arcs), directed=bool(rng.integers(2)))


def sent(node: int, k: int, exchanges: int = 1) -> Outgoing:
    """The k-th of a node that makes so many exchanges an iteration."""
    tag = Tag(k // exchanges, k % exchanges, EffectKind.EXCHANGE)
    return Outgoing(tag, (float(node), float(k)))


def play(graph: Graph, rng: np.random.Generator, rounds: int, odd: dict[int, int]) -> int:
    """Every node makes its exchanges, `odd` ones another number; the most that anyone was ahead."""
    seats = seats_on(graph)
    exchanges = [odd.get(i, 1) for i in range(graph.n)]
    done = [0] * graph.n
    ready: list[Seat] = []
    ahead = 0
    for seat in seats:
        ready += seat.send(sent(seat.node, 0, exchanges[seat.node]))
    while ready:
        seat = ready.pop(int(rng.integers(len(ready))))
        i = seat.node
        inbox, others = seat.take()
        assert inbox == {j: (float(j), float(done[i])) for j in graph.in_neighbors(i)}
        done[i] += 1
        ready += others
        if done[i] < rounds * exchanges[i]:
            ready += seat.send(sent(i, done[i], exchanges[i]))
        else:
            seat.finish()
        ahead = max([ahead, *(done[i] - done[j] for j in graph.out_neighbors(i))])
    assert done == [rounds * exchanges[i] for i in range(graph.n)], "somebody waits in vain"
    return ahead


@pytest.mark.parametrize("seed", range(60))
def test_on_any_graph_in_any_order_each_value_goes_over_once_and_in_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert play(random_graph(rng), rng, 20, {}) <= WINDOW


def test_who_is_only_heard_goes_ahead_as_far_as_there_are_places_and_no_further() -> None:
    seats = seats_on(from_edges(2, [(0, 1)], directed=True))
    assert seats[1].send(sent(1, 0)) == []
    ready = seats[0].send(sent(0, 0))
    assert ready == [seats[1], seats[0]]
    for k in range(1, WINDOW):
        seats[0].take()
        assert seats[0].send(sent(0, k)) == [seats[0]]
    seats[0].take()
    assert seats[0].send(sent(0, WINDOW)) == [], "the first is not taken yet"
    inbox, others = seats[1].take()
    assert inbox == {0: (0.0, 0.0)}
    assert others == [seats[0]]


@pytest.mark.parametrize("seed", range(120))
def test_nodes_that_disagree_on_a_connected_graph_get_an_error_and_never_wait(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    arcs = {(i, (i + 1) % n) for i in range(n)}
    arcs |= {(a, b) for a, b in rng.integers(0, n, (4, 2)).tolist() if a != b}
    graph = from_edges(n, sorted(arcs), directed=bool(rng.integers(2)))
    odd = {int(i): 2 for i in rng.permutation(n)[: int(rng.integers(1, n))]}
    with pytest.raises(RemoteProtocolError, match="disagree on the exchanges of iteration 0"):
        play(graph, rng, 3, odd)


@pytest.mark.parametrize("first", [0, 1])
def test_a_node_that_ends_early_is_told_of_by_whoever_comes_second(first: int) -> None:
    seats = seats_on(by_name("ring", 2, np.random.default_rng(0)))
    happens = [seats[0].finish, lambda: seats[1].send(sent(1, 0))]
    happens[first]()
    with pytest.raises(RemoteProtocolError, match="node-0 has finished, node-1 is at") as caught:
        happens[1 - first]()
    assert (caught.value.node, caught.value.iteration) == ("node-1", 0)


def test_who_waits_for_one_who_never_hears_it_is_told_when_that_one_ends() -> None:
    seats = seats_on(from_edges(2, [(0, 1)], directed=True))
    assert seats[1].send(sent(1, 0)) == []
    with pytest.raises(RemoteProtocolError, match="node-0 has finished, node-1 is at"):
        seats[0].finish()


def test_each_neighbour_takes_what_was_meant_for_it() -> None:
    seats = seats_on(by_name("ring", 3, np.random.default_rng(0)))
    tag = Tag(0, 0, EffectKind.EXCHANGE_EACH)
    for i in range(3):
        seats[i].send(Outgoing(tag, (), {j: (i, j) for j in range(3) if j != i}))
    assert [seat.take()[0] for seat in seats] == [
        {j: (j, i) for j in range(3) if j != i} for i in range(3)
    ]
