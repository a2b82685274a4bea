"""Byzantine nodes: honest ones stay in the hull of honest starts, up to the breakdown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import ClippedGossip, Consensus, MedianConsensus, TrimmedMean
from p2pdo.algorithms.consensus import ConsensusState
from p2pdo.effects import Here, Step, exchange, mix
from p2pdo.testing.laws import settings
from p2pdo.testing.laws.networks import Network
from p2pdo.types import Array

N, ROUNDS = 7, 60


def lying(cls: type[Any], liars: set[int]) -> type[Any]:
    """The method, with nodes that send nonsense in the place of their x, another one each time."""

    class Lying(cls):  # type: ignore[misc]
        def step(self, s: ConsensusState, problem: Any, here: Here) -> Step[ConsensusState]:
            if here.node not in liars:
                return (yield from super().step(s, problem, here))
            size = 10.0 ** here.rng.integers(-3, 9)
            nonsense = size * (1 + here.rng.random(len(s.x)))
            yield from mix(nonsense) if cls is Consensus else exchange(nonsense)
            return s

    return Lying


def honest(algorithm: Any, liars: set[int]) -> list[Array]:
    """The honest nodes' X of shape (honest, d) at every iteration on a complete graph."""
    setting = settings.Setting(Network("complete", N), "quadratic")
    plan = setting.plan(algorithm, ROUNDS)
    assert len(plan.starts) == N
    rows = [i for i in range(N) if i not in liars]
    return [settings.decisions(states)[rows] for states in settings.iterates(replace(plan, seed=9))]


def leaves_the_hull(iterates: list[Array]) -> bool:
    lowest, highest = iterates[0].min(axis=0) - 1e-12, iterates[0].max(axis=0) + 1e-12
    return not all(((lowest <= X) & (highest >= X)).all() for X in iterates)


def spread(X: Array) -> float:
    return float(np.ptp(X, axis=0).max())


def test_a_liar_moves_whoever_mixes() -> None:
    assert leaves_the_hull(honest(lying(Consensus, {2})(), {2}))


@pytest.mark.parametrize("liars", [{2}, {0, 6}, {1, 3, 4}])
def test_fewer_than_half_cannot_move_the_median_out_of_the_honest_hull(liars: set[int]) -> None:
    found = honest(lying(MedianConsensus, liars)(), liars)
    assert not leaves_the_hull(found)
    assert spread(found[-1]) == 0, "all hear the same values"


@pytest.mark.parametrize(("trim", "liars"), [(1, {2}), (2, {0, 6}), (2, {5})])
def test_as_many_liars_as_are_trimmed_leave_the_honest_nodes_in_their_hull_and_agreeing(
    trim: int, liars: set[int]
) -> None:
    found = honest(lying(TrimmedMean, liars)(trim), liars)
    assert not leaves_the_hull(found)
    assert spread(found[-1]) < 1e-9


def test_beyond_the_breakdown_the_hull_is_left() -> None:
    assert leaves_the_hull(honest(lying(MedianConsensus, {0, 1, 2, 3})(), {0, 1, 2, 3}))
    assert leaves_the_hull(honest(lying(TrimmedMean, {0, 1})(1), {0, 1}))


def test_a_liar_moves_a_clipping_node_by_no_more_than_its_weight_times_the_radius() -> None:
    radius, liars = 0.05, {2, 5}
    found = honest(lying(ClippedGossip, liars)(radius), liars)
    means = np.stack([X.mean(axis=0) for X in found])
    moves = np.linalg.norm(np.diff(means, axis=0), axis=1)
    assert 0 < moves.max() <= len(liars) / N * radius + 1e-12


def test_without_liars_clipping_keeps_the_mean() -> None:
    found = honest(ClippedGossip(0.05), set())
    assert max(np.abs(X.mean(axis=0) - found[0].mean(axis=0)).max() for X in found) < 1e-14
