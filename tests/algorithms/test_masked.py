"""Averages under masks: exact for all, and hidden from those who do not know a mask."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import MaskedConsensus
from p2pdo.algorithms.masked import agreed, uniform
from p2pdo.errors import P2pdoError
from p2pdo.problems import PrivateDistance, Secret, fresh_secret
from p2pdo.protocol.plan import Plan
from p2pdo.testing.laws.networks import Network
from p2pdo.testing.laws.settings import iterates
from p2pdo.types import Array

NODES, D = 6, 3
POINTS = np.random.default_rng(4).standard_normal((NODES, D))


def costs(points: Array = POINTS) -> list[PrivateDistance]:
    return [PrivateDistance(c, secret=fresh_secret()) for c in points]


def test_all_nodes_have_the_mean_of_numbers_that_each_brought_itself() -> None:
    result = p2pdo.run(costs(), "masked-consensus", topology="ring", rounds=300, on="dense")
    mean = POINTS.mean(axis=0)
    assert np.abs(result.states - mean).max() < 1e-11
    assert result.summary.gap is None


def test_it_crosses_to_processes_with_the_same_bits() -> None:
    private, how = costs(), {"topology": "ring", "rounds": 5}
    bits = {
        p2pdo.run(private, "masked-consensus", on=on, **how).summary.state_sha256  # type: ignore[arg-type]
        for on in ("dense", "processes")
    }
    assert len(bits) == 1


def test_neighbours_draw_the_same_mask_and_others_another() -> None:
    a, b, c = (bytes([k]) * 32 for k in range(3))
    assert agreed(a, b) == agreed(b, a) != agreed(a, c)
    mask = uniform(agreed(a, b), 100_000)
    assert mask.min() >= -1
    assert mask.max() < 1
    assert np.histogram(mask, 10)[0] / 1e4 == pytest.approx(np.ones(10), abs=0.05)
    assert len({*mask.tolist()}) == len(mask)


def test_what_leaves_a_node_looks_alike_whoever_of_two_has_the_larger_number() -> None:
    # All that others see of nodes 0 and 1 is a function of what these two mix first. Whoever knows
    # every mask but theirs can take the others off, and sees x₀ + s and x₁ − s.
    spread, delta = 8.0, 1.0
    seen = np.array([[left(0.0, 0.0, spread), left(delta, -delta, spread)] for _ in range(4000)])
    sums = seen.sum(axis=-1)
    assert np.abs(sums).max() < 1e-12, "the sum is told, and is the same"
    thresholds = np.linspace(-spread, spread, 33)
    shares = (seen[:, :, 0, None] < thresholds).mean(axis=0)
    apart = np.abs(shares[0] - shares[1]).max()
    assert apart < delta / (2 * spread) + 4 / np.sqrt(len(seen))


def left(first: float, second: float, spread: float) -> list[float]:
    """What two neighbours mix first."""
    network = Network("ring", 2)
    points = np.array([[first], [second]])
    where = (costs(points), network.graph, network.weights, list(points))
    *_, states = iterates(Plan(MaskedConsensus(spread), *where, rounds=1))
    return [float(state.x[0]) for state in states]


def test_where_everybody_knows_the_seeds_it_is_refused() -> None:
    with pytest.raises(P2pdoError, match="lacks private_rng") as caught:
        p2pdo.run("averaging", "masked-consensus", nodes=3, topology="ring", rounds=2, on="dense")
    assert "PrivateDistance" in str(caught.value.hint)


def test_the_cost_shows_neither_its_numbers_nor_its_secret() -> None:
    (cost, *_) = costs()
    assert isinstance(cost, Secret)
    assert cost.secret not in repr(cost)
    assert not any(str(number)[:6] in repr(cost) for number in cost.c)
