"""Whole runs over links and shared memory together: real gRPC, real threads, lock-step's bits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms.base import Algorithm, Requires
from p2pdo.algorithms.consensus import Consensus
from p2pdo.dtypes import bfloat16
from p2pdo.effects import Here, Step, exchange, exchange_each, mix
from p2pdo.errors import ConfigError, P2pdoError, WorkloadStopped
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import from_matrix
from p2pdo.problems.base import Problem
from p2pdo.protocol.judging import Report
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.simulation.lockstep import advance_to
from p2pdo.transports import rpc
from p2pdo.transports.peers import PeerLinks
from p2pdo.transports.shared_memory import futex
from p2pdo.transports.shared_memory.lane import SharedMemoryLane
from p2pdo.types import Array, NodeId, WorkloadId

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only"),
]
WORK = WorkloadId("w")
LIMIT = 60.0


@dataclass(frozen=True)
class Nothing:
    """A problem without a cost."""

    dimension: int = 3


class State(NamedTuple):
    x: Array
    heard: Array


@dataclass(frozen=True)
class Chatty(Algorithm[State]):
    """Every kind of exchange in one iteration, in sizes that change, and keeps what it heard."""

    requires = Requires(weights=frozenset(), oracle=Problem)
    disagrees_at: int = -1

    def init(self, x: Array, problem: object, here: Here) -> State:
        return State(x, np.zeros(3))

    def step(self, s: State, problem: object, here: Here) -> Step[State]:
        size = 1 + 4000 * (here.iteration % 3)
        x, (_, padding) = yield from mix(s.x, (1, np.full(size, float(here.node))))
        theirs = yield from exchange({"x": x, "large": padding})
        if here.iteration == self.disagrees_at and here.node == 0:
            yield from exchange(x)
        each = yield from exchange_each({j: x + j for j in here.out_neighbors})
        heard = s.heard * 0.5
        for j in here.in_neighbors:
            heard = heard + theirs[j]["x"] * theirs[j]["large"][-1] + each[j]
        return State(x + 0.01 * np.tanh(heard), heard)


@dataclass(frozen=True)
class Remembering(Algorithm[State]):
    """Heavy-ball averaging, which keeps what it sent and changes in place what it was given."""

    requires = Requires(weights=frozenset(), oracle=Problem)

    def init(self, x: Array, problem: object, here: Here) -> State:
        return State(x, x)

    def step(self, s: State, problem: object, here: Here) -> Step[State]:
        x = yield from mix(s.x)
        x += 0.3 * (s.x - s.heard)
        return State(x, s.x)


@dataclass(frozen=True)
class Changing(Algorithm[State]):
    """Averages two values, changes them in place and sends each in the other's turn."""

    requires = Requires(weights=frozenset(), oracle=Problem)

    def init(self, x: Array, problem: object, here: Here) -> State:
        return State(x, 2 * x)

    def step(self, s: State, problem: object, here: Here) -> Step[State]:
        x, heard = yield from mix(s.x, s.heard)
        x -= 0.1 * s.heard
        heard *= -0.5
        return State(heard, x) if here.iteration % 7 == 0 else State(x, heard)


@dataclass(frozen=True)
class Typed(Algorithm[State]):
    """Every kind of array, mixed, exchanged and sent to one, nested; large ones among them."""

    requires = Requires(weights=frozenset(), oracle=Problem)

    def init(self, x: Array, problem: object, here: Here) -> State:
        return State(x, np.zeros(3))

    def step(self, s: State, problem: object, here: Here) -> Step[State]:
        large = np.resize(s.x, 40_000)
        value = {
            "halves": (s.x.astype(np.float16), s.x.astype(bfloat16()), large.astype(bfloat16())),
            "whole": {"i": (100 * s.x).astype(np.int32), "u": np.uint8([here.node]), "t": True},
            "singles": (s.x.astype(np.float32), s.x.astype(np.complex64) * 1j, 7),
        }
        mixed = yield from mix(value)
        theirs = yield from exchange(value)
        each = yield from exchange_each({j: {"to": (s.x + j).astype(bfloat16())} for j in theirs})
        heard = sum_of(mixed)
        for j in here.in_neighbors:
            heard = heard + sum_of(theirs[j]) + sum_of(each[j])
        return State(s.x + 0.01 * np.tanh(heard), heard)


