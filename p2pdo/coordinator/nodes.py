"""The nodes: who is here, under which start, and for how long nobody has heard of them.

    UP ──── no word for a lease, or a broken task stream and not back in time ───▶ LOST
     │ ◀─────────────────────────────── join ────────────────────────────────────────┘
     └─leave─▶ LEFT

A name belongs to one running daemon, told by its boot id. A second daemon of that name is refused
while the first may live: unless its stream broke or it left, it would answer for the same data
twice. The same boot id may join again at any time; after a restart of the coordinator it has to,
which is how it learns the new epoch, and nothing of its work is lost by that.

Time is the clock's, an event loop in production. One timer per node watches its lease: when it
fires too early, because the node was heard meanwhile, it is set again. Nothing polls. A timer that
fires late says that this process was stopped or starved: what nodes said meanwhile waits to be
read, and their connections may have broken, so nobody is lost before they had a chance to speak.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from p2pdo.coordinator.settings import Settings
from p2pdo.errors import ConfigError, Conflict, NotFound
from p2pdo.protocol.tasks import Task
from p2pdo.types import NodeId, WorkloadId

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ENDS_KEPT = 1024  # per node: what a reopened stream is told again
LATE = 0.1  # seconds: a timer that fires later than this tells that the process stood still


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """What an event loop offers; the only source of time here."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer: ...


class NodeState(StrEnum):
    UP = "up"
    LOST = "lost"
    LEFT = "left"


class Stream:
    """One open task stream, or one poll, of a node.

    Attributes:
        wake: set when there may be something to send.
        resend: leased tasks have to be sent again, for the node may not have got them.
        again: those of them that wait for the next message.
        ends: ends of workloads that this stream has not told yet.
        is_over: the node left, or opened a newer stream.
    """

    def __init__(self, node: NodeRecord) -> None:
        self.node = node
        self.wake = asyncio.Event()
        self.wake.set()
        self.resend = True
        self.again: deque[Task] = deque()
        self.ends: dict[WorkloadId, str] = dict(node.ends)
        self.is_over = False

    def end(self) -> None:
        self.is_over = True
        self.wake.set()


@dataclass(slots=True, eq=False)
class NodeRecord:
    """A node as the coordinator knows it.

    Attributes:
        joined: the place of this boot id's first join among all durable events; ends of
            workloads before it are none of its business.
        is_confirmed: it has joined since this coordinator started.
        heard: the clock's time of its last word.
        ends: workloads that ended since it joined, with the reasons.
    """

    name: NodeId
    boot_id: str
    address: str
    version: str
    return_states: bool
    state: NodeState
    joined: int
    is_confirmed: bool = False
    heard: float = 0.0
    default_credit: int = 0
    is_draining: bool = False  # it takes no new workload
    credit: dict[WorkloadId, int] = field(default_factory=dict)
    first_offered: dict[WorkloadId, int] = field(default_factory=dict)
    ends: dict[WorkloadId, str] = field(default_factory=dict)
    stream: Stream | None = None
    lease: Timer | None = None
    grace: Timer | None = None

    @property
    def is_up(self) -> bool:
        return self.state is NodeState.UP

    @property
    def absence(self) -> str:
        """What who waits for its answer wants to know; empty while it is there."""
        if self.is_up:
            return "; nothing is heard of the node at present" if self.is_suspect else ""
        return "; the node is lost" if self.state is NodeState.LOST else "; the node left"

    @property
    def takes_workloads(self) -> bool:
        return self.is_up and self.is_confirmed and not self.is_draining

    @property
    def is_suspect(self) -> bool:
        """Its stream broke; or the coordinator was restarted and has not heard of it yet."""
        return self.grace is not None or not self.is_confirmed

    def credit_for(self, workload: WorkloadId, first: int) -> int:
        """The task number that it does not take yet.

        Of a workload that it has not named it takes `default_credit` tasks from the first it is
        offered on, which after a restart of the node is not number 0.
        """
        named = self.credit.get(workload)
        if named is not None:
            return named
        return self.first_offered.setdefault(workload, first) + self.default_credit

    def grant(self, credit: Mapping[str, int], default_credit: int) -> None:
        """Takes what the node says it can take; credit never falls."""
        self.default_credit = default_credit
        self.is_draining = default_credit == 0
        for workload, limit in credit.items():
            key = WorkloadId(workload)
            self.credit[key] = max(limit, self.credit.get(key, 0))
        self.wake()

    def add_end(self, workload: WorkloadId, reason: str) -> None:
        self.ends[workload] = reason
        self.credit.pop(workload, None)
        self.first_offered.pop(workload, None)
        while len(self.ends) > _ENDS_KEPT:
            del self.ends[next(iter(self.ends))]
        if self.stream is not None:
            self.stream.ends[workload] = reason
            self.stream.wake.set()

    def wake(self) -> None:
        if self.stream is not None:
            self.stream.wake.set()


