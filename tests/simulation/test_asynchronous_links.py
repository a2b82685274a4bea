"""Asynchronous nodes on simulated links: their limit, and times that one can work out."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import AsySonata, RobustPushSum
from p2pdo.algorithms.asynchronous import ASYNCHRONOUS, AsynchronousAlgorithm
from p2pdo.algorithms.base import Limit
from p2pdo.algorithms.catalogue import build
from p2pdo.errors import LinkLost
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.protocol.drops import Drops, bursts, uniform
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.simulation.inprocess import Simulation
from p2pdo.simulation.links.compute import ComputeTime, Slow
from p2pdo.simulation.links.conditions import Conditions
from p2pdo.simulation.links.delay import Constant, LogNormal
from p2pdo.simulation.links.measured import Measured
from p2pdo.simulation.links.silences import Crash, Freeze, Partition
from p2pdo.simulation.links.weather import Weather

N = 6


def plan_of(
    algorithm: AsynchronousAlgorithm[Any] | None = None,
    rounds: int = 100,
    *,
    topology: str = "ring",
    observe_every: int = 10,
    tol: float | None = None,
    drops: Drops | None = None,
    **asynchrony: Any,
) -> AsynchronousPlan:
    rng = np.random.default_rng(1)
    graph = by_name(topology, N, rng)
    return AsynchronousPlan(
        algorithm or RobustPushSum(),
        [Quadratic(np.eye(2) * (1 + i % 2), rng.standard_normal(2)) for i in range(N)],
        graph,
        default(graph),
        [np.full(2, float(i)) for i in range(N)],
        rounds,
        observe_every,
        tol,
        drops=drops,
        monitor_every=1,
        asynchrony=Asynchrony(**asynchrony),
    )


def run(
    plan: AsynchronousPlan, conditions: Conditions, seed: int = 0, told: list[Any] | None = None
) -> tuple[Simulation, list[Report]]:
    simulation = Simulation(seed, conditions)
    judge = Judge(Objective(plan.problems), plan.nodes, plan.tol)
    tell = (lambda _: None) if told is None else told.append
    return simulation, simulation.run(plan, judge, tell)


def constant(seconds: float, **more: Any) -> Conditions:
    return Conditions(Weather(Constant(seconds)), **more)


def pace(conditions: Conditions, seed: int = 0, **how: Any) -> float:
    """Simulated seconds for a wake-up of each node, without the beginning."""
    few, many = (run(plan_of(rounds=k, **how), conditions, seed)[0].seconds for k in (40, 140))
    return (many - few) / 100


# ---- how long ----


def test_a_wake_up_takes_a_links_delay_and_its_computing() -> None:
    assert pace(constant(0.02)) == pytest.approx(0.02, rel=1e-2)
    compute = ComputeTime((0.005,))
    assert pace(constant(0.02, compute=compute)) == pytest.approx(0.025, rel=1e-2)


def test_who_is_always_slow_sets_the_pace_whatever_the_staleness() -> None:
    compute = ComputeTime((0.005,), slow=[Slow((2,), 20.0)])
    for most in (4, 16):
        found = pace(constant(0.02, compute=compute), max_staleness=most)
        assert found == pytest.approx(0.1, rel=0.05)


def test_who_pauses_now_and_then_holds_up_nobody_that_may_be_far_enough_ahead() -> None:
    """One in twenty wake-ups takes 200 ms instead of 10: on average a node computes for 19.5."""
    compute = ComputeTime((0.01,), slow=[Slow(tuple(range(N)), 20.0, 0.05)])
    bound, far = (pace(constant(0.001, compute=compute), max_staleness=most) for most in (1, 64))
    assert far < 0.75 * bound
    assert far == pytest.approx(0.0195, rel=0.5)


@pytest.mark.parametrize(("most", "expected"), [(1, 0.1), (2, 0.05), (32, 0.04)])
def test_a_slow_link_delays_news_and_its_ends_go_on_until_these_are_too_old(
    most: int, expected: float
) -> None:
    """At last they wake at each second message of the neighbour that is not behind that link."""
    slow = {(0, 1): Weather(Constant(0.1)), (1, 0): Weather(Constant(0.1))}
    found = pace(constant(0.02, edges=slow), max_staleness=most)
    assert found == pytest.approx(expected, rel=0.02)


def test_bandwidth_makes_large_messages_late() -> None:
    wide = Conditions(Weather(Constant(0.01), bandwidth=1e6))
    thin = Conditions(Weather(Constant(0.01), bandwidth=1e4))
    assert pace(wide) == pytest.approx(0.01, rel=0.1)
    assert pace(thin) > 0.02


def test_measured_delays_are_those_of_the_matrix() -> None:
    matrix = np.full((N, N), 0.03)
    assert pace(Conditions(Weather(Measured(matrix)))) == pytest.approx(0.03, rel=1e-2)


def test_clocks_ring_in_seconds() -> None:
    turns, _ = run(plan_of(activation="cyclic:every=50ms"), constant(0.001))
    assert turns.seconds == pytest.approx(0.05 * (100 * N - 1), abs=0.01)
    some, _ = run(plan_of(activation="cyclic:at_once=3,every=50ms"), constant(0.001))
    assert some.seconds == pytest.approx(0.05 * (100 * 2 - 1), abs=0.01)
    slow, _ = run(plan_of(activation="poisson:rate=40,4=10"), constant(0.001))
    assert slow.seconds == pytest.approx(100 / 10, rel=0.3)


def test_an_observation_is_made_when_the_last_node_has_got_there() -> None:
    told: list[Judgement] = []
    simulation, _ = run(plan_of(), constant(0.02), told=told)
    times = [one.simulated_seconds for one in told]
    assert times == sorted(times)  # type: ignore[type-var]
    assert times[-1] == simulation.seconds


# ---- the limit, whatever happens ----

ROUGH = Conditions(
    Weather(LogNormal(0.02, 0.8), 1e6, 0.05, 0.05, 0.1, 0.1, 0.005, 0.3),
    compute=ComputeTime((0.003,), 0.3, [Slow((1,), 5.0, 0.3)]),
    freezes=[Freeze((0, 3), 0.3, every=4.0)],
    partitions=[Partition((0, 1), 1.0, 0.5)],
    crashes=[Crash((2, 4), 2.0, 1.5)],
)


def is_reached(algorithm: AsynchronousAlgorithm[Any], plan: AsynchronousPlan, X: Any) -> bool:
    starts = np.stack(plan.starts)
    match algorithm.limit:
        case Limit.MEAN:
            return bool(np.abs(X - starts.mean(axis=0)).max() < 5e-3)
        case Limit.ONE_VALUE:
            inside = starts.min() <= X.min() <= X.max() <= starts.max()
            return bool(inside and np.ptp(X, axis=0).max() < 1e-6)
        case limit:
            minimiser = Objective(plan.problems).minimiser
            if limit is Limit.NEAR_OPTIMUM:  # by its mean: where each is, is random
                return bool(np.linalg.norm(X.mean(axis=0) - minimiser) < 0.4)
            return bool(np.linalg.norm(X - minimiser, axis=1).max() < 0.05)


LOSING: dict[str, dict[str, Any]] = {
    "all of it": {},
    "and messages lost": {"drops": uniform(0.2, 3)},
    "and in bursts": {"drops": bursts(0.2, 5, 3)},
    "and clocks": {"activation": "poisson:rate=50,2=20", "drops": uniform(0.1, 3)},
    "and edges that come and go": {"activation": "markov:fails=0.2,recovers=0.5,every=20ms"},
}
QUICK, SLOW = [*LOSING][:2], [*LOSING][2:]


@pytest.mark.parametrize("name", ASYNCHRONOUS)
@pytest.mark.parametrize(
    "how", [*QUICK, *(pytest.param(how, marks=pytest.mark.slow) for how in SLOW)]
)
def test_every_method_reaches_its_limit_and_every_ledger_balances(name: str, how: str) -> None:
    share = 0.05 if name == "ad-psgd" else 0.3
    algorithm: AsynchronousAlgorithm[Any] = build(ASYNCHRONOUS[name], {}, 2.0, share)
    plan = plan_of(algorithm, 300, observe_every=300, **LOSING[how])
    simulation, reports = run(plan, ROUGH)
    assert is_reached(algorithm, plan, np.stack([report.x for report in reports]))
    assert simulation.traffic.cuts > 0 < simulation.traffic.lost
    dropped = sum(report.dropped for report in reports)
    come = sum(report.messages_sent for report in reports)
    expected = 0.0 if plan.drops is None else plan.drops.rate
    assert dropped == pytest.approx(expected * come, rel=0.35)


@pytest.mark.parametrize("most", [1, 100])
def test_a_tolerance_is_found_where_messages_are_lost(most: int) -> None:
    """Nodes that wait for a verdict, or have no more wake-ups, say again what others need."""
    plan = plan_of(
        AsySonata(0.1),
        3000,
        observe_every=1,
        tol=1e-5,
        drops=uniform(0.3, 1),
        max_staleness=most,
    )
    told: list[Judgement] = []
    run(plan, constant(0.01), told=told)
    assert [one.stop for one in told] == [False] * (len(told) - 1) + [True]
    assert max(told[-1].gap or 0, told[-1].consensus_error) <= 1e-5


def test_a_tolerance_that_is_not_found_ends_at_the_limit() -> None:
    plan = plan_of(AsySonata(1e-6), 30, tol=1e-9, drops=uniform(0.5, 1))
    _, reports = run(plan, constant(0.01))
    assert [report.iteration for report in reports] == [30] * N


# ---- silences ----


def test_a_crash_costs_its_time_and_one_beyond_the_grace_the_run() -> None:
    calm, _ = run(plan_of(), constant(0.02))
    gone = constant(0.02, crashes=[Crash((2,), 0.5, 3.0)])
    crashed, reports = run(plan_of(), gone)
    assert crashed.seconds == pytest.approx(calm.seconds + 3.0, rel=0.15)
    assert crashed.traffic.cuts == 2
    assert max(abs(report.x - 2.5).max() for report in reports) < 1e-6
    with pytest.raises(LinkLost, match="it crashed, and was gone for 8 s"):
        run(plan_of(), constant(0.02, crashes=[Crash((2,), 0.5, 9.0)]))


def test_who_has_crashed_does_not_wake_by_its_clock() -> None:
    plan = plan_of(rounds=20, activation="poisson:rate=20", max_staleness=1000)
    found, _ = run(plan, constant(0.001, crashes=[Crash((3,), 0.01, 5.0)]))
    assert found.seconds > 5.0


def test_a_frozen_node_and_a_partition_cost_their_time() -> None:
    calm, _ = run(plan_of(), constant(0.02))
    frozen, _ = run(plan_of(), constant(0.02, freezes=[Freeze((1,), 2.0, 0.5)]))
    assert frozen.seconds == pytest.approx(calm.seconds + 2.0, rel=0.15)
    parted, _ = run(plan_of(), constant(0.02, partitions=[Partition((0, 1, 2), 0.5, 2.0)]))
    assert parted.seconds == pytest.approx(calm.seconds + 2.0, rel=0.15)
    with pytest.raises(LinkLost, match="the coordinator gives it up"):
        run(plan_of(), constant(0.02, freezes=[Freeze((1,), 12.0, 0.5)]))


# ---- one seed, one trace ----

TRACE = """
    import asyncio, hashlib, sys
    sys.path.insert(0, {folder!r})
    import test_asynchronous_links as t
    from p2pdo.simulation import inprocess, network

    trace = hashlib.sha256()

    class Traced(network.SimulatedNetwork):
        def deliver(self, sender, receiver, frame):
            now = asyncio.get_running_loop().time()
            trace.update(repr((now, sender, receiver, frame)).encode())
            super().deliver(sender, receiver, frame)

    inprocess.SimulatedNetwork = Traced
    for seed in (1, 2):
        for how in t.LOSING.values():
            found, reports = t.run(t.plan_of(t.AsySonata(0.1), 25, **how), t.ROUGH, seed)
            trace.update(repr((found.seconds, found.computing, found.traffic)).encode())
            trace.update(b"".join(report.x.tobytes() for report in reports))
        print(trace.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_seed_is_one_trace_whatever_the_hash_seed() -> None:
    script = textwrap.dedent(TRACE).format(folder=str(Path(__file__).parent))
    traces = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        ).stdout.split()
        for hash_seed in ("1", "4711")
    ]
    assert traces[0] == traces[1]
    assert traces[0][0] != traces[0][1], "another seed is another trace"