def sum_of(value: Any) -> Any:
    """Every bit of a value counts."""
    if isinstance(value, dict):
        return sum(map(sum_of, value.values()))
    if isinstance(value, tuple):
        return sum(map(sum_of, value))
    numbers = np.asarray(value).astype(np.complex128)
    return numbers.real.sum() + numbers.imag.sum()


class Run:
    """The drivers of a plan, over links of their own; `remote` nodes offer no memory."""

    def __init__(self, plan: Plan, remote: Collection[int] = (), *, forced: bool = False) -> None:
        self.plan = plan
        self.lanes = [None if i in remote else SharedMemoryLane(i) for i in range(plan.nodes)]
        self.exchangers = [
            Exchanger(
                plan.place(i), self._names(i), plan.weights.digest(), self.lanes[i], forced=forced
            )
            for i in range(plan.nodes)
        ]

    def _names(self, i: int) -> dict[int, NodeId]:
        place = self.plan.place(i)
        return {j: self.plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}

    async def reports(self) -> list[Report]:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(LIMIT))
            links, addresses = [], []
            for i in range(self.plan.nodes):
                server = rpc.make_server(None)
                stack.push_async_callback(server.stop, None)
                name = self.plan.name(i)
                link = await stack.enter_async_context(PeerLinks(name, f"boot of {name}", None))
                link.register(server)
                addresses.append(rpc.bind(server, "127.0.0.1:0"))
                await server.start()
                links.append(link)
            for i, exchanger in enumerate(self.exchangers):
                peers = {name: addresses[j] for j, name in self._names(i).items()}
                exchanger.connect(links[i].open(WORK, exchanger, peers))
            try:
                return list(await asyncio.gather(*map(self._run, range(self.plan.nodes))))
            finally:
                for exchanger in self.exchangers:
                    exchanger.close("the test is over")

    async def _run(self, i: int) -> Report:
        plan, compute = self.plan, ThreadCompute(f"node {i}")
        try:
            stepper = Stepper(
                plan.algorithm, plan.problems[i], plan.place(i), plan.starts[i], plan.seed
            )
            driver = Driver(
                stepper,
                self.exchangers[i],
                compute,
                None,
                rounds=plan.rounds,
                observe_every=plan.observe_every,
                judged=False,
            )
            return await driver.run()
        finally:
            compute.close()


def plan_of(
    graph: Graph, algorithm: Algorithm[Any] | None = None, rounds: int = 60, dimension: int = 3
) -> Plan:
    W = np.eye(graph.n)
    for i in range(graph.n):
        heard = [*graph.in_neighbors(i), i]
        W[i] = 0
        W[i, heard] = 1 / len(heard)
    starts = [np.random.default_rng([3, i]).standard_normal(dimension) for i in range(graph.n)]
    problems = [Nothing(dimension)] * graph.n
    return Plan(algorithm or Chatty(), problems, graph, from_matrix(W), starts, rounds, 25)


def lockstep(plan: Plan) -> list[Report]:
    steppers = [
        Stepper(plan.algorithm, plan.problems[i], plan.place(i), plan.starts[i], plan.seed)
        for i in range(plan.nodes)
    ]
    advance_to(steppers, plan.rounds)
    return [stepper.report() for stepper in steppers]


def graph_of(name: str) -> Graph:
    return by_name(name, 5, np.random.default_rng(0))