class Registry:
    """All nodes by name.

    `on_change(node)` is called when what must be durable has changed, `on_gone(node, what)` when
    a daemon is lost, left or was restarted, before its successor takes the name.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        on_change: Callable[[NodeRecord], None],
        on_gone: Callable[[NodeRecord, str], None],
        next_place: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._on_change = on_change
        self._on_gone = on_gone
        self._next_place = next_place
        self._nodes: dict[NodeId, NodeRecord] = {}
        self._is_closing = False

    def restore(self, nodes: Iterable[NodeRecord]) -> None:
        """Takes the nodes of an earlier coordinator; each gets a fresh lease."""
        for node in nodes:
            self._nodes[node.name] = node
            if node.is_up:
                self._start_lease(node)

    def close(self) -> None:
        """Ends all streams; from here on a broken one means nothing."""
        self._is_closing = True
        for node in self._nodes.values():
            _cancel_timers(node)
            if node.stream is not None:
                node.stream.end()

    # ---- who is here ----

    def all(self) -> list[NodeRecord]:
        return sorted(self._nodes.values(), key=lambda node: node.name)

    def up(self) -> list[NodeRecord]:
        """What a workload may be given to, by name."""
        return [node for node in self.all() if node.takes_workloads]

    def get(self, name: NodeId) -> NodeRecord | None:
        return self._nodes.get(name)

    def silence(self, node: NodeRecord) -> float:
        return self._clock.time() - node.heard

    # ---- what nodes say ----

    def join(
        self, name: NodeId, boot_id: str, *, address: str, version: str, return_states: bool
    ) -> NodeRecord:
        """Takes a daemon in, or in again.

        Raises:
            ConfigError: that is no name.
            Conflict: another daemon of that name may be alive.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"'{name[:80]}' is not a node's name",
                hint="1 to 64 letters, digits, dots, dashes and underscores",
            )
        known = self._nodes.get(name)
        if known is None or known.boot_id != boot_id:
            known = self._take_new_boot(name, boot_id, known)
        known.address, known.version, known.return_states = address, version, return_states
        known.state, known.is_confirmed = NodeState.UP, True
        self._start_lease(known)
        self._on_change(known)
        return known

    def _take_new_boot(self, name: NodeId, boot_id: str, old: NodeRecord | None) -> NodeRecord:
        if old is not None and old.is_up:
            if not old.is_suspect:
                raise Conflict(
                    f"two nodes with one name: '{name}' is running already",
                    hint="give this one another name, or stop the other and wait "
                    f"{self._settings.lease_seconds:g} s",
                    node=name,
                )
            self._on_gone(old, f"node {name} was restarted")
        if old is not None:
            _cancel_timers(old)
            if old.stream is not None:
                old.stream.end()
        node = NodeRecord(
            name,
            boot_id,
            "",
            "",
            return_states=False,
            state=NodeState.UP,
            joined=self._next_place(),
        )
        self._nodes[name] = node
        return node

    def leave(self, name: NodeId, boot_id: str) -> None:
        node = self._nodes.get(name)
        if node is not None and node.boot_id == boot_id and node.is_up:
            self._end(node, NodeState.LEFT, f"node {name} left")

    def hear(self, name: NodeId, boot_id: str) -> bool:
        """Renews a lease; whether there is one to renew."""
        node = self._nodes.get(name)
        if node is None or node.boot_id != boot_id or not (node.is_up and node.is_confirmed):
            return False
        node.heard = self._clock.time()
        return True

    # ---- streams ----

    def open_stream(self, name: NodeId, boot_id: str) -> Stream:
        """The node's one stream; an older one ends.

        Raises:
            NotFound: it has to join first.
        """
        if not self.hear(name, boot_id):
            raise NotFound(f"node {name} has not joined", hint="join again", node=name)
        node = self._nodes[name]
        if node.grace is not None:
            node.grace.cancel()
            node.grace = None
        if node.stream is not None:
            node.stream.end()
        node.stream = Stream(node)
        return node.stream

    def close_stream(self, stream: Stream, *, is_poll: bool = False) -> None:
        """The stream is gone; unless a newer one or a poll's end, the node must come back soon."""
        node = stream.node
        if node.stream is not stream:
            return
        node.stream = None
        if node.is_up and not (self._is_closing or is_poll):
            self._start_grace(node)

    # ---- time ----

    def _start_lease(self, node: NodeRecord) -> None:
        node.heard = self._clock.time()
        if node.lease is None and not self._is_closing:
            self._check_lease_at(node.heard + self._settings.lease_seconds, node)

    def _check_lease_at(self, when: float, node: NodeRecord) -> None:
        node.lease = self._clock.call_at(when, self._check_lease, node, when)

    def _check_lease(self, node: NodeRecord, due: float) -> None:
        now = self._clock.time()
        ends = node.heard + self._settings.lease_seconds
        if now < ends:
            self._check_lease_at(ends, node)
            return
        late = now - due
        if late > LATE:
            chance = late + 2 * self._settings.heartbeat_seconds
            self._check_lease_at(now + min(chance, self._settings.lease_seconds), node)
            return
        node.lease = None
        self._end(
            node,
            NodeState.LOST,
            f"node {node.name} was lost: no sign of life for {self._settings.lease_seconds:g} s",
        )

    def _start_grace(self, node: NodeRecord) -> None:
        when = self._clock.time() + self._settings.rejoin_grace
        node.grace = self._clock.call_at(when, self._grace_is_over, node, when)

    def _grace_is_over(self, node: NodeRecord, due: float) -> None:
        if self._clock.time() - due > LATE:
            self._start_grace(node)
            return
        node.grace = None
        self._end(
            node,
            NodeState.LOST,
            f"node {node.name} was lost: its connection broke and it did not come back within "
            f"{self._settings.rejoin_grace:g} s",
        )

    def _end(self, node: NodeRecord, state: NodeState, what: str) -> None:
        node.state = state
        _cancel_timers(node)
        if node.stream is not None:
            node.stream.end()
            node.stream = None
        self._on_change(node)
        self._on_gone(node, what)


def _cancel_timers(node: NodeRecord) -> None:
    for timer in (node.lease, node.grace):
        if timer is not None:
            timer.cancel()
    node.lease = node.grace = None
