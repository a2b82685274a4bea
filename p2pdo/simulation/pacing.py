"""When asynchronous nodes of a simulated network are up, and which of their messages never arrive.

    nothing asked      each node wakes when it is due, as between processes
    an activation      a clock rings: who may wake does, who is too far ahead says all again
    messages lost      each node wakes when it is due; and says all again when it has not spoken for
                       a while, because what it waits for may be waiting for what was lost

What is lost is lost above the sessions, which repair what links lose: a message that has come is
left out, the k-th of an edge as `Drops` say, whatever the time; and what is sent over an edge that
an activation has down goes nowhere. With a clock, or losses, nodes that have had all their wake-ups
say theirs again until all have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.drops import Arrivals
from p2pdo.runtime.asynchronous import Mailbox, Pace, Post, Turn
from p2pdo.simulation.activation.reading import read_activation
from p2pdo.types import NodeId

Edge = tuple[int, int]


class Bell(Pace):
    """By a clock."""

    def __init__(self, heard: Callable[[], None]) -> None:
        """`heard` is called when it rings."""
        self.heard = heard
        self._is_ringing = False

    def ring(self) -> None:
        self._is_ringing = True
        self.heard()

    @property
    def is_ringing(self) -> bool:
        return self._is_ringing

    def is_up(self, member: Member[Any]) -> bool:  # noqa: ARG002 - what has come wakes nobody
        return self._is_ringing

    def turn(self, member: Member[Any]) -> Turn:
        rung, self._is_ringing = self._is_ringing, False
        if not rung:
            return Turn.WAIT
        return Turn.WAKE if member.may_wake else Turn.AGAIN


class Reminder(Bell):
    """By the news, and by a clock where none comes."""

    _has_spoken = False  # since it last rang

    def is_up(self, member: Member[Any]) -> bool:
        return self._is_ringing or member.is_due

    def turn(self, member: Member[Any]) -> Turn:
        rung, self._is_ringing = self._is_ringing, False
        if member.is_due:
            self._has_spoken = True
            return Turn.WAKE
        is_silent = rung and not self._has_spoken
        if rung:
            self._has_spoken = False
        return Turn.AGAIN if is_silent else Turn.WAIT


class LosingMailbox(Mailbox):
    """One whose messages are lost above the sessions."""

    def __init__(
        self,
        plan: AsynchronousPlan,
        node: int,
        names: Mapping[int, NodeId],
        digest: bytes,
        is_up: Callable[[Edge], bool],
    ) -> None:
        super().__init__(plan.place(node), names, digest)
        self._node = node
        self._is_up = is_up
        self._come = dict.fromkeys(self._place.in_neighbors, 0)  # messages so far
        self._arrivals: dict[int, Arrivals] = {}
        if plan.drops is not None:
            for j in self._place.in_neighbors:  # a stream for each edge, apart from those of nodes
                stream = (1 + j) * plan.nodes + node
                self._arrivals[j] = plan.drops.at(stream, (j,))

    def post(self, messages: Sequence[Post]) -> None:
        super().post([post for post in messages if self._is_up((self._node, post[0]))])

    def collect(self) -> list[Post]:
        return [post for post in super().collect() if self._arrives(post[0])]

    def _arrives(self, sender: int) -> bool:
        arrivals = self._arrivals.get(sender)
        if arrivals is None:
            return True
        number, self._come[sender] = self._come[sender], self._come[sender] + 1
        arrives = bool(arrivals.of(number, 0))
        self.dropped += not arrives
        return arrives


class Clocks:
    """All nodes' of one run in virtual time."""

    def __init__(self, plan: AsynchronousPlan, seed: int, reminding: float) -> None:
        """A node that has not spoken for `reminding` seconds does, where messages are lost."""
        activation = plan.asynchrony.activation
        self._plan = plan
        self._digest = plan.weights.digest()
        self._schedule = None if activation is None else read_activation(activation, plan.nodes)
        self._seed = seed
        self._reminding = reminding
        self._bells: dict[int, Bell] = {}
        self._up: frozenset[Edge] | None = None  # where edges come and go, those that are there

    def mailbox(self, node: int, names: Mapping[int, NodeId]) -> Mailbox:
        plan = self._plan
        if self._schedule is None and plan.drops is None:
            return Mailbox(plan.place(node), names, self._digest)
        return LosingMailbox(plan, node, names, self._digest, self._is_up)

    def pace(self, node: int, mailbox: Mailbox) -> Pace:
        if self._schedule is None and self._plan.drops is None:
            return Pace()
        kind = Reminder if self._schedule is None else Bell
        bell = self._bells[node] = kind(mailbox.wake)
        return bell

    def has_ended(self, node: int, say_again: Callable[[], None]) -> None:
        """A node that has had all its wake-ups says theirs again when it rings."""
        if node in self._bells:
            self._bells[node].heard = say_again

    async def run(self) -> None:
        """Rings, as long as there is something that rings, until it is cancelled."""
        if self._schedule is not None:
            await self._follow_schedule()
        while self._plan.drops is not None:
            await asyncio.sleep(self._reminding)
            for node in sorted(self._bells):
                self._bells[node].ring()

    async def _follow_schedule(self) -> None:
        assert self._schedule is not None, "asked by who has one"
        loop = asyncio.get_running_loop()
        for tick in self._schedule.ticks(self._plan.graph, self._seed):
            await asyncio.sleep(max(0.0, tick.time - loop.time()))
            if self._schedule.by_edges:
                self._up = frozenset(tick.edges)
            for node in tick.nodes:
                if node in self._bells:  # else it has not begun
                    self._bells[node].ring()

    def _is_up(self, edge: Edge) -> bool:
        return self._up is None or edge in self._up
