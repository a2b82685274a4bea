"""Asynchronous runs under schedules: who wakes, what is carried, and that the books balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import AsynchronousConsensus, RandomizedGossip, RobustPushSum
from p2pdo.algorithms.asynchronous import AsynchronousAlgorithm
from p2pdo.errors import ConfigError
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.simulation.activation import cyclic, markov, poisson
from p2pdo.simulation.activation.reading import read_activation
from p2pdo.simulation.asynchronous import Event, Hazards, run_asynchronous

N, ROUNDS = 6, 120
SCHEDULES = [
    "poisson:rate=2",
    "poisson:3=0.2",
    "markov:fails=0.3,recovers=0.4",
    "cyclic",
    "cyclic:at_once=4",
]


def plan_of(
    activation: str, algorithm: AsynchronousAlgorithm[Any] | None = None
) -> AsynchronousPlan:
    graph = by_name("ring", N, np.random.default_rng(0))
    return AsynchronousPlan(
        algorithm or RobustPushSum(),
        [Quadratic(np.eye(2), np.zeros(2)) for _ in range(N)],
        graph,
        default(graph),
        [np.array([float(i), 1.0]) for i in range(N)],
        ROUNDS,
        ROUNDS,
        asynchrony=Asynchrony(activation=activation),
    )


def played(
    plan: AsynchronousPlan, seed: int = 1, **hazards: float
) -> tuple[list[Report], list[Event], list[float]]:
    events: list[Event] = []
    ledgers: list[float] = []

    def watch(event: Event, members: Sequence[Member[Any]]) -> None:
        events.append(event)
        if len(events) % 50 == 0:
            ledgers.append(max(member.ledger() for member in members))

    judge = Judge(Objective(plan.problems), plan.nodes, None)
    how: Any = {"delay_seed": seed, "watch": watch, "hazards": Hazards(**hazards)}
    return run_asynchronous(plan, judge, lambda _: None, **how), events, ledgers


@pytest.mark.parametrize("activation", SCHEDULES)
def test_push_sum_comes_to_the_mean_and_its_books_balance(activation: str) -> None:
    reports, _, ledgers = played(plan_of(activation), drop=0.2, duplicate=0.2)
    assert len(ledgers) > 10
    assert max(ledgers) < 1e-12
    for report in reports:
        assert report.x == pytest.approx([2.5, 1.0], abs=1e-2)


@pytest.mark.parametrize("activation", SCHEDULES)
@pytest.mark.parametrize("algorithm", [AsynchronousConsensus(), RandomizedGossip()])
def test_others_agree_too(activation: str, algorithm: AsynchronousAlgorithm[Any]) -> None:
    reports, _, _ = played(plan_of(activation, algorithm), delay=0.1)
    states = np.array([report.x for report in reports])
    assert np.ptp(states, axis=0).max() < 1e-2
    assert 0.0 <= states[:, 0].min() <= states[:, 0].max() <= 5.0


@pytest.mark.parametrize("activation", SCHEDULES)
def test_clocks_ring_when_the_schedule_says(activation: str) -> None:
    plan = plan_of(activation)
    _, events, _ = played(plan, seed=4)
    rung = [(event.time, event.node) for event in events if event.what != "arrival"]
    ticks = read_activation(activation, N).ticks(plan.graph, 4)
    due = ((tick.time, node) for tick in ticks for node in tick.nodes)
    expected = [next(due) for _ in rung]
    assert [node for _, node in rung] == [node for _, node in expected]
    assert np.allclose([t for t, _ in rung], [t for t, _ in expected], rtol=1e-12, atol=0)


def test_what_is_sent_over_an_edge_that_is_down_is_lost() -> None:
    """Without delays everything arrives in the round in which it was sent."""
    plan = plan_of("markov:fails=0.5,recovers=0.5")
    _, events, _ = played(plan, delay=0.0)
    ticks = markov.Edges(0.5, 0.5).ticks(plan.graph, 1)
    up: dict[float, tuple[tuple[int, int], ...]] = {}
    arrivals = [event for event in events if event.what == "arrival"]
    while not up or max(up) < arrivals[-1].time:
        tick = next(ticks)
        up[tick.time] = tick.edges
    assert all((event.sender, event.node) in up[event.time] for event in arrivals)
    assert {(event.sender, event.node) for event in arrivals} == {
        arc for edges in up.values() for arc in edges
    }


def test_one_seed_is_one_order() -> None:
    first, again = played(plan_of("poisson:3=0.2"), 1)[1], played(plan_of("poisson:3=0.2"), 1)[1]
    assert first == again != played(plan_of("poisson:3=0.2"), 2)[1]


def test_schedules_as_they_are_written() -> None:
    assert read_activation("poisson", 4) == poisson.Nodes()
    assert read_activation("poisson:rate=2,3=0.1", 4) == poisson.Nodes(2.0, {3: 0.1})
    assert read_activation("markov:fails=0.1,recovers=0.5", 4) == markov.Edges(0.1, 0.5)
    assert read_activation("markov:fails=0,recovers=1,every=50ms", 4) == markov.Edges(0, 1, 0.05)
    assert read_activation("cyclic:at_once=2", 4) == cyclic.Nodes(2)
    assert read_activation("cyclic:at_once=4, every=0.5", 4) == cyclic.Nodes(4, 0.5)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("markow:fails=0.1", "'markow' is no activation"),
        ("poisson:rate=0", "a rate must be positive"),
        ("poisson:rate=nan", "a rate must be positive"),
        ("poisson:4=1", "neither 'rate' nor one of 4 nodes"),
        ("poisson:rate", "'rate' in 'poisson:rate' is not of the form NAME=NUMBER"),
        ("markov:fails=0.1", "both fail and recover"),
        ("markov:fails=2,recovers=0.5", "fails is a probability, got 2"),
        ("markov:fails=0.5,recovers=nan", "recovers is a probability, got nan"),
        ("markov:fails=0.5,recovers=0", "gone for ever"),
        ("markov:fails=0.5,recovers=0.5,every=0", "every is a time between two of them"),
        ("poisson:", "'' in 'poisson:' is not of the form NAME=NUMBER"),
        ("poisson:rate=1,", "'' in 'poisson:rate=1,' is not of the form NAME=NUMBER"),
        ("poisson:rate=1,rate=2", "says 'rate' twice"),
        ("poisson:every=1s", "'every' is neither 'rate' nor one of 4 nodes"),
        ("cyclic:every=5 days", "is not of the form every=50ms"),
        ("cyclic:at_once=5", "at_once is a number of nodes from 1 to 4, got 5"),
        ("markov:fail=1", "there is no 'fail'"),
        ("cyclic:at_once=1.5", "at_once is a number of nodes"),
        ("cyclic:at_once=0", "at_once is a number of nodes from 1 to 4, got 0"),
    ],
)
def test_what_is_written_wrong_is_told(written: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        read_activation(written, 4)