# ---- as users ask for it ----


def test_the_summary_tells_the_time_and_what_took_place() -> None:
    links: Any = {
        "links": {"delay": "20ms"},
        "crashes": [
            {"nodes": [1, 2], "at": "500ms", "for": "1s"},
            {"nodes": [3], "at": "1h", "for": "1s"},
        ],
        "freezes": [{"nodes": [0], "at": "200ms", "for": "100ms"}],
    }
    told = p2pdo.run(
        "quadratic", "asy-sonata", on="simulated", rounds=100, links=links, compute="measured"
    ).summary.simulated
    assert (told["crashes"], told["freezes"], told["too_late"]) == (2, 1, 1)
    assert "partitions" not in told
    assert 1.5 < told["seconds"] < 4
    assert 0 < told["computing_share"] < 0.5


def test_links_of_one_delay_are_short_for_a_file() -> None:
    how: Any = {"on": "simulated", "rounds": 50}
    for algorithm in ("asy-sonata", "gradient-tracking"):
        short = p2pdo.run("quadratic", algorithm, link_delay="40ms", **how).summary
        long = p2pdo.run("quadratic", algorithm, links={"links": {"delay": "40ms"}}, **how).summary
        assert short.simulated == long.simulated
        assert short.state_sha256 == long.state_sha256
        assert short.simulated["seconds"] == pytest.approx(50 * 0.04, rel=0.1)
