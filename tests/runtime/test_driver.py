"""Drivers in virtual time: bounded on every tick, woken by failures, judged right."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

from p2pdo.algorithms import Consensus
from p2pdo.effects import Row
from p2pdo.errors import WorkloadFailed
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import from_matrix
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Frame
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.rounds import WINDOW
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import InlineCompute
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.judged import SNAPSHOTS
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.testing import clock
from p2pdo.types import Array, NodeId, Value

T = TypeVar("T")
B = NodeId("b")


class Nothing:
    dimension = 1


def plan_of(
    graph: Graph, rounds: int, observe_every: int = 10**6, tol: float | None = None
) -> Plan:
    """Consensus with equal weights on whatever graph."""
    W = np.eye(graph.n)
    for i in range(graph.n):
        heard = [*graph.in_neighbors(i), i]
        W[i] = 0
        W[i, heard] = 1 / len(heard)
    starts = [np.array([float(i)]) for i in range(graph.n)]
    problems = [Nothing()] * graph.n
    return Plan(Consensus(), problems, graph, from_matrix(W), starts, rounds, observe_every, tol)


class SlowCompute(InlineCompute):
    """Takes its (virtual) time for every call."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        await asyncio.sleep(self._seconds)
        return await super().run(function, *args)


class Watched(SimulatedNetwork):
    """Looks at every member's buffers whenever anything is delivered."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(seed, weather)
        self.most_kept = self.most_held = self.looks = 0

    def look(self) -> None:
        self.looks += 1
        for member in self._members.values():
            kept = [edge.kept for edge in member._out.values()]
            held = [edge.held for edge in member._rounds.edges.values()]
            self.most_kept = max([self.most_kept, *kept])
            self.most_held = max([self.most_held, *held])

    def deliver(self, sender: NodeId, receiver: NodeId, frame: Frame) -> None:
        super().deliver(sender, receiver, frame)
        self.look()


async def run_all(
    plan: Plan, network: SimulatedNetwork, seconds: Callable[[int], float]
) -> list[Report]:
    """One driver a node, node i taking `seconds(i)` for each step."""

    async def member(i: int) -> Report:
        place = plan.place(i)
        names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
        exchanger = Exchanger(place, names, b"")
        stepper = Stepper(plan.algorithm, plan.problems[i], place, plan.starts[i], plan.seed)
        driver = Driver(
            stepper,
            exchanger,
            SlowCompute(seconds(i)),
            None,
            rounds=plan.rounds,
            observe_every=plan.observe_every,
            judged=False,
        )
        network.join(plan.name(i), exchanger)
        return await driver.run()

    return list(await asyncio.gather(*[member(i) for i in range(plan.nodes)]))


@pytest.mark.parametrize("topology", ["ring", "star", "directed-ring", "complete"])
@pytest.mark.parametrize("slow", [0, 3])
def test_buffers_stay_within_the_window_though_one_neighbour_is_a_thousand_times_slower(
    topology: str, slow: int
) -> None:
    graph = by_name(topology, 6, np.random.default_rng(0))
    network = Watched(1, Weather(delay=0.001, duplicate=0.1, cut=0.01, outage=0.05))
    plan = plan_of(graph, rounds=60)
    reports = clock.run(run_all(plan, network, lambda i: 1.0 if i == slow else 0.001))
    assert [r.iteration for r in reports] == [60] * 6
    assert network.most_kept <= WINDOW
    assert network.most_held <= WINDOW
    assert network.looks > 500
    assert network.cuts > 0
    if topology == "directed-ring":
        assert network.most_kept == WINDOW, "the fast ones went as far as they could"


@pytest.mark.parametrize("seed", range(40))
def test_any_connected_network_gets_to_the_end_in_any_weather(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, directed = int(rng.integers(1, 8)), bool(rng.integers(2))
    order = rng.permutation(n)
    edges = [(int(order[i]), int(order[(i + 1) % n])) for i in range(n)] if n > 1 else []
    for a, b in rng.integers(0, n, (int(rng.integers(0, 7)), 2)).tolist():
        edges += [(a, b)] if a != b else []
    graph = from_edges(n, edges, directed=directed and n > 1)
    speed = rng.exponential(0.05, n)
    weather = Weather(delay=0.05, duplicate=0.2, cut=0.02)
    network = Watched(seed, weather)
    reports = clock.run(run_all(plan_of(graph, rounds=25), network, lambda i: float(speed[i])))
    assert [r.iteration for r in reports] == [25] * n
    assert max(network.most_kept, network.most_held) <= WINDOW


# ---- a driver of large values ----


class Generous(Exchanger):
    """Has every neighbour's value at once; looks whether the last one is still kept."""

    last: weakref.ref[Array] | None = None
    exchanges = 0

    async def exchange(self, outgoing: Outgoing) -> dict[int, Value]:
        assert self.last is None or self.last() is None, "it waits and keeps what was used"
        self.exchanges += 1
        value = np.full(1, float(outgoing.tag.iteration))
        self.last = weakref.ref(value)
        return {1: (value,)}


class OffLoop(InlineCompute):
    """Knows whether it is computing."""

    is_computing = False

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        self.is_computing = True
        try:
            return function(*args)
        finally:
            self.is_computing = False


def large_driver(
    stepper_of: Callable[[OffLoop], type[Stepper[Any]]] = lambda _: Stepper,
) -> tuple[Driver, Generous]:
    place, compute = Place(0, "a", (1,), (1,), Row(((0, 0.5), (1, 0.5)))), OffLoop()
    stepper = stepper_of(compute)(Consensus(), Nothing(), place, np.ones(1), 0)
    gives = Generous(place, {1: B}, b"")
    driver = Driver(stepper, gives, compute, None, rounds=5, observe_every=2, judged=False)
    return driver, gives