@pytest.mark.parametrize("remote", [(), (3,), (0, 2), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("name", ["ring", "directed-ring", "star", "complete"])
async def test_mixed_lanes_have_the_bits_of_lock_step(name: str, remote: tuple[int, ...]) -> None:
    plan = plan_of(graph_of(name))
    run = Run(plan, remote)

    reports = await run.reports()

    for report, expected in zip(reports, lockstep(plan), strict=True):
        assert report.x.tobytes() == expected.x.tobytes()
        assert report.bytes_sent == expected.bytes_sent
    for i, exchanger in enumerate(run.exchangers):
        for peer, lane in exchanger.lanes.items():
            is_local = i not in remote and int(peer.rpartition("-")[2]) not in remote
            assert lane == ("shared-memory" if is_local else "grpc")


@pytest.mark.parametrize("remote", [(), (3,)])
@pytest.mark.parametrize("name", ["ring", "directed-ring"])
@pytest.mark.parametrize("algorithm", [Consensus(), Remembering(), Changing()])
async def test_large_values_have_the_bits_of_lock_step_whatever_a_step_does_with_what_it_is_given(
    algorithm: Algorithm[Any], name: str, remote: tuple[int, ...]
) -> None:
    plan = plan_of(graph_of(name), algorithm, rounds=30, dimension=40_000)

    reports = await Run(plan, remote).reports()

    for report, expected in zip(reports, lockstep(plan), strict=True):
        assert report.x.tobytes() == expected.x.tobytes()


@pytest.mark.parametrize("remote", [(), (3,), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("name", ["ring", "complete"])
async def test_every_kind_of_array_has_the_same_bits_on_every_lane(
    name: str, remote: tuple[int, ...]
) -> None:
    plan = plan_of(graph_of(name), Typed(), rounds=25)

    reports = await Run(plan, remote).reports()

    expected = lockstep(plan)
    assert len({report.x.tobytes() for report in expected}) > 1
    for report, other in zip(reports, expected, strict=True):
        assert report.x.tobytes() == other.x.tobytes()
        assert report.bytes_sent == other.bytes_sent


@pytest.mark.parametrize("remote", [(), (1,), (0,)])
async def test_nodes_that_disagree_are_told_and_nobody_waits(remote: tuple[int, ...]) -> None:
    plan = plan_of(graph_of("ring"), Chatty(disagrees_at=7))

    with pytest.raises(P2pdoError, match="disagree on the exchanges of iteration 7"):
        await Run(plan, remote).reports()


@pytest.mark.parametrize("remote", [(), (1,)])
async def test_a_run_that_is_ended_ends_at_the_next_wait(remote: tuple[int, ...]) -> None:
    run = Run(plan_of(graph_of("ring"), Consensus(), rounds=10**9), remote)
    running = asyncio.create_task(run.reports())
    while not any(exchanger.iteration > 20 for exchanger in run.exchangers):  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # the steps are on threads, which have no event for us

    run.exchangers[0].fail(WorkloadStopped("enough"))

    with pytest.raises(WorkloadStopped, match="enough"):
        await running


@pytest.mark.parametrize("remote", [(), (1,), (0, 1, 2, 3, 4)])
async def test_who_waits_is_told_when_the_run_is_cancelled_and_not_when_its_edges_are_closed(
    remote: tuple[int, ...],
) -> None:
    released = threading.Event()

    class Held(Consensus):
        def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
            if (here.node, here.iteration) == (0, 5):
                released.wait(LIMIT)
            return super().step(s, problem, here)

    run = Run(plan_of(graph_of("ring"), Held()), remote)
    others = run.exchangers[1:]
    told = []
    for (
        exchanger
    ) in others:  # what closes the edges comes last: until then this is all that is said
        exchanger.close = lambda _reason, it=exchanger: told.append(it.has_failed)  # type: ignore[method-assign,misc]
    running = asyncio.create_task(run.reports())
    try:
        while not all(exchanger.iteration >= 5 for exchanger in others[:1]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the steps are on threads, which have no event for us
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        released.set()

    assert told == [True] * len(others)


async def test_a_lane_that_was_asked_for_and_cannot_be_is_an_error_with_its_reason() -> None:
    with pytest.raises(ConfigError, match=r"share no memory: it offers none") as told:
        await Run(plan_of(graph_of("ring")), remote=(2,), forced=True).reports()

    assert "--lane auto" in str(told.value.hint)
