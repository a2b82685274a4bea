"""Silences: nodes that are frozen or crash for a while, and groups that cannot hear each other.

A frozen node computes nothing, sends nothing and hears nothing; then it goes on where it was, as a
process that was stopped and continued, or a machine that slept.

A node that crashes is one whose state is on its disk: it comes back with it. What was on its links
is lost, as are the links, which come back with it; the sessions repair them. p2pdo's own nodes do
not keep their state so: a process that was killed ends its workload.

While a partition lasts, nothing comes through between its nodes and all others. What was under way
arrives when it is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """From when until when, in seconds."""

    begins: float
    ends: float

    @property
    def length(self) -> float:
        return self.ends - self.begins


@dataclass(frozen=True, slots=True)
class Freeze:
    """Nodes stand still.

    Attributes:
        nodes: who.
        at: when for the first time; with `every` it is drawn.
        lasts: how long; with `every` on average, exponentially distributed.
        every: the mean time between the end of one and the beginning of the next; None: once.
    """

    nodes: tuple[int, ...]
    lasts: float
    at: float = 0.0
    every: float | None = None

    def intervals(self, rng: np.random.Generator) -> Iterator[Interval]:
        """Those of one node, in order."""
        if self.every is None:
            yield Interval(self.at, self.at + self.lasts)
            return
        ended = self.at
        while True:
            begins = ended + float(rng.exponential(self.every))
            ended = begins + float(rng.exponential(self.lasts))
            yield Interval(begins, ended)


@dataclass(frozen=True, slots=True)
class Crash:
    """Nodes are gone from `at` on, with their links, and back with their state `lasts` later."""

    nodes: tuple[int, ...]
    at: float
    lasts: float

    @property
    def interval(self) -> Interval:
        return Interval(self.at, self.at + self.lasts)


@dataclass(frozen=True, slots=True)
class Partition:
    """Nodes that hear each other and nobody else, from `at` on for `lasts` seconds."""

    nodes: tuple[int, ...]
    at: float
    lasts: float

    @property
    def interval(self) -> Interval:
        return Interval(self.at, self.at + self.lasts)

    def parts(self, a: int, b: int) -> bool:
        return (a in self.nodes) != (b in self.nodes)


@dataclass
class Schedule:
    """The silences of one node or one link, drawn as far as anybody has asked."""

    sources: Sequence[Iterator[Interval]]
    _known: list[list[Interval]] = field(init=False)

    def __post_init__(self) -> None:
        self._known = [[] for _ in self.sources]

    def at(self, time: float) -> Interval | None:
        """The one that ends last of those in which this time lies."""
        found = [
            interval
            for source, known in zip(self.sources, self._known, strict=True)
            if (interval := _covering(source, known, time)) is not None
        ]
        return max(found, key=lambda interval: interval.ends, default=None)

    def until_heard(self, time: float) -> float:
        """The first moment from `time` on that lies in none."""
        while (silence := self.at(time)) is not None:
            if math.isinf(silence.ends):
                return math.inf
            time = silence.ends
        return time

    def finish(self, begins: float, taking: float) -> float:
        """When work that takes so long is done, if it rests in every silence."""
        now = self.until_heard(begins)
        while math.isfinite(now):
            pause = self._next(now)
            if pause is None or now + taking <= pause.begins:
                return now + taking
            taking -= pause.begins - now
            now = self.until_heard(pause.begins)
        return now

    def within(self, begins: float, ends: float) -> list[Interval]:
        """Those that fall into this time; `ends` may be infinite where one is."""
        found, time = [], begins
        while time < ends:
            silence = self.at(time) or self._next(time)
            if silence is None or silence.begins >= ends:
                break
            found.append(silence)
            time = silence.ends
        return found

    def _next(self, time: float) -> Interval | None:
        """The first that begins after this time."""
        found = []
        for source, known in zip(self.sources, self._known, strict=True):
            _extend(source, known, time)
            found += [interval for interval in known if interval.begins > time][:1]
        return min(found, default=None)


def _covering(source: Iterator[Interval], known: list[Interval], time: float) -> Interval | None:
    _extend(source, known, time)
    return next((i for i in reversed(known) if i.begins <= time < i.ends), None)


def _extend(source: Iterator[Interval], known: list[Interval], time: float) -> None:
    """Until one begins after this time, or there is none."""
    while not known or known[-1].begins <= time:
        following = next(source, None)
        if following is None:
            return
        known.append(following)
