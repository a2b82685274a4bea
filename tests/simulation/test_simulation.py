"""Simulated links and nodes: the bits never change, and the time is what one can work out."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Consensus, GradientTracking
from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import ALGORITHMS, needs_smoothness
from p2pdo.api.runs import Result
from p2pdo.errors import ConfigError, LinkLost
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems import Lasso, LeastSquares, Quadratic
from p2pdo.protocol.judging import Judge, Objective
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import Simulation
from p2pdo.simulation.links.compute import ComputeTime, Slow
from p2pdo.simulation.links.conditions import Conditions, Patience
from p2pdo.simulation.links.delay import Constant, LogNormal
from p2pdo.simulation.links.silences import Crash, Freeze, Partition
from p2pdo.simulation.links.weather import Weather
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.testing import laws

N, D = 6, 50


def costs(oracle: type[Any]) -> list[Any]:
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((N, 9, 2)), rng.standard_normal((N, 9))
    made: list[list[Any]] = [
        [Quadratic(np.diag([1.0, 2.0 + i % 3]), b[i, :2]) for i in range(N)],
        [LeastSquares(A[i], b[i]) for i in range(N)],
        [Lasso(A[i], b[i], 0.1) for i in range(N)],
    ]
    made += [list(laws.COSTS[name](N).problems) for name in ("coupled", "private")]
    return next(problems for problems in made if isinstance(problems[0], oracle))


def bits(algorithm: str, **how: Any) -> tuple[str | None, Result]:
    problems = costs(ALGORITHMS[algorithm].requires.oracle)
    if needs_smoothness(ALGORITHMS[algorithm], {}) and not hasattr(problems[0], "smoothness"):
        how["parameters"] = {"step_size": 0.1}
    how = {"rounds": 12, "start": "normal", "topology": "complete", **how}
    result = p2pdo.run(problems, algorithm, **how)
    return result.summary.state_sha256, result


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_links_that_lose_a_third_of_all_frames_cost_time_and_no_bit(algorithm: str) -> None:
    clean, _ = bits(algorithm)
    found, result = bits(algorithm, on="simulated", link_loss=0.3)
    assert found == clean
    told = result.summary.simulated
    assert 0.2 * told["frames"] < told["frames_lost"] < 0.7 * told["frames"]
    _, without = bits(algorithm, on="simulated")
    assert told["seconds"] > 2 * without.summary.simulated["seconds"]


# ---- plans in simulated time ----


def plan_of(
    rounds: int, algorithm: Algorithm[Any] | None = None, topology: str = "ring", d: int = D
) -> Plan:
    rng = np.random.default_rng(0)
    problems = [Quadratic(np.eye(d) * (1 + i % 2), rng.standard_normal(d)) for i in range(N)]
    graph = by_name(topology, N, rng)
    starts = [np.full(d, float(i)) for i in range(N)]
    return Plan(algorithm or Consensus(), problems, graph, default(graph), starts, rounds, 5)


def simulated(plan: Plan, conditions: Conditions, seed: int = 0) -> Simulation:
    """Run to the end, with the bits of lock-step."""
    judged = [Judge(Objective(plan.problems), plan.nodes, None) for _ in range(2)]
    simulation = Simulation(seed, conditions)
    reports = simulation.run(plan, judged[0], lambda _: None)
    expected = run_lockstep(plan, judged[1], lambda _: None)
    assert [r.x.tobytes() for r in reports] == [r.x.tobytes() for r in expected]
    return simulation


def pace(conditions: Conditions, **how: Any) -> float:
    """Simulated seconds an iteration, without the beginning."""
    few, many = (simulated(plan_of(k, **how), conditions).seconds for k in (20, 120))
    return (many - few) / 100


def constant(seconds: float, **more: Any) -> Conditions:
    return Conditions(Weather(Constant(seconds)), **more)


def test_an_iteration_takes_a_links_delay() -> None:
    assert pace(constant(0.02)) == pytest.approx(0.02, rel=1e-3)
    assert pace(constant(0.02), topology="directed-ring") == pytest.approx(0.02, rel=1e-3)


def test_the_slowest_link_sets_the_pace_of_all() -> None:
    slow = {(0, 1): Weather(Constant(0.15)), (1, 0): Weather(Constant(0.05))}
    # Who waits 150 ms for a value has sent its own, which takes 50 ms: two iterations a round trip.
    assert pace(constant(0.02, edges=slow)) == pytest.approx(0.1, rel=1e-2)


def test_computing_adds_up_with_the_delay_and_the_slowest_sets_the_pace() -> None:
    assert pace(constant(0.02, compute=ComputeTime((0.005,)))) == pytest.approx(0.025, rel=1e-3)
    medians = tuple(0.001 * (1 + i) for i in range(N))
    # Between nodes 4 and 5 two iterations are one round trip and both of their computing.
    found = pace(constant(0.02, compute=ComputeTime(medians)))
    assert found == pytest.approx((0.005 + 0.006 + 0.04) / 2, rel=1e-3)
    slow = ComputeTime((0.005,), 0.0, [Slow((3,), 10.0)])
    # Node 3 computes for 50 ms; the others' values are there before it is done.
    assert pace(constant(0.02, compute=slow)) == pytest.approx(0.05, rel=1e-3)


def test_an_iteration_of_several_exchanges_is_computed_once() -> None:
    algorithm = ALGORITHMS["aug-dgm"](step_size=0.05)  # type: ignore[call-arg]
    compute = ComputeTime((0.005,))
    assert pace(constant(0.02, compute=compute), algorithm=algorithm) == pytest.approx(
        0.045, rel=1e-3
    )


def test_bandwidth_takes_time_for_every_byte_on_the_link() -> None:
    narrow = Conditions(Weather(Constant(0.0), bandwidth=1e4))
    small, large = pace(narrow, d=10), pace(narrow, d=1010)
    assert large - small == pytest.approx(8 * 1000 / 1e4, rel=0.02)
    assert 0.008 < small < 0.03, "88 bytes around some 110"


def test_values_of_two_sizes_queue_on_one_link_and_not_on_two() -> None:
    narrow = Conditions(Weather(Constant(0.0), bandwidth=1e4))
    assert pace(narrow, topology="complete", d=500) == pytest.approx(pace(narrow, d=500), rel=0.02)


def test_a_frozen_node_holds_up_all_for_as_long_as_it_stands_still() -> None:
    plan = plan_of(60)
    without = simulated(plan, constant(0.02)).seconds
    frozen = simulated(plan, constant(0.02, freezes=[Freeze((2,), 3.0, at=0.5)])).seconds
    assert frozen - without == pytest.approx(3.0, abs=0.05)
    twice = [Freeze((2,), 3.0, at=0.5), Freeze((4,), 2.0, at=1.0)]
    both = simulated(plan, constant(0.02, freezes=twice)).seconds
    assert both == pytest.approx(frozen, abs=0.05), "one stands still while all wait for the other"


def test_freezes_now_and_then() -> None:
    often = constant(0.02, freezes=[Freeze(tuple(range(N)), 0.5, every=5.0)])
    runs = [simulated(plan_of(300), often, seed).seconds for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert min(runs) > 300 * 0.02 + 1.0


def test_a_partition_holds_up_both_parts() -> None:
    plan = plan_of(60)
    without = simulated(plan, constant(0.02)).seconds
    parted = simulated(plan, constant(0.02, partitions=[Partition((0, 1, 2), 0.5, 4.0)]))
    assert parted.seconds - without == pytest.approx(4.0, abs=0.05)
    assert parted.traffic.cuts == 0


def test_a_long_partition_cuts_the_links_and_the_sessions_go_on() -> None:
    parted = simulated(plan_of(60), constant(0.02, partitions=[Partition((0, 1, 2), 0.5, 20.0)]))
    assert parted.traffic.cuts == 2
    assert parted.seconds == pytest.approx(20.0 + 61 * 0.02, abs=0.2)


@pytest.mark.parametrize(
    ("conditions", "says", "at"),
    [
        (
            constant(0.02, partitions=[Partition((0, 1, 2), 0.5, 24.0)]),
            "cut off from each other for 23 s",
            23.5,
        ),
        (constant(0.02, freezes=[Freeze((2,), 11.0, at=0.5)]), "stood still for 10 s", 10.5),
        (constant(0.02, crashes=[Crash((2,), 0.5, 9.0)]), "crashed, and was gone for 8 s", 8.5),
        (constant(0.02, freezes=[Freeze((2,), float("inf"), at=0.5)]), "node-2 in iteration", 10.5),
    ],
)
def test_what_the_product_does_not_bear_ends_the_run_as_there(
    conditions: Conditions, says: str, at: float
) -> None:
    plan = plan_of(1000, GradientTracking(0.05))
    seen: list[float | None] = []
    judge = Judge(Objective(plan.problems), plan.nodes, None)
    with pytest.raises(LinkLost, match=says) as caught:
        Simulation(0, conditions).run(plan, judge, lambda j: seen.append(j.simulated_seconds))
    assert caught.value.node is not None
    assert 20 <= (caught.value.iteration or 0) <= 30
    assert seen[-1] is not None
    assert seen[-1] < 0.7 < at


def test_more_patience_may_be_tried() -> None:
    patient = constant(
        0.02, freezes=[Freeze((2,), 50.0, at=0.5)], patience=Patience(60.0, 60.0, 60.0)
    )
    assert simulated(plan_of(60), patient).seconds == pytest.approx(51.2, abs=0.2)


def test_a_crashed_node_comes_back_with_its_state_and_what_was_on_its_links_is_sent_again() -> None:
    """The bits are those of the clean run, which `simulated` checks."""
    clean, gone = constant(0.02), constant(0.02, crashes=[Crash((2,), 0.5, 3.0)])
    found = simulated(plan_of(60), gone)
    assert found.traffic.cuts == 2  # of a ring
    longer = found.seconds - simulated(plan_of(60), clean).seconds
    assert 3.0 <= longer < 3.1  # the link's Hello, and what it asks for


def test_a_link_is_back_when_both_its_ends_are() -> None:
    both = constant(0.02, crashes=[Crash((2,), 0.5, 2.0), Crash((3,), 1.5, 2.0)])
    found = simulated(plan_of(60), both)
    assert found.traffic.cuts == 3  # the link between the two was down already
    longer = found.seconds - simulated(plan_of(60), constant(0.02)).seconds
    assert 3.0 <= longer < 3.2


@pytest.mark.parametrize("topology", ["ring", "directed-ring", "complete"])
def test_all_of_it_together_changes_no_bit(topology: str) -> None:
    for seed in range(4):
        rough = Conditions(
            Weather(LogNormal(0.02, 1.0), 1e6, 0.1, 0.05, 0.2, 0.2, 0.01, 0.3),
            compute=ComputeTime((0.003,), 0.5, [Slow((1,), 5.0, 0.3)]),
            freezes=[Freeze((0, 3), 0.3, every=2.0)],
            partitions=[Partition((0, 1), 1.0, 0.5)],
            crashes=[Crash((2,), 0.3, 0.7), Crash((2, 3), 1.2, 0.4)],
        )
        plan = plan_of(60, GradientTracking(0.05), topology)
        found = simulated(plan, rough, seed)
        assert found.traffic.cuts
        assert found.traffic.lost
        assert found.traffic.duplicated


def test_what_one_link_does_changes_nothing_on_another() -> None:
    """Its own loss apart, each frame takes as long as before."""
    plan, weather = plan_of(1), Weather(LogNormal(0.02, 1.0))
    told = {}
    for edges in ({}, {(0, 1): Weather(LogNormal(0.02, 1.0), duplicate=0.9)}):
        arrivals: list[Any] = []
        told[len(edges)] = arrivals
        _watched(plan, Conditions(weather, edges), arrivals)
    far = [[a for a in told[k] if {a[1], a[2]} == {"node-3", "node-4"}] for k in (0, 1)]
    assert far[0] == far[1] != []


def _watched(plan: Plan, conditions: Conditions, arrivals: list[Any]) -> None:
    import asyncio

    from p2pdo.runtime.compute import InlineCompute
    from p2pdo.simulation import clock
    from p2pdo.simulation.inprocess import run_members
    from p2pdo.simulation.network import SimulatedNetwork

    class Watched(SimulatedNetwork):
        def join(self, name: Any, member: Any) -> None:
            class Heard:
                def receive(self, sender: Any, frame: Any) -> None:
                    now = asyncio.get_running_loop().time()
                    arrivals.append((now, sender, name, type(frame).__name__))
                    member.receive(sender, frame)

                def __getattr__(self, what: str) -> Any:
                    return getattr(member, what)

            heard: Any = Heard()
            super().join(name, heard)

    network = Watched(3, conditions, [plan.name(i) for i in range(plan.nodes)])
    judge = Judge(Objective(plan.problems), plan.nodes, None)
    computes: Any = [InlineCompute() for _ in range(plan.nodes)]
    clock.run(run_members(plan, judge, lambda _: None, network, computes))


# ---- one seed, one trace ----

TRACE = """
    import asyncio, hashlib, sys
    sys.path.insert(0, {folder!r})
    import test_simulation as t
    from p2pdo.simulation import inprocess, network

    trace = hashlib.sha256()

    class Traced(network.SimulatedNetwork):
        def deliver(self, sender, receiver, frame):
            now = asyncio.get_running_loop().time()
            trace.update(repr((now, sender, receiver, frame)).encode())
            super().deliver(sender, receiver, frame)

    inprocess.SimulatedNetwork = Traced
    for seed in (1, 2):
        conditions = t.Conditions(
            t.Weather(t.LogNormal(0.02, 1.0), 1e6, 0.1, 0.05, 0.2, 0.2, 0.02, 0.3),
            compute=t.ComputeTime((0.003,), 0.5, [t.Slow((1,), 5.0, 0.3)]),
            freezes=[t.Freeze((0, 3), 0.3, every=2.0)],
            partitions=[t.Partition((0, 1), 1.0, 0.5)],
        )
        found = t.simulated(t.plan_of(40, topology="complete"), conditions, seed)
        trace.update(repr((found.seconds, found.computing, found.traffic)).encode())
        print(trace.hexdigest())
