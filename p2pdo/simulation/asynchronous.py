"""Asynchronous nodes as papers have them: clocks, delays, losses, one seed, one order of events.

There are no links and no seconds here, `asynchronous_in_process` has those: only members, and all
that can become of a message. Laws are held here, event by event.

Each node wakes by a Poisson clock of its own, once in a unit of time on average, unless the plan
has another activation: then its ticks say who wakes, and with edges that come and go, over which of
them messages are carried until the next tick. A message takes an exponential delay, each its own,
so later ones overtake earlier ones; it may be lost or come twice.
A node whose clock rings while it is too far ahead does not wake; it says again what it has said,
because what it waits for may be waiting for that. So does one that is done. Nothing is computed
twice and no real time passes: the events stand in one queue, in order of time.

`watch` sees every event as it has happened, with all members; that is what the laws look at.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from p2pdo.protocol.asynchronous.auditing import auditor_of
from p2pdo.protocol.asynchronous.channels import Message
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.simulation.activation.reading import read_activation
from p2pdo.simulation.activation.tick import Tick

WEATHER_STREAM = 21
"""No other generator is made from (seed, this)."""


class Event(NamedTuple):
    """What has happened.

    Attributes:
        time: in the activation's unit; by default the mean time between two wake-ups of a node.
        what: "wake", "wait" (it was too far ahead) or "arrival".
        node: whose clock rang, or to whom something came.
        sender: of whom it came.
        number: of the message; zero where it only tells how far its sender is.
    """

    time: float
    what: str
    node: int
    sender: int = -1
    number: int = -1


Watch = Callable[[Event, Sequence[Member[Any]]], None]


class _Arrival(NamedTuple):
    sender: int
    receiver: int
    message: Message


_Due: TypeAlias = "int | _Arrival | Tick"
"""A node's clock rings, something arrives, or a schedule has a moment."""


@dataclass(frozen=True, slots=True)
class Hazards:
    """What becomes of a message.

    Attributes:
        delay: mean of the exponential delays, in the activation's unit of time.
        drop: probability that it is lost.
        duplicate: probability that it comes twice.
    """

    delay: float = 0.5
    drop: float = 0.0
    duplicate: float = 0.0


CALM = Hazards()


@dataclass
class _Sky:
    """The seeded weather: when clocks ring, and what becomes of a message."""

    hazards: Hazards
    rng: np.random.Generator

    def pause(self) -> float:
        return float(self.rng.exponential())

    def delays(self) -> list[float]:
        """Of each copy that arrives; none where the message is lost."""
        of_all = self.hazards
        if of_all.drop and self.rng.random() < of_all.drop:
            return []
        is_doubled = bool(of_all.duplicate) and self.rng.random() < of_all.duplicate
        return [float(self.rng.exponential(of_all.delay)) for _ in range(1 + is_doubled)]


def run_asynchronous(
    plan: AsynchronousPlan,
    judge: Judge,
    tell: Callable[[Judgement], None],
    check_stop: Callable[[], None] = lambda: None,
    *,
    delay_seed: int = 0,
    watch: Watch | None = None,
    hazards: Hazards = CALM,
) -> list[Report]:
    """Runs the plan; returns each node's resulting state, in node order.

    `check_stop` is called at every ring of a clock, and raises what ends the run.
    """
    limit_blas_threads()
    return Simulation(plan, judge, tell, delay_seed, watch, hazards=hazards).run(check_stop)


def members_of(plan: AsynchronousPlan) -> list[Member[Any]]:
    return [member_of(plan, node) for node in range(plan.nodes)]


def member_of(plan: AsynchronousPlan, node: int) -> Member[Any]:
    member: Member[Any] = Member(
        plan.algorithm,
        plan.problems[node],
        plan.place(node),
        plan.starts[node],
        plan.seed,
        max_staleness=plan.asynchrony.max_staleness,
    )
    auditor = auditor_of(plan.algorithm, plan.monitor_every)
    member.watch = None if auditor is None else auditor.look
    return member


