"""What watchers see of a workload, and the network's metrics put together from its nodes'.

Each watcher has its own backlog. Status changes are few and all kept; metric points are many, and
a watcher that reads slowly loses the oldest of them and slows nobody down. Results are no part of
the backlog: they are kept with the workload, in the order in which they were accepted, and a
watcher remembers how many it has seen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from p2pdo.types import NodeId, Plain
from p2pdo.wire.v1 import coordinator_pb2 as wire


class Watcher:
    """One reader's backlog."""

    def __init__(self, limit: int) -> None:
        self.wake = asyncio.Event()
        self._limit = limit
        self._events: deque[wire.WorkloadEvent] = deque()
        self._metrics = 0

    def put(self, event: wire.WorkloadEvent) -> None:
        self._events.append(event)
        if event.HasField("metric"):
            self._metrics += 1
            if self._metrics > self._limit:
                self._drop_oldest_metric()
        self.wake.set()

    def take(self) -> list[wire.WorkloadEvent]:
        events = list(self._events)
        self._events.clear()
        self._metrics = 0
        self.wake.clear()
        return events

    def _drop_oldest_metric(self) -> None:
        oldest = next(event for event in self._events if event.HasField("metric"))
        self._events.remove(oldest)
        self._metrics -= 1


class Watchers:
    """The watchers of one workload."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._watchers: list[Watcher] = []

    def __bool__(self) -> bool:
        return bool(self._watchers)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        watcher = Watcher(self._limit)
        self._watchers.append(watcher)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    def publish(self, event: wire.WorkloadEvent) -> None:
        for watcher in self._watchers:
            watcher.put(event)

    def nudge(self) -> None:
        """There are new results to read."""
        for watcher in self._watchers:
            watcher.wake.set()


@dataclass(frozen=True, slots=True)
class Point:
    """How far one node is, and what a participant there has logged.

    The network's has, by each name, what every node has logged.
    """

    iteration: int
    seconds: float
    bytes_sent: int
    messages_sent: int
    logged: Mapping[str, Plain] = field(default_factory=dict)


class Meter:
    """Puts the points of all members together, iteration by iteration.

    An iteration of the network is told once every member has reached it, in ascending order; one
    that a member skipped is passed over when a later one is complete.
    """

    def __init__(self, members: Sequence[NodeId]) -> None:
        self._members = members
        self._partial: dict[int, dict[NodeId, Point]] = {}
        self._told = -1  # Invariant: nothing at or before this iteration is kept
        self.latest: dict[NodeId, Point] = {}

    def add(self, node: NodeId, point: Point) -> Point | None:
        """Takes a node's point; the network's, if this was the last that it lacked."""
        before = self.latest.get(node)
        if before is None or before.iteration <= point.iteration:
            self.latest[node] = point
        if point.iteration <= self._told:
            return None
        points = self._partial.setdefault(point.iteration, {})
        points[node] = point
        if len(points) < len(self._members):
            return None
        self._told = point.iteration
        self._partial = {k: p for k, p in self._partial.items() if k > self._told}
        return _network(points)


def _network(points: Mapping[NodeId, Point]) -> Point:
    values = list(points.values())
    logged: dict[str, dict[str, Plain]] = {}
    for node in sorted(points):
        for name, number in points[node].logged.items():
            logged.setdefault(name, {})[node] = number
    return Point(
        values[0].iteration,
        max(point.seconds for point in values),
        sum(point.bytes_sent for point in values),
        sum(point.messages_sent for point in values),
        dict(logged),
    )
