"""Which values never arrive: how many, in which bursts, and always the same ones."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest

from p2pdo.effects import Exchange, ExchangeEach, Mix, Row
from p2pdo.errors import ConfigError, LocalProtocolError
from p2pdo.protocol.asking import Asking
from p2pdo.protocol.drops import BLOCK, Drops, bursts, uniform
from p2pdo.protocol.exchanging import Place
from p2pdo.types import Array

SENDERS = (1, 4, 6)
MANY = 40 * BLOCK


def arrived(drops: Drops, iterations: int = MANY, phase: int = 0, node: int = 0) -> Array:
    """Whether a sender's value arrived, of shape (iterations, senders)."""
    arrivals = drops.at(node, SENDERS)
    return np.array([[j in arrivals.of(k, phase) for j in SENDERS] for k in range(iterations)])


@pytest.mark.parametrize("drops", [uniform(0.1), bursts(0.1, 5), Drops(0.05, 0.8, 0.02, 0.28)])
def test_the_share_that_is_lost_is_the_rate_on_every_edge(drops: Drops) -> None:
    lost = 1 - arrived(drops).mean(axis=0)
    np.testing.assert_allclose(lost, 0.1, atol=0.02)
    assert drops.rate == pytest.approx(0.1)


@pytest.mark.parametrize(("drops", "length"), [(uniform(0.1), 1 / 0.9), (bursts(0.1, 8), 8)])
def test_bursts_have_their_length(drops: Drops, length: float) -> None:
    for edge in arrived(drops).T:
        runs = [len(list(run)) for is_here, run in groupby(edge) if not is_here]
        assert np.mean(runs) == pytest.approx(length, rel=0.2)


def test_edges_exchanges_receivers_and_seeds_lose_independently() -> None:
    ways = [
        *arrived(uniform(0.5, 1)).T,
        arrived(uniform(0.5, 1), phase=1)[:, 0],
        arrived(uniform(0.5, 1), node=2)[:, 0],
        arrived(uniform(0.5, 2))[:, 0],
    ]
    correlations = np.corrcoef(np.array(ways, float)) - np.eye(len(ways))
    assert np.abs(correlations).max() < 0.05


@pytest.mark.parametrize("drops", [uniform(0.3), bursts(0.3, 20)])
def test_what_is_lost_depends_on_the_iteration_and_not_on_who_asked_before(drops: Drops) -> None:
    whole = arrived(drops, 4 * BLOCK)
    arrivals = drops.at(0, SENDERS)
    for k in (3 * BLOCK + 5, 7, 2 * BLOCK, 2 * BLOCK + 1, 7):
        assert [j in arrivals.of(k, 0) for j in SENDERS] == list(whole[k])


def test_a_chain_goes_on_from_block_to_block() -> None:
    edge = arrived(Drops(0.0, 1.0, 1e-3, 1e-3, seed=3))[:, 0]
    changes = int(np.count_nonzero(np.diff(edge.astype(int))))
    assert 0 < changes < 4 * MANY * 1e-3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: uniform(1.0), "every value would be lost"),
        (lambda: uniform(-0.1), "the share of values that are lost must lie"),
        (lambda: uniform(float("nan")), "the share of values that are lost must lie"),
        (lambda: Drops(0.0, 1.0, 1.5), "to_bad of a drop must lie"),
        (lambda: bursts(0.6, 1), "no bursts of 1 iterations"),
        (lambda: bursts(0.1, 0.5), "no bursts"),
    ],
)
def test_what_is_no_probability_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make()
    assert "--drop" in str(caught.value.hint)


# ---- at a node ----


def asking(drops: Drops | None) -> Asking:
    row = Row(((0, 0.25), *((j, 0.25) for j in SENDERS)))
    return Asking(Place(0, "node-0", SENDERS, SENDERS, row, drops=drops))


def test_a_node_is_handed_what_has_come_and_counts_the_rest() -> None:
    drops = uniform(0.4, seed=5)
    one, expected, inbox = asking(drops), arrived(drops, 50), {j: float(j) for j in SENDERS}
    for k in range(50):
        one.iteration = k
        effect = Exchange(1.0) if k % 2 else ExchangeEach(inbox)
        one.outgoing(effect)
        came = [j for j, is_here in zip(SENDERS, expected[k], strict=True) if is_here]
        assert one.reply(inbox) == {j: float(j) for j in came}
    assert one.dropped == np.count_nonzero(~expected)


def test_two_exchanges_of_an_iteration_lose_their_own() -> None:
    drops = uniform(0.5, seed=1)
    one, inbox = asking(drops), dict.fromkeys(SENDERS, 1.0)
    found = []
    for k in range(20):
        one.iteration = k
        for _ in range(2):
            one.outgoing(Exchange(1.0))
            found.append([j in one.reply(inbox) for j in SENDERS])
    assert np.array_equal(found[::2], arrived(drops, 20))
    assert np.array_equal(found[1::2], arrived(drops, 20, phase=1))


def test_a_weighted_sum_is_refused_where_values_may_be_missing() -> None:
    with pytest.raises(LocalProtocolError, match="without it a weighted sum means nothing"):
        asking(uniform(0.1)).outgoing(Mix((1.0,)))
    asking(None).outgoing(Mix((1.0,)))