"""


@pytest.mark.slow
def test_one_seed_is_one_trace_whatever_the_hash_seed() -> None:
    script = textwrap.dedent(TRACE).format(folder=str(Path(__file__).parent))
    traces = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.split()
        for hash_seed in ("1", "4711")
    ]
    assert traces[0] == traces[1]
    assert traces[0][0] != traces[0][1], "another seed is another trace"


# ---- as users ask for it ----


def asked(**how: Any) -> Result:
    problems = costs(ALGORITHMS["dgd"].requires.oracle)
    how = {"rounds": 100, "observe_every": 10, "on": "simulated", **how}
    return p2pdo.run(problems, "dgd", **how)


def test_the_result_tells_how_long_it_would_have_taken(tmp_path: Path) -> None:
    links: Mapping[str, Any] = {"links": {"delay": "20ms", "bandwidth": "1 MB/s"}}
    result = asked(links=links, compute="5ms", out=tmp_path / "run")
    told = result.summary.simulated
    assert told["seconds"] == pytest.approx(2.5, rel=0.1)
    assert told["computing_share"] == pytest.approx(0.2, rel=0.1)
    assert told["wire_bytes"] > result.summary.bytes_sent
    times = [metric.simulated_seconds for metric in result.metrics]
    assert None not in times
    assert times == sorted(times)  # type: ignore[type-var]
    assert times[-1] == told["seconds"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["simulated_seconds"] for line in lines] == times
    kept = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert kept["simulated"] == told
    assert 'compute = "5ms"' in (tmp_path / "run" / "run.toml").read_text()


def test_other_executors_tell_no_simulated_time(tmp_path: Path) -> None:
    result = asked(on="dense", out=tmp_path / "run")
    assert result.summary.simulated == {}
    line = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0]
    assert "simulated_seconds" not in json.loads(line)


def test_computing_may_be_measured_on_this_machine() -> None:
    found = asked(compute="measured", links={"links": {"delay": "1ms"}}).summary.simulated
    assert 0 < found["computing_share"] < 1


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"link_loss": 1.0}, "share of its frames"),
        ({"compute": "gauss:1ms"}, "no kind of computing time"),
        ({"links": "nowhere.toml"}, "cannot read nowhere.toml"),
        ({"links": {"links": {"dealy": 1}}}, "links.dealy: there is no such key"),
        ({"link_loss": 0.1, "on": "dense"}, "dense simulates no links"),
        ({"compute": "1ms", "on": "processes"}, "processes simulates no links"),
    ],
)
def test_a_mistake_is_told_before_the_run(how: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        asked(**how)
    assert caught.value.hint
