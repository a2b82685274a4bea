"""The exchange of one workload at one node: its sessions, its rounds, and the one who waits.

The transport calls in from the loop (`link_up`, `link_down`, `lost`, `receive`); the driver waits
in `exchange`. The wait is a predicate that is checked again at every wake: all in-neighbours'
values of this exchange are here. A failure, an abort or a lost peer wakes it too and is raised; a
wait never returns as if it had succeeded.

A finished node keeps its exchange open, serving what slower neighbours still need, until it is
closed from outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from p2pdo.errors import LinkLost, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Bye, Frame, Hello
from p2pdo.protocol.rounds import WINDOW, Rounds
from p2pdo.protocol.session import OutEdge, PeerSession, SessionState
from p2pdo.types import NodeId, Value

T = TypeVar("T")


class Wire(Protocol):
    """Carries one workload's frames to its peers; drops them where there is no link."""

    def send(self, peer: NodeId, frame: Frame) -> None: ...


class Exchanger:
    """One node's edges in one workload."""

    def __init__(self, place: Place, names: Mapping[int, NodeId], digest: bytes) -> None:
        """`names` names the neighbours; `digest` is the topology's, the same at all nodes."""
        self._place = place
        self._index = {name: index for index, name in names.items()}
        self._names = dict(names)
        senders = [(j, names[j]) for j in place.in_neighbors]
        self._rounds = Rounds(senders, WINDOW)
        self._out = {j: OutEdge(WINDOW) for j in place.out_neighbors}
        self._sessions = {
            j: PeerSession(names[j], digest, self._rounds.edges.get(j), self._out.get(j), WINDOW)
            for j in sorted({*place.in_neighbors, *place.out_neighbors})
        }
        self._hears_only = sorted({*place.in_neighbors} - {*place.out_neighbors})
        self._wire: Wire | None = None
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_finished = False  # Invariant then: no exchange will be taken here any more.
        self._farewell = ""  # the reason, once we have said Bye
        self._iteration = 0

    @property
    def peers(self) -> list[NodeId]:
        return [self._names[j] for j in self._sessions]

    @property
    def iteration(self) -> int:
        """The iteration of the exchange that is or was last waited for."""
        return self._iteration

    def connect(self, wire: Wire) -> None:
        self._wire = wire

    # ---- called by the transport, on the loop ----

    def link_up(self, peer: NodeId) -> None:
        session = self._sessions[self._index[peer]]
        self._send(session, session.link_up())

    def link_down(self, peer: NodeId) -> None:
        self._sessions[self._index[peer]].link_down()

    def lost(self, peer: NodeId, reason: str) -> None:
        """The transport gave the peer up."""
        self.fail(
            LinkLost(
                f"{self._place.name} lost its neighbour {peer} "
                f"in iteration {self._iteration}: {reason}",
                hint=f"look at {peer}'s log; is the process alive?",
                node=peer,
                iteration=self._iteration,
            )
        )

    def receive(self, peer: NodeId, frame: Frame) -> None:
        """Takes in a frame; a peer that breaks a rule fails the workload with its name."""
        try:
            session = self._session_of(peer)
            self._send(session, session.receive(frame))
        except RemoteProtocolError as error:
            self.fail(error)
            return
        if session.state is SessionState.ENDED:
            left = WorkloadFailed(
                f"{peer} left the workload in iteration {self._iteration}: {session.farewell}",
                hint=f"look at the log of {peer}: it ended first",
                node=peer,
                iteration=self._iteration,
            )
            if self._is_finished:  # its neighbours may wait for what will never come
                self._leave(session.farewell)
            self.fail(left)
            return
        if self._farewell and isinstance(frame, Hello):  # it was cut off when we said it
            self._send(session, [Bye(self._farewell)])
        self._check_finished()
        self.wake()

    # ---- called by the driver ----

    async def exchange(self, outgoing: Outgoing) -> dict[int, Value]:
        """Sends one exchange's values and waits for every in-neighbour's.

        Raises:
            P2pdoError: what `fail` was given.
        """
        self._iteration = outgoing.tag.iteration
        if not self._has_room():
            await self.until(self._has_room)
        self.check()
        for j in self._place.out_neighbors:
            session = self._sessions[j]
            # What the last exchange acknowledges travels with this one's value: half the writes.
            self._send(session, [*session.taken(), *session.send(outgoing.tag, outgoing.to(j))])
        inbox = self._rounds.take(outgoing.tag)
        if inbox is None:
            inbox = await self.until(lambda: self._rounds.take(outgoing.tag))
        for j in self._hears_only:
            self._send(self._sessions[j], self._sessions[j].taken())
        return inbox

    def finish(self) -> None:
        """No exchange follows here. Where a neighbour still makes one, all are told."""
        self._is_finished = True
        self._check_finished()

    def check(self) -> None:
        """Raises what ended the exchange, if anything did."""
        if self._failure is not None:
            raise self._failure

    @property
    def has_failed(self) -> bool:
        """Whether something has ended the exchange; may be asked on any thread."""
        return self._failure is not None

    def missing(self) -> list[str]:
        """The in-neighbours that are waited for."""
        return self._rounds.missing()

    def fail(self, error: BaseException) -> None:
        """Ends the exchange; the first cause is the one that is told."""
        if self._failure is None:
            self._failure = error
        self.wake()

    def close(self, reason: str) -> None:
        """Says Bye to every peer; nothing is sent or delivered any more."""
        self._leave(reason)
        self.fail(P2pdoError(f"the workload is over: {reason}", hint="submit it again"))

    def wake(self) -> None:
        """Has whoever waits look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def until(self, predicate: Callable[[], T | None]) -> T:
        """Waits until the predicate gives something true; re-checked at every wake.

        Raises:
            P2pdoError: what `fail` was given.
        """
        loop = asyncio.get_running_loop()
        while True:
            self.check()
            found = predicate()
            if found:
                return found
            self._waiter = loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # ---- inside ----

    def _check_finished(self) -> None:
        """After the last exchange nothing may be here.

        A neighbour that is at a further one will wait for ever, if not for us then for somebody
        who waits for us. So the word is passed on, also by neighbours that have finished.
        """
        if not self._is_finished:
            return
        for edge in self._rounds.edges.values():
            more = edge.peek()
            if more is None:
                continue
            error = RemoteProtocolError(
                f"nodes disagree on the exchanges of iteration {more.iteration}: "
                f"{self._place.name} has finished, {edge.sender} is at {more}",
                hint="how often a step exchanges must not depend on local data",
                node=edge.sender,
                iteration=more.iteration,
            )
            self._leave(error.message)
            self.fail(error)

    def _leave(self, reason: str) -> None:
        """Says Bye to all, once."""
        if self._farewell:
            return
        self._farewell = reason
        for session in self._sessions.values():
            if session.state is SessionState.OPEN:
                self._send(session, [Bye(reason)])

    def _session_of(self, peer: NodeId) -> PeerSession:
        index = self._index.get(peer)
        if index is None:
            raise RemoteProtocolError(
                f"{peer} is no neighbour of {self._place.name} in this workload", node=peer
            )
        return self._sessions[index]

    def _has_room(self) -> bool:
        return all(edge.has_room for edge in self._out.values())

    def _send(self, session: PeerSession, frames: list[Frame]) -> None:
        if frames and self._wire is not None:
            peer = NodeId(session.peer)
            for frame in frames:
                self._wire.send(peer, frame)
