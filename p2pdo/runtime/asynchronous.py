"""An asynchronous algorithm at a node: members that meet over links, each at its own pace.

    what has come ──▶ receive, then wake if it is due ──▶ what is to be sent     (one turn)

A turn computes on the workload's own thread; the loop carries messages meanwhile. When a node is up
is its `Pace`: here, when it is due by what it has heard; else it waits for what comes. Sessions
below see to it that nothing is lost on a broken link; where
a neighbour is slow to take what it is sent, only the newest message waits for it, which has all
there is to know.

Observation, judgement and limits are those of the synchronous driver, counted in a node's own
wake-ups: at each multiple of `observe_every`, and at the end, its state is told. A node at its
limit has told all that it has to say, and takes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, TypeAlias

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.asynchronous.channels import Message
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.frames import Data, EffectKind, Frame, Tag
from p2pdo.protocol.judging import Report
from p2pdo.protocol.values import size_of
from p2pdo.runtime.compute import Compute
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.judged import JudgedRun, Observer
from p2pdo.types import NodeId, Value

Post: TypeAlias = tuple[int, Message]


class Mailbox(Exchanger):
    """An exchange without rounds: messages go as they come, the newest to each neighbour."""

    def __init__(self, place: Place, names: Mapping[int, NodeId], digest: bytes) -> None:
        super().__init__(place, names, digest)
        self.superseded = (0, 0)  # messages that were never sent, and their bytes
        self.dropped = 0  # messages that have come, and are lost all the same
        self._waiting: dict[int, Message] = {}  # for room, to each out-neighbour
        self._heard: set[int] = set()  # in-neighbours of whom a value has come since `collect`

    def receive(self, peer: NodeId, frame: Frame) -> None:
        """Takes in a frame; an acknowledgement makes room for what waits."""
        if isinstance(frame, Data):  # before whoever waits is woken
            self._heard.add(self._index.get(peer, -1))
        super().receive(peer, frame)
        if not self._waiting:
            return
        waiting = self._waiting.pop(self._index.get(peer, -1), None)
        if waiting is not None:
            self._hand_on(self._index[peer], waiting)

    def post(self, messages: Sequence[Post]) -> None:
        for receiver, message in messages:
            self._hand_on(receiver, message)

    def collect(self) -> list[Post]:
        """What has come, in the order of the neighbours and, of each, of sending.

        Raises:
            RemoteProtocolError: it is no message of an asynchronous algorithm.
        """
        came: list[Post] = []
        edges = self._rounds.edges
        for j in sorted(self._heard):
            edge = edges.get(j)
            if edge is None:
                continue
            while (tag := edge.peek()) is not None:
                came.append((j, _message(edge.sender, tag, edge.take())))
            if came and came[-1][0] == j:
                session = self._sessions[j]
                if frames := session.taken():
                    self._send(session, frames)
        self._heard.clear()
        return came

    @property
    def has_come(self) -> bool:
        edges = self._rounds.edges
        return any(j in edges and edges[j].peek() is not None for j in self._heard)

    def _hand_on(self, receiver: int, message: Message) -> None:
        """Sends it, or keeps it until there is room: what has no parts is news of an older one."""
        if self._out[receiver].has_room and receiver not in self._waiting:
            tag = Tag(message.wakes, 0, EffectKind.MESSAGE)
            session = self._sessions[receiver]
            value: Value = (message.number, message.parts)  # type: ignore[assignment]
            self._send(session, session.send(tag, value))
            return
        kept = self._waiting.get(receiver)
        if kept is not None:
            if message.parts:
                gone = kept.parts
            else:
                message, gone = kept._replace(wakes=message.wakes), {}
            count, size = self.superseded
            self.superseded = count + 1, size + sum(map(size_of, gone.values()))
        self._waiting[receiver] = message


def _message(sender: str, tag: Tag, value: Value) -> Message:
    match value:
        case (int(number), dict(parts)) if tag.effect is EffectKind.MESSAGE:
            return Message(tag.iteration, number, parts)
    raise RemoteProtocolError(
        f"{sender} sent what no asynchronous algorithm sends: {tag}",
        hint="all nodes must run one algorithm",
        node=sender,
        iteration=tag.iteration,
    )


class Turn(Enum):
    """What a node does at its turn, when it has taken what has come."""

    WAIT = auto()
    WAKE = auto()
    AGAIN = auto()  # says once more what it has said


class Pace:
    """When a node is up: by the news, on links that lose nothing."""

    @property
    def is_ringing(self) -> bool:
        """Whether it is time for something by the clock."""
        return False

    def is_up(self, member: Member[Any]) -> bool:
        """Whether it is time for something though nothing has come."""
        return member.is_due

    def turn(self, member: Member[Any]) -> Turn:
        """What it is time for; whatever has rung is still after it."""
        return Turn.WAKE if member.is_due else Turn.WAIT


class AsynchronousDriver(JudgedRun):
    """One node's run of one asynchronous algorithm; to others it is as a `driver.Driver`."""

    def __init__(
        self,
        member: Member[Any],
        mailbox: Mailbox,
        compute: Compute,
        observer: Observer | None,
        *,
        rounds: int,
        observe_every: int,
        judged: bool,
        pace: Pace | None = None,
    ) -> None:
        """With `judged`, states wait for `judge` to be called; otherwise they are only told."""
        super().__init__(mailbox, observer, observe_every=observe_every, judged=judged)
        self._pace = pace or Pace()
        self._member = member
        self._mailbox = mailbox
        self._compute = compute
        self._rounds = rounds

    @property
    def iteration(self) -> int:
        """Completed wake-ups, for whoever asks how far it is."""
        return self._member.wakes

    async def _to_the_end(self) -> Report:
        """To the limit of wake-ups, or a verdict."""
        report: Report | None = await self._compute.run(self._member.report)
        while self._result is None:
            if report is not None:
                await self._show(report)
                if report.iteration >= self._rounds:
                    await self._verdicts()
                    return report
            report = await self._turn()
        return self._result

    async def _turn(self) -> Report | None:
        """Waits for a reason to do something, and does it; the report at a boundary of interest."""
        mailbox, member = self._mailbox, self._member
        await mailbox.until(self._is_up)
        mailbox.at(member.wakes)
        messages, report = await self._compute.run(self._take_and_wake, mailbox.collect())
        mailbox.check()
        if messages:
            mailbox.post(messages)
        return None if report is None else self._as_sent(report)

    def _is_up(self) -> bool:
        return self._mailbox.has_come or self._pace.is_up(self._member)

    def say_again(self) -> None:
        """Sends what was sent last to each neighbour once more, where something may be lost."""
        self._mailbox.post(self._member.again())

    async def _wait(self, predicate: Callable[[], bool]) -> None:
        """Neighbours may wait for what they were told and have not heard."""
        mailbox, pace = self._mailbox, self._pace
        while True:
            await mailbox.until(lambda: pace.is_ringing or predicate())
            if not pace.is_ringing:
                return
            if pace.turn(self._member) is not Turn.WAIT:
                self.say_again()

    def _as_sent(self, report: Report) -> Report:
        """A member counts what it has to say; what the next one made needless was not sent."""
        count, size = self._mailbox.superseded
        return replace(
            report,
            messages_sent=report.messages_sent - count,
            bytes_sent=report.bytes_sent - size,
            dropped=self._mailbox.dropped,
        )

    def _take_and_wake(self, came: Sequence[Post]) -> tuple[list[Post], Report | None]:
        """On the workload's thread."""
        member = self._member
        replies = [(sender, member.receive(sender, message)) for sender, message in came]
        messages = [(sender, reply) for sender, reply in replies if reply is not None]
        turn = self._pace.turn(member)
        if turn is Turn.AGAIN:
            messages += member.again()
        if turn is not Turn.WAKE:
            return messages, None
        messages += member.wake()
        is_observed = member.wakes % self._every == 0 or member.wakes == self._rounds
        return messages, member.report() if is_observed else None
