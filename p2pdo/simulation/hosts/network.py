"""The network between hosts: what is sent on a call arrives in order, late, or never.

Each direction of a link draws from a generator of its own. A call keeps its order, as a stream
does; two calls need not arrive in the order in which they began. What links do is a `Weather`:
delays, losses that cost time, calls that are made twice, and cuts, which break every call between
two hosts. A partition holds what is sent until it is over; one that outlasts the keepalive breaks
the calls that it has met.

Everything that is sent, arrives or breaks is told to `trace`, in order of time.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from p2pdo.simulation.links.weather import Weather

HOSTS_STREAM = 22
"""No other generator is made from (seed, this)."""
STEP = 1e-9
"""Seconds between two messages of a call that would arrive together."""
KEEPALIVE = 15.0
"""Seconds of silence after which gRPC breaks a connection: see `transports.rpc`."""


class Trace:
    """What has happened, one line each, and a digest of all of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, what: str, about: str, data: bytes = b"") -> None:
        now = asyncio.get_running_loop().time()
        content = zlib.crc32(bytes(sorted(data)))  # protobuf orders no map
        self.lines.append(f"{now:.9f} {what} {about} {len(data)} {content:08x}")

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


class Between(Protocol):
    """A call, as the network sees it."""

    ends: frozenset[str]
    began: float

    def break_off(self, why: str) -> None: ...


@dataclass(eq=False)
class Way:
    """One direction of one call.

    Attributes:
        pending: what is under way, in the order in which it was sent.
        clear_at: when the last of it arrives, at the earliest.
    """

    sender: str
    receiver: str
    about: str
    pending: deque[tuple[bytes, Callable[[bytes], None]]] = field(default_factory=deque)
    clear_at: float = 0.0


@dataclass
class _Link:
    """What is between two hosts, both ways."""

    down_until: float = 0.0  # every connection is refused until then
    silent_until: float = 0.0  # nothing comes through until then


class HostNetwork:
    """Links between hosts by their names.

    Attributes:
        weather: of every link that has none of its own in `weathers`, by frozenset of two names.
        trace: what has happened.
        duplicated: how many calls were made twice.
        cuts: how many times a link was cut.
    """

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.seed = seed
        self.weather = weather or Weather(delay=0.001)
        self.weathers: dict[frozenset[str], Weather] = {}
        self.trace = Trace()
        self.duplicated = self.cuts = 0
        self._rngs: dict[tuple[str, str], np.random.Generator] = {}
        self._links: dict[frozenset[str], _Link] = {}
        self._calls: dict[Between, None] = {}

    # ---- calls ----

    def add(self, call: Between) -> None:
        self._calls[call] = None

    def discard(self, call: Between) -> None:
        self._calls.pop(call, None)

    def is_refused(self, a: str, b: str) -> bool:
        """Whether no connection can be made."""
        return self._link(a, b).down_until > _now()

    def is_made_twice(self, sender: str, receiver: str) -> bool:
        """Whether a call that could be repeated is, by somebody on the way."""
        weather = self._weather(sender, receiver)
        chance = weather.duplicate
        twice = bool(chance) and bool(self._rng(sender, receiver).random() < chance)
        self.duplicated += twice
        return twice

    def carry(self, way: Way, what: str, data: bytes, arrive: Callable[[bytes], None]) -> None:
        """Has `arrive` called at the other end, or cuts the link under it."""
        about = f"{way.about} {what}"
        self.trace.add("send", about, data)
        weather, rng = self._weather(way.sender, way.receiver), self._rng(way.sender, way.receiver)
        if weather.cut and rng.random() < weather.cut:
            self.cut(way.sender, way.receiver, weather.outage)
            return
        delay = weather.delays.draw(rng, 0, 0) + weather.waited(weather.losses(rng))
        way.clear_at = max(_now() + delay + weather.transmission(len(data)), way.clear_at + STEP)
        way.pending.append((data, arrive))
        asyncio.get_running_loop().call_at(way.clear_at, self._arrive, way, about)

    def _arrive(self, way: Way, about: str) -> None:
        """Hands over whatever is first, so that the order is that of sending."""
        silent_until = self._link(way.sender, way.receiver).silent_until
        if silent_until > _now():
            asyncio.get_running_loop().call_at(silent_until, self._arrive, way, about)
        elif way.pending:
            data, arrive = way.pending.popleft()
            self.trace.add("recv", about, data)
            arrive(data)

    # ---- faults ----

    def cut(self, a: str, b: str, outage: float) -> None:
        """Breaks every call between two hosts; for `outage` seconds there will be no other."""
        self.cuts += 1
        link = self._link(a, b)
        link.down_until = max(link.down_until, _now() + outage)
        self._break({a, b}, "the connection was reset")

    def part(self, some: Collection[str], others: Collection[str], lasts: float) -> None:
        """Lets nothing through between the two groups for so many seconds."""
        loop, began = asyncio.get_running_loop(), _now()
        for a in some:
            for b in others:
                link = self._link(a, b)
                link.silent_until = max(link.silent_until, began + lasts)
                if lasts > KEEPALIVE:
                    loop.call_later(KEEPALIVE, self._time_out, frozenset((a, b)), began)

    def _time_out(self, ends: frozenset[str], began: float) -> None:
        self.trace.add("silence", " ".join(sorted(ends)))
        self._break(set(ends), "keepalive watchdog timeout", before=began)

    def silence(self, name: str) -> None:
        """A host is dead: its connections are reset."""
        for call in list(self._calls):
            if name in call.ends:
                call.break_off(f"{name} has reset the connection")

    def silent_for(self, a: str, b: str) -> float:
        """How long nothing will come through."""
        return max(0.0, self._link(a, b).silent_until - _now())

    def _break(self, ends: set[str], why: str, before: float | None = None) -> None:
        self.trace.add("cut", " ".join(sorted(ends)))
        for call in list(self._calls):
            if call.ends == ends and (before is None or call.began <= before):
                call.break_off(why)

    # ---- inside ----

    def _weather(self, a: str, b: str) -> Weather:
        return self.weathers.get(frozenset((a, b)), self.weather)

    def _link(self, a: str, b: str) -> _Link:
        return self._links.setdefault(frozenset((a, b)), _Link())

    def _rng(self, sender: str, receiver: str) -> np.random.Generator:
        rng = self._rngs.get((sender, receiver))
        if rng is None:
            key = zlib.crc32(f"{sender}>{receiver}".encode())
            rng = np.random.default_rng([self.seed, HOSTS_STREAM, key])
            self._rngs[sender, receiver] = rng
        return rng


def _now() -> float:
    return asyncio.get_running_loop().time()