def test_a_driver_that_waits_keeps_no_values_that_it_has_used() -> None:
    driver, gives = large_driver()
    clock.run(driver.run())
    assert gives.exchanges == 5


def test_a_state_is_frozen_where_computing_is_done_because_that_may_copy_it() -> None:
    asked: list[int] = []

    def stepper_of(compute: OffLoop) -> type[Stepper[Any]]:
        class Watched(Stepper[Any]):
            @property
            def x(self) -> Array:
                assert compute.is_computing
                asked.append(self.iteration)
                return super().x

        return Watched

    report = clock.run(large_driver(stepper_of)[0].run())
    assert asked == [0, 2, 4, 5]
    assert report.iteration == 5


# ---- a driver that is judged ----


def lonely_driver(observer: Any, *, rounds: int, every: int = 1) -> Driver:
    """One node, whose state halves in each iteration: which one it is can be read off it."""
    place = Place(0, "a", (), (), Row(((0, 0.5),)))
    stepper = Stepper(Consensus(), Nothing(), place, np.ones(1), 0)
    return Driver(
        stepper,
        Exchanger(place, {}, b""),
        SlowCompute(0.001),
        observer,
        rounds=rounds,
        observe_every=every,
        judged=True,
    )


class Late:
    """Judges each state so many seconds after it was observed; stops at one."""

    def __init__(self, delay: float, stop_at: int | None) -> None:
        self.delay, self.stop_at = delay, stop_at
        self.driver: Driver
        self.seen: list[int] = []
        self.furthest = 0

    def observe(self, report: Report) -> None:
        assert report.x.tolist() == [0.5**report.iteration]
        self.seen.append(report.iteration)
        asyncio.get_running_loop().call_later(self.delay, self.judge, report.iteration)

    def judge(self, iteration: int) -> None:
        assert len(self.driver._unjudged) <= SNAPSHOTS
        self.furthest = max(self.furthest, self.driver.iteration)
        self.driver.judge(iteration, stop=iteration == self.stop_at)


def judged(delay: float, stop_at: int | None, **settings: int) -> tuple[Report, Late]:
    observer = Late(delay, stop_at)
    observer.driver = lonely_driver(observer, **settings)
    return clock.run(observer.driver.run()), observer


@pytest.mark.parametrize("every", [1, 3, 7])
@pytest.mark.parametrize("delay", [0.0, 0.01, 50.0])
def test_the_result_is_the_state_that_was_judged_however_far_the_node_ran_ahead(
    delay: float, every: int
) -> None:
    report, observer = judged(delay, stop_at=21, rounds=100, every=every)
    assert (report.iteration, report.x.tolist()) == (21, [0.5**21])
    if delay > 1:
        assert observer.furthest >= 21 + (SNAPSHOTS - 1) * every, "it ran ahead"
    assert observer.furthest <= 21 + SNAPSHOTS * every + every, "and no further than it may"


def test_at_the_limit_the_last_states_may_still_be_judged_good_enough() -> None:
    report, _ = judged(60.0, stop_at=8, rounds=10, every=2)
    assert report.iteration == 8
    report, observer = judged(60.0, stop_at=None, rounds=10, every=4)
    assert report.iteration == 10
    assert observer.seen == [0, 4, 8, 10]


def test_no_rounds_at_all_are_one_observation() -> None:
    report, observer = judged(1.0, stop_at=None, rounds=0, every=5)
    assert (report.iteration, observer.seen) == (0, [0])
    report, observer = judged(1.0, stop_at=0, rounds=50, every=5)
    assert report.iteration == 0


def test_an_abort_ends_a_run_at_its_next_wait() -> None:
    driver = lonely_driver(None, rounds=10**9)

    async def main() -> None:
        running = asyncio.create_task(driver.run())
        await asyncio.sleep(0.05)
        driver.abort()
        await running

    with pytest.raises(WorkloadFailed, match="aborted"):
        clock.run(main())
    assert 0 < driver.iteration < 10**3
    driver.abort(WorkloadFailed("another"))
    with pytest.raises(WorkloadFailed, match="aborted"):
        clock.run(driver.run())


def test_a_network_that_is_judged_stops_everywhere_with_the_same_bits() -> None:
    graph = by_name("directed-ring", 5, np.random.default_rng(0))
    plan = plan_of(graph, rounds=400, observe_every=3, tol=1e-6)

    class Exact(Objective):
        def value(self, x: Array) -> float | None:
            return 0.0

        def gap(self, value: float | None) -> float | None:
            return 0.0

    from p2pdo.simulation.inprocess import run_simulated
    from p2pdo.simulation.lockstep import run_lockstep

    reference = Judge(Exact(plan.problems), 5, plan.tol)
    expected = run_lockstep(plan, reference, lambda _: None)
    assert reference.stopped_at is not None
    for seed in range(5):
        judge = Judge(Exact(plan.problems), 5, plan.tol)
        weather = Weather(delay=0.2, duplicate=0.2, cut=0.01)
        reports = run_simulated(plan, judge, lambda _: None, delay_seed=seed, weather=weather)
        assert judge.stopped_at == reference.stopped_at
        for ours, theirs in zip(reports, expected, strict=True):
            assert ours.iteration == theirs.iteration
            assert ours.x.tobytes() == theirs.x.tobytes()
