"""The exchange of one workload at one node: its sessions, its rounds, and the one who waits.

The transport calls in from the loop (`link_up`, `link_down`, `lost`, `receive`); the driver waits
in `exchange`. The wait is a predicate that is checked again at every wake: all in-neighbours'
values of this exchange are here. A failure, an abort or a lost peer wakes it too and is raised; a
wait never returns as if it had succeeded.

A finished node keeps its exchange open, serving what slower neighbours still need, until it is
closed from outside.

Under a monitor each two neighbours agree on a secret, before the first exchange; `settled` waits
for that too.

Neighbours on the same host may exchange by a `LocalLane` instead: memory that both read, without
the loop. The sessions settle with each neighbour which way it is, once; `settled` waits for that.
From then on `exchange` is for the neighbours of the link alone, and `lane` for those beside it.
Ends of every kind come by the link in any case, and wake whoever waits on the lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from p2pdo.errors import ConfigError, LinkLost, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Bye, Data, Frame, Hello, Tag
from p2pdo.protocol.rounds import WINDOW, Rounds
from p2pdo.protocol.session import Lane, OutEdge, PeerSession, SessionState
from p2pdo.types import NodeId, Value

T = TypeVar("T")


class Wire(Protocol):
    """Carries one workload's frames to its peers; drops them where there is no link."""

    def send(self, peer: NodeId, frame: Frame) -> None: ...


