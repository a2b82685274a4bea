"""A memory network under conditions: delays, bandwidth, losses, cuts and silences, all seeded.

Each direction of a link draws from a generator of its own, in the order of what is sent on it, so
what happens to one says nothing about another. Links keep their order, as streams do, but for what
is reordered on purpose. A cut takes everything on its link with it, as a broken connection does;
then the link comes back and the sessions have to make up for it. In virtual time the same seed
makes the same weather.

A silence, of a frozen node or between the parts of a partition, holds frames until it is over. One
that is longer than the product bears ends as there: the link is cut, or a node is given up. A crash
cuts all links of a node until it is back; a link comes back when both its ends are there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pdo.protocol.frames import Ack, Data, Frame
from p2pdo.runtime.exchange import Exchanger
from p2pdo.simulation.clock import VirtualTimeLoop, running_loop
from p2pdo.simulation.links.conditions import LINK, WEATHER_STREAM, Conditions, conditions_of
from p2pdo.simulation.links.delay import Delay
from p2pdo.simulation.links.silences import Interval, Schedule
from p2pdo.simulation.links.weather import Weather
from p2pdo.transports.memory import MemoryNetwork
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.codec import Encoder

__all__ = ["SimulatedNetwork", "Traffic", "Weather"]

STEP = 1e-9
"""Seconds between two frames that would arrive together: they keep their order."""
OVERHEAD = 88
"""Bytes around a frame on a real link: gRPC, HTTP/2, TCP, IP and Ethernet."""
_WORKLOAD = WorkloadId("workload")  # a name as long as one


@dataclass
class Traffic:
    """What the links have carried.

    Attributes:
        frames: how many were sent, acknowledgements and greetings among them.
        bytes: of all these, encoded and with what is around them; counted where some link has a
            bandwidth.
        lost: how many times one was lost and sent again.
        duplicated: how many came twice.
        cuts: how many times a link was cut.
    """

    frames: int = 0
    bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    cuts: int = 0


@dataclass(slots=True)
class _Link:
    """What both directions share."""

    ends: tuple[NodeId, NodeId]
    parted: Schedule
    life: int = 0  # + 1 at each cut and each repair; odd while down
    silence: Interval | None = None  # the last one that was too long to be waited out


@dataclass(slots=True)
class _Way:
    """One direction of a link."""

    loop: VirtualTimeLoop
    link: _Link
    ends: tuple[NodeId, NodeId]  # sender and receiver
    numbers: tuple[int, int]  # of them
    weather: Weather
    delays: Delay
    rng: np.random.Generator
    is_never_silent: bool  # neither end ever stands still, nothing ever parts them
    free_at: float = 0.0  # when the frame before has left
    clear_at: float = 0.0  # when the frame before arrives

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


@dataclass
class _Nodes:
    """The numbers of the nodes by name, and when each stands still."""

    conditions: Conditions
    seed: int
    numbers: dict[NodeId, int]
    schedules: dict[NodeId, Schedule] = field(default_factory=dict)

    def number(self, name: NodeId) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def frozen(self, name: NodeId) -> Schedule:
        if name not in self.schedules:
            self.schedules[name] = self.conditions.frozen(self.number(name), self.seed)
        return self.schedules[name]


class SimulatedNetwork(MemoryNetwork):
    """The memory network under conditions."""

    def __init__(
        self, seed: int, weather: Weather | Conditions, names: Sequence[NodeId] = ()
    ) -> None:
        """`names` are the nodes in node order; without them, they are numbered as they come."""
        super().__init__()
        self.conditions = conditions_of(weather)
        self.traffic = Traffic()
        self._seed = seed
        numbers = {name: number for number, name in enumerate(names)}
        self._nodes = _Nodes(self.conditions, seed, numbers)
        self._ways: dict[tuple[NodeId, NodeId], _Way] = {}
        self._links: dict[frozenset[NodeId], _Link] = {}
        self._given_up: set[NodeId] = set()
        given = (self.conditions.weather, *self.conditions.edges.values())
        self._encoder = Encoder() if any(w.bandwidth is not None for w in given) else None

    @property
    def cuts(self) -> int:
        return self.traffic.cuts

    def deliver(self, sender: NodeId, receiver: NodeId, frame: Frame) -> None:
        way = self._ways.get((sender, receiver)) or self._way(sender, receiver)
        link, weather, traffic = way.link, way.weather, self.traffic
        traffic.frames += 1
        if link.life % 2:  # down: lost
            return
        if weather.cut and way.chance(weather.cut):
            self._cut(link, weather.outage)
            return
        loop = way.loop
        now = loop.time()
        begins = max(now, way.free_at)
        if not way.is_never_silent:
            begins = self._when_heard(link, sender, begins)
        way.free_at = begins
        if self._encoder is not None:
            way.free_at += weather.transmission(self._size(self._encoder, frame))
        copies = 2 if weather.duplicate and way.chance(weather.duplicate) else 1
        traffic.duplicated += copies - 1
        for _ in range(copies):
            arrives = self._arrival(way, frame)
            if arrives < math.inf:
                taking = arrives - now
                arrival = self._hand_over(way, frame)
                if taking > 0:
                    loop.post(now + taking, arrival)
                else:
                    loop.post_soon(arrival)

    def computed(self, name: NodeId, begins: float, taking: float) -> float:
        """When the node has computed for so long, if it begins then; it rests while frozen."""
        frozen = self._nodes.frozen(name)
        ends = frozen.finish(begins, taking)
        for silence in frozen.within(begins, ends):
            self._meet(name, silence)
        return ends

    # ---- on the way ----

    def _size(self, encoder: Encoder, frame: Frame) -> int:
        """Bytes on the link, where that matters."""
        size = OVERHEAD + sum(map(len, encoder.encode((_WORKLOAD, frame))))
        self.traffic.bytes += size
        return size

    def _arrival(self, way: _Way, frame: Frame) -> float:
        weather = way.weather
        delay = way.delays.draw(way.rng, *way.numbers)
        if weather.loss:
            losses = weather.losses(way.rng)
            if losses:
                self.traffic.lost += losses
                delay += weather.waited(losses)
        arrives = max(way.free_at + delay, way.clear_at + STEP)
        is_overtaken = (
            weather.reorder and isinstance(frame, Data | Ack) and way.chance(weather.reorder)
        )
        if is_overtaken:
            arrives += delay
        if not way.is_never_silent:
            arrives = self._when_heard(way.link, way.ends[1], arrives)
        if not is_overtaken:  # else others may overtake it
            way.clear_at = arrives
        return arrives

    def _hand_over(self, way: _Way, frame: Frame) -> Callable[[], None]:
        link, members, (sender, receiver) = way.link, self._members, way.ends
        life = link.life

        def arrive() -> None:
            if link.life == life:
                members[receiver].receive(sender, frame)

        return arrive

    def _way(self, sender: NodeId, receiver: NodeId) -> _Way:
        link = self._link(sender, receiver)
        a, b = self._nodes.number(sender), self._nodes.number(receiver)
        rng = np.random.default_rng([self._seed, WEATHER_STREAM, LINK, a, b])
        weather = self.conditions.of(a, b)
        silences = (link.parted, *map(self._nodes.frozen, link.ends))
        way = _Way(
            running_loop(),
            link,
            (sender, receiver),
            (a, b),
            weather,
            weather.delays,
            rng,
            is_never_silent=not any(schedule.sources for schedule in silences),
        )
        self._ways[sender, receiver] = way
        return way

    def _link(self, sender: NodeId, receiver: NodeId) -> _Link:
        pair = frozenset((sender, receiver))
        link = self._links.get(pair)
        if link is None:
            a, b = self._nodes.number(sender), self._nodes.number(receiver)
            link = self._links[pair] = _Link((sender, receiver), self.conditions.parted(a, b))
        return link

    # ---- cuts ----

    def _cut(self, link: _Link, outage: float) -> None:
        if link.life % 2:
            return
        a, b = link.ends
        self.traffic.cuts += 1
        link.life += 1
        self.member(a).link_down(b)
        self.member(b).link_down(a)
        if math.isfinite(outage):
            self._post(outage, lambda: self._heal(link))

    def _heal(self, link: _Link) -> None:
        a, b = link.ends
        if (rest := self._back_in(link)) > 0:
            self._post(rest, lambda: self._heal(link))
            return
        link.life += 1
        self.member(a).link_up(b)
        self.member(b).link_up(a)

    # ---- crashes ----

    def join(self, name: NodeId, member: Exchanger) -> None:
        super().join(name, member)
        now = asyncio.get_running_loop().time()
        for gone in self.conditions.gone(self._nodes.number(name)):
            self._post(max(0.0, gone.begins - now), self._crash(name, member, gone))

    def _crash(self, name: NodeId, member: Exchanger, gone: Interval) -> Callable[[], None]:
        """Cuts its links; a neighbour that has missed one for the grace gives it up."""
        grace = self.conditions.patience.grace

        def crash() -> None:
            for peer in member.peers:
                self._cut(self._link(name, peer), gone.length)
                if gone.length > grace:
                    neighbor, why = self.member(peer), f"it crashed, and was gone for {grace:g} s"
                    self._post(grace, lambda neighbor=neighbor, why=why: neighbor.lost(name, why))  # type: ignore[misc]

        return crash

    def _back_in(self, link: _Link) -> float:
        """Seconds until both ends of a link are there."""
        now = asyncio.get_running_loop().time()
        gone = (i for end in link.ends for i in self.conditions.gone(self._nodes.number(end)))
        return max((i.ends - now for i in gone if i.begins <= now < i.ends), default=0.0)

    # ---- silences ----

    def _when_heard(self, link: _Link, name: NodeId, time: float) -> float:
        """The first moment from then on at which the link is whole and this end awake."""
        frozen = self._nodes.frozen(name)
        while math.isfinite(time):
            silence, stillness = link.parted.at(time), frozen.at(time)
            if silence is not None:
                self._meet_partition(link, silence)
                time = silence.ends
            elif stillness is not None:
                self._meet(name, stillness)
                time = stillness.ends
            else:
                break
        return time

    def _meet_partition(self, link: _Link, silence: Interval) -> None:
        """One that outlasts the keepalive breaks the link, and with the grace the run."""
        patience = self.conditions.patience
        if silence == link.silence or silence.length <= patience.keepalive:
            return
        link.silence = silence
        a, b = link.ends
        cut_at = silence.begins + patience.keepalive
        lost_at = cut_at + patience.grace
        now = asyncio.get_running_loop().time()
        self._post(max(0.0, cut_at - now), lambda: self._cut(link, silence.ends - cut_at))
        if silence.ends > lost_at:
            why = f"the two have been cut off from each other for {lost_at - silence.begins:g} s"
            self._post(max(0.0, lost_at - now), lambda: self.member(a).lost(b, why))

    def _meet(self, name: NodeId, silence: Interval) -> None:
        """One that outlasts the lease is the end of a node, and of the run."""
        lease = self.conditions.patience.lease
        if name in self._given_up or silence.length < lease:
            return
        self._given_up.add(name)
        why = f"it has stood still for {lease:g} s, and the coordinator gives it up"
        now = asyncio.get_running_loop().time()
        for peer in self.member(name).peers:
            neighbor = self.member(peer)
            give_up = max(0.0, silence.begins + lease - now)
            self._post(give_up, lambda neighbor=neighbor: neighbor.lost(name, why))  # type: ignore[misc]