class Simulation:
    """One run. Used once."""

    def __init__(
        self,
        plan: AsynchronousPlan,
        judge: Judge,
        tell: Callable[[Judgement], None],
        delay_seed: int,
        watch: Watch | None,
        *,
        hazards: Hazards = CALM,
    ) -> None:
        self.members = members_of(plan)
        self._plan = plan
        self._judge = judge
        self._tell = tell
        self._watch = watch
        self._sky = _Sky(hazards, np.random.default_rng([delay_seed, WEATHER_STREAM]))
        self._order = itertools.count()  # of events at one time
        self._queue: list[tuple[float, int, _Due]] = []
        self._ticks = self._schedule(delay_seed)
        self._up: frozenset[tuple[int, int]] | None = (
            None  # where not all edges are, those that are
        )
        self._now = 0.0
        self._final: dict[int, Report] = {}
        self._is_over = False

    def run(self, check_stop: Callable[[], None]) -> list[Report]:
        for member in self.members:
            self._observe(member)
            if self._ticks is None:
                self._post(self._sky.pause(), member.place.node)
        self._post_tick()
        while not self._is_over:
            self._now, _, event = heapq.heappop(self._queue)
            if isinstance(event, _Arrival):
                self._arrive(*event)
            elif isinstance(event, Tick):
                check_stop()
                self._begin(event)
            else:
                check_stop()
                self._post(self._sky.pause(), event)
                self._ring(self.members[event])
        if self._judge.stopped_at is not None:
            return list(self._judge.latest)
        return [self._final[node] for node in range(self._plan.nodes)]

    def _schedule(self, seed: int) -> Iterator[Tick] | None:
        """The ticks, where it is not each node's own clock: that one draws as it goes."""
        plan = self._plan
        if plan.asynchrony.activation is None:
            return None
        schedule = read_activation(plan.asynchrony.activation, plan.nodes)
        self._is_by_edges = schedule.by_edges
        return schedule.ticks(plan.graph, seed)

    def _post(self, delay: float, event: _Due) -> None:
        heapq.heappush(self._queue, (self._now + delay, next(self._order), event))

    def _post_tick(self) -> None:
        if self._ticks is not None:
            tick = next(self._ticks)
            self._post(tick.time - self._now, tick)

    def _begin(self, tick: Tick) -> None:
        """What is up and who is awake, until the next one."""
        self._post_tick()
        if self._is_by_edges:
            self._up = frozenset(tick.edges)
        for node in tick.nodes:
            if not self._is_over:
                self._ring(self.members[node])

    def _ring(self, member: Member[Any]) -> None:
        node = member.place.node
        if node not in self._final and member.may_wake:
            self._send(node, member.wake())
            self._happened("wake", node)
            self._observe(member)
        else:
            self._send(node, member.again())
            self._happened("wait", node)

    def _arrive(self, sender: int, node: int, message: Message) -> None:
        if node in self._final:  # what it was asked for is settled
            return
        reply = self.members[node].receive(sender, message)
        if reply is not None:
            self._send(node, [(sender, reply)])
        self._happened("arrival", node, sender, message.number if message.parts else 0)

    def _send(self, sender: int, messages: Iterable[tuple[int, Message]]) -> None:
        for receiver, message in messages:
            if self._up is not None and (sender, receiver) not in self._up:
                continue
            for delay in self._sky.delays():
                self._post(delay, _Arrival(sender, receiver, message))

    def _happened(self, what: str, node: int, sender: int = -1, number: int = -1) -> None:
        if self._watch is not None:
            self._watch(Event(self._now, what, node, sender, number), self.members)

    def _observe(self, member: Member[Any]) -> None:
        """At a wake-up: the judge is told of an observed one, and the last is kept."""
        plan, wakes = self._plan, member.wakes
        is_last = wakes == plan.rounds
        if wakes % plan.observe_every and not is_last:
            return
        report = member.report()
        for judgement in self._judge.receive(report):
            self._tell(judgement)
            self._is_over = self._is_over or judgement.stop
        if is_last:
            self._final[member.place.node] = report
            self._is_over = self._is_over or len(self._final) == plan.nodes