class LocalLane(Protocol):
    """Exchanges with neighbours of this host: `transports.shared_memory.lane`.

    Attributes:
        offer: how a neighbour finds our values.
    """

    offer: bytes

    def attach(self, peer: int, name: NodeId, offer: bytes) -> bool: ...
    def why_not(self, peer: int) -> str: ...
    def begin(
        self, senders: list[int], receivers: list[int], check: Callable[[], None]
    ) -> None: ...
    def wake(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...

    # on the workload's thread

    def publish(self, outgoing: Outgoing) -> bool: ...
    def collect(self, tag: Tag) -> dict[int, Value] | None: ...
    def missing(self) -> list[str]: ...


class _Ending:
    """What ended an exchange; apart, so that a lane which looks at it keeps nothing else alive."""

    cause: BaseException | None = None

    def check(self) -> None:
        if self.cause is not None:
            raise self.cause


class Exchanger:
    """One node's edges in one workload."""

    def __init__(
        self,
        place: Place,
        names: Mapping[int, NodeId],
        digest: bytes,
        lane: LocalLane | None = None,
        *,
        forced: bool = False,
        draw: Callable[[], bytes] | None = None,
    ) -> None:
        """`names` names the neighbours; `digest` is the topology's, the same at all nodes.

        With `forced`, a neighbour that the lane does not reach is an error. `draw` makes this
        node's share of a secret with a neighbour, where there is a monitor.
        """
        self._place = place
        self._offered = lane
        self._forced = forced
        self._lane: LocalLane | None = None  # once it is settled that some neighbour uses it
        self._is_settled = lane is None and draw is None
        self._draw = draw
        self._index = {name: index for index, name in names.items()}
        self._names = dict(names)
        senders = [(j, names[j]) for j in place.in_neighbors]
        self._rounds = Rounds(senders, WINDOW)
        self._out = {j: OutEdge(WINDOW) for j in place.out_neighbors}
        self._sessions = {
            j: self._session(j, digest) for j in sorted({*place.in_neighbors, *place.out_neighbors})
        }
        self._hears_only = sorted({*place.in_neighbors} - {*place.out_neighbors})
        self._wire: Wire | None = None
        self._ending = _Ending()
        self._waiter: asyncio.Future[None] | None = None
        self._awaited: Tag | None = None  # the exchange whose values are all that is waited for
        self._is_finished = False  # Invariant then: no exchange will be taken here any more.
        self._farewell = ""  # the reason, once we have said Bye
        self._iteration = 0

    def _session(self, j: int, digest: bytes) -> PeerSession:
        edges = (self._rounds.edges.get(j), self._out.get(j))
        lane, name = self._offered, self._names[j]
        share = b"" if self._draw is None else self._draw()
        if lane is None:
            return PeerSession(name, digest, *edges, WINDOW, share=share)
        return PeerSession(
            name,
            digest,
            *edges,
            WINDOW,
            offer=lane.offer,
            attach=lambda offer: lane.attach(j, name, offer),
            share=share,
        )

    @property
    def peers(self) -> list[NodeId]:
        return [self._names[j] for j in self._sessions]

    @property
    def iteration(self) -> int:
        """The iteration of the exchange that is or was last waited for."""
        return self._iteration

    @property
    def lane(self) -> LocalLane | None:
        """The lane beside the link, once it is settled that some neighbour uses it."""
        return self._lane

    @property
    def is_settled(self) -> bool:
        """Whether it is known for every neighbour which way its values take, and the secret."""
        return self._is_settled

    @property
    def secrets(self) -> dict[int, bytes]:
        """What was agreed with each neighbour, by its index; once settled, under a monitor."""
        return {j: session.secret for j, session in self._sessions.items()}

    @property
    def has_links(self) -> bool:
        """Whether some neighbour's values come or go by the link."""
        return bool(self._rounds.edges or self._out)

    @property
    def lanes(self) -> dict[str, str]:
        """Which way each neighbour's values take, by its name; once settled."""
        found = {j: session.lane for j, session in self._sessions.items()}
        return {self._names[j]: lane.value for j, lane in found.items() if lane is not None}

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
            if frames := session.receive(frame):
                self._send(session, frames)
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
        if isinstance(frame, Hello):
            self._settle()
            if self._farewell:  # it was cut off when we said it
                self._send(session, [Bye(self._farewell)])
        if self._is_finished:
            self._check_finished()
        if not (isinstance(frame, Data) and self._is_waiting_for_more()):
            self.wake()

    # ---- called by the driver ----

    async def settled(self) -> None:
        """Waits until `is_settled`.

        Raises:
            P2pdoError: what `fail` was given.
        """
        if not self._is_settled:
            self._settle()  # a node without neighbours
            await self.until(lambda: self._is_settled)

    def at(self, iteration: int) -> None:
        """Where the lane's exchanges are; for what is told of a failure. From any thread."""
        self._iteration = iteration

    async def exchange(self, outgoing: Outgoing) -> dict[int, Value]:
        """Sends one exchange's values and waits for every in-neighbour's, of the link.

        Raises:
            P2pdoError: what `fail` was given.
        """
        self._iteration = outgoing.tag.iteration
        await self._hand_over(outgoing)
        inbox = self._rounds.take(outgoing.tag)
        if inbox is None:
            inbox = await self._arrival(outgoing.tag)
        for j in self._hears_only:
            self._send(self._sessions[j], self._sessions[j].taken())
        return inbox

    async def _hand_over(self, outgoing: Outgoing) -> None:
        if not self._has_room():
            await self._room()
        self.check()
        for j in self._out:
            session = self._sessions[j]
            # What the last exchange acknowledges travels with this one's value: half the writes.
            self._send(session, [*session.taken(), *session.send(outgoing.tag, outgoing.to(j))])

    async def _room(self) -> None:
        await self.until(self._has_room)

    async def _arrival(self, tag: Tag) -> dict[int, Value]:
        self._awaited = tag
        try:
            return await self.until(lambda: self._rounds.take(tag))
        finally:
            self._awaited = None

    def _is_waiting_for_more(self) -> bool:
        """Whether the one who waits need not be woken for a value that has come."""
        return self._awaited is not None and self._rounds.is_incomplete(self._awaited)

    def finish(self) -> None:
        """No exchange follows here. Where a neighbour still makes one, all are told."""
        self._is_finished = True
        if self._lane is not None:
            self._lane.finish()
        self._check_finished()

    def check(self) -> None:
        """Raises what ended the exchange, if anything did."""
        if self._ending.cause is not None:
            raise self._ending.cause

    @property
    def has_failed(self) -> bool:
        """Whether something has ended the exchange; may be asked on any thread."""
        return self._ending.cause is not None

    def missing(self) -> list[str]:
        """The in-neighbours that are waited for."""
        beside = [] if self._lane is None else self._lane.missing()
        return self._rounds.missing() + beside

    def fail(self, error: BaseException) -> None:
        """Ends the exchange; the first cause is the one that is told."""
        if self._ending.cause is None:
            self._ending.cause = error
        self.wake()
        if self._lane is not None:
            self._lane.wake()

    def close(self, reason: str) -> None:
        """Says Bye to every peer; nothing is sent or delivered any more."""
        self._leave(reason)
        self.fail(P2pdoError(f"the workload is over: {reason}", hint="submit it again"))
        if self._offered is not None:
            self._offered.close()

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
        while True:
            self.check()
            found = predicate()
            if found:
                return found
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # ---- inside ----

    def _settle(self) -> None:
        """Once every neighbour's way is known, each is taken out of the other one."""
        if self._is_settled or not all(s.is_settled for s in self._sessions.values()):
            return
        if self._offered is not None:
            self._settle_lanes(self._offered)
        self._is_settled = True

    def _settle_lanes(self, lane: LocalLane) -> None:
        beside = [j for j, s in self._sessions.items() if s.lane is Lane.SHARED_MEMORY]
        refused = [j for j in self._sessions if j not in beside]
        if self._forced and refused:
            peer = self._names[refused[0]]
            self.fail(
                ConfigError(
                    f"{self._place.name} and {peer} share no memory: {lane.why_not(refused[0])}",
                    hint="--lane auto takes gRPC between them",
                    node=self._place.name,
                )
            )
        senders = [j for j in self._place.in_neighbors if j in beside]
        receivers = [j for j in self._place.out_neighbors if j in beside]
        for j in beside:
            self._rounds.edges.pop(j, None)
            self._out.pop(j, None)
        self._hears_only = [j for j in self._hears_only if j not in beside]
        if beside:
            lane.begin(senders, receivers, self._ending.check)
            self._lane = lane
        else:
            lane.close()

    def _check_finished(self) -> None:
        """After the last exchange nothing may be here.

        A neighbour that is at a further one will wait for ever, if not for us then for somebody
        who waits for us. So the word is passed on, also by neighbours that have finished.
        """
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
