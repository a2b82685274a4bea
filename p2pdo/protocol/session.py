"""One workload's session with one peer: exactly once, in order, across broken links.

Both directions, where the graph has both, share the session; a peer may be in-neighbour only.

    CLOSED ──link_up──▶ GREETED ──Hello──▶ OPEN ──link_down──▶ CLOSED

Each end says Hello when the link is up and answers a Hello that asks for it, so it does not matter
who was configured first: a Hello that nobody was there to hear is asked for again by the other's. A
Hello tells what has arrived; the sender goes on from there, sending again what was lost with the
link. One that tells less than was acknowledged may be an old one, from a link that the peer has
left for a better one meanwhile: it is asked for again, and only an answer is believed. Sent values
are kept until acknowledged, by reference. The sender stops at `credit_to`, which the receiver moves
on as it takes values: this bounds memory on both ends, also where the graph is directed and nothing
else would.

Two processes of one host may have a better way for values than the link: memory that both read. A
Hello offers it and says whether the other's offer was good for anything. Until both ends know both
answers the session does not open; then the *lane* is settled, once and the same at both ends. On
the other lane no value ever comes or goes here, and the session says no more than Hello and Bye.

Where values go both ways, the next one to the peer carries the acknowledgement of what was taken
from it. A large value is not sent before the last one was taken, and that is acknowledged at
once: so a node has to have room for one of each neighbour, whatever the window.

Under a monitor a Hello brings the peer's share of the two nodes' secret, see `masking`. It is the
same on every link, so that no two masks of an iteration differ.

No clock, no socket: events in, frames to send out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import assert_never

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Ack, Bye, Data, Frame, Hello, Tag
from p2pdo.protocol.masking import SHARE, agree
from p2pdo.protocol.rounds import WINDOW, InEdge
from p2pdo.protocol.values import size_of
from p2pdo.types import Value

LARGE = 16 << 20
"""Bytes of a value from which memory counts for more than the time of an acknowledgement."""


class SessionState(Enum):
    CLOSED = auto()  # no link
    GREETED = auto()  # our Hello is out
    OPEN = auto()  # theirs is in
    ENDED = auto()  # the peer said Bye


class Lane(Enum):
    """The way that the values of a pair of nodes take."""

    GRPC = "grpc"
    SHARED_MEMORY = "shared-memory"


class OutEdge:
    """What was sent to one out-neighbour and may have to be sent again."""

    def __init__(self, window: int = WINDOW) -> None:
        self.next = 0  # the sequence number of the next value given to us
        self.credit_to = 0  # Invariant: nothing at or above it is on the link.
        self._sent = 0  # the next one to put on the link; acknowledged <= _sent <= next
        self._log: deque[Data] = deque()  # from the first unacknowledged value to `next`
        self._window = window

    @property
    def acknowledged(self) -> int:
        """Sequence numbers below this one have arrived, and are kept no more."""
        return self.next - len(self._log)

    @property
    def kept(self) -> int:
        """How many values are kept for sending again."""
        return len(self._log)

    @property
    def has_room(self) -> bool:
        """Whether another value may be given to us: there is credit, and a place in the log.

        A peer that grants credit and never acknowledges does not make the log grow.
        """
        return self.next < self.credit_to and len(self._log) < self._window

    @property
    def is_all_sent(self) -> bool:
        return self._sent == self.next

    def push(self, tag: Tag, value: Value, ack: Ack | None = None) -> None:
        self._log.append(Data(self.next, tag, value, ack))
        self.next += 1

    def ready(self) -> list[Frame]:
        """What may go on the link now."""
        frames: list[Frame] = []
        until = min(self.next, self.credit_to)
        if self._sent >= until:
            return frames
        start = self.acknowledged
        while self._sent < until:
            data = self._log[self._sent - start]
            if data.seq > start and size_of(data.value) >= LARGE:
                break
            frames.append(data)
            self._sent += 1
        return frames

    def acknowledge(self, receive_next: int, credit_to: int) -> None:
        log = self._log
        self.credit_to = max(self.credit_to, credit_to)
        while log and log[0].seq < receive_next:
            log.popleft()
        self._sent = max(self._sent, receive_next)

    def rewind(self, receive_next: int) -> None:
        """A new link: whatever had not arrived is sent again."""
        self._sent = receive_next


class PeerSession:
    """The edges of one workload between this node and one peer."""

    def __init__(
        self,
        peer: str,
        digest: bytes,
        incoming: InEdge | None,
        outgoing: OutEdge | None,
        window: int = WINDOW,
        *,
        offer: bytes = b"",
        attach: Callable[[bytes], bool] = lambda _: False,
        share: bytes = b"",
    ) -> None:
        """With an `offer` of shared memory, `attach` tries what the peer offers.

        With a `share` the two agree on a secret.
        """
        self.peer = peer
        self.state = SessionState.CLOSED
        self.farewell = ""  # the peer's reason, once it said Bye
        self.incoming = incoming
        self.outgoing = outgoing
        self._digest = digest
        self._ack_every = max(1, window // 2)
        self._acked = 0  # the credit that the peer has heard of last
        self._is_large = False  # what came last
        self._offer = offer
        self._attach = attach
        self._attached: bool | None = None if offer else False  # what the peer offers
        self._was_told = False  # whether the peer has been told so on this link
        self._lane: Lane | None = None if offer else Lane.GRPC
        self._share = share
        self._their_share = b""

    @property
    def lane(self) -> Lane | None:
        """None until it is settled."""
        return self._lane

    @property
    def secret(self) -> bytes:
        """What the two have agreed on; empty until then."""
        return agree(self._share, self._their_share) if self._their_share else b""

    @property
    def is_settled(self) -> bool:
        """Whether all is known that a Hello tells once."""
        return self._lane is not None and bool(self._their_share) == bool(self._share)

    def link_up(self) -> list[Frame]:
        if self.state is SessionState.ENDED:
            return []
        self._was_told = False
        self.state = SessionState.GREETED
        return [self._hello(answer=False)]

    def link_down(self) -> None:
        if self.state is not SessionState.ENDED:
            self.state = SessionState.CLOSED

    def send(self, tag: Tag, value: Value) -> list[Frame]:
        """Gives the session the next value for the peer."""
        assert self.outgoing is not None, "the peer is no out-neighbour"
        ack = self._ack()
        self.outgoing.push(tag, value, ack)
        frames = self._ready()
        if ack is None or self.outgoing.is_all_sent or self.state is not SessionState.OPEN:
            return frames
        return [*frames, ack]  # the value is held back; the peer's may be for want of this

    def taken(self) -> list[Frame]:
        """Called after an exchange was taken: tells the peer of new credit, not every time."""
        edge = self.incoming
        if edge is None or self.state is not SessionState.OPEN:
            return []
        if not self._is_large and (
            edge.credit_to - self._acked < self._ack_every or self._is_told_by_the_next_value(edge)
        ):
            return []
        ack = self._ack()
        return [] if ack is None else [ack]

    def _is_told_by_the_next_value(self, edge: InEdge) -> bool:
        """Whether the peer may wait for it: it has credit left, and a value is to go to it."""
        has_credit = self._acked > edge.next
        return has_credit and self.outgoing is not None and edge.next <= self.outgoing.next

    def _ack(self) -> Ack | None:
        """What the peer has not heard of yet.

        It names what was taken, not all that has come: that is equal for all in-neighbours, and
        so are the frames that go to them.
        """
        edge = self.incoming
        if edge is None or edge.credit_to <= self._acked:
            return None
        self._acked = edge.credit_to
        return Ack(edge.next, edge.credit_to)

    def receive(self, frame: Frame) -> list[Frame]:
        """Takes in what the peer said; returns what to say.

        Raises:
            RemoteProtocolError: the peer broke a rule; drop it.
        """
        match frame:
            case Data() | Ack() if self.state is not SessionState.OPEN:
                return []  # before its Hello we believe nothing; the Hello makes up for it
            case Data():  # nearly every frame
                return self._receive_data(frame)
            case Ack(receive_next, credit_to):
                self._acknowledge(receive_next, credit_to)
                return self._ready()
            case Hello():
                return self._receive_hello(frame)
            case Bye(reason):
                self.state = SessionState.ENDED
                self.farewell = reason
                return []
            case _:
                assert_never(frame)

    def _receive_data(self, data: Data) -> list[Frame]:
        if self.incoming is None:
            raise RemoteProtocolError(
                f"{self.peer} sent a value but is no in-neighbour here",
                node=self.peer,
                iteration=data.tag.iteration,
            )
        self.incoming.receive(data.seq, data.tag, data.value)
        self._is_large = size_of(data.value) >= LARGE
        if data.ack is None:
            return []
        self._acknowledge(*data.ack)
        return self._ready()

    def _receive_hello(self, hello: Hello) -> list[Frame]:
        if hello.digest != self._digest:
            raise RemoteProtocolError(
                f"{self.peer} was given another topology for this workload",
                hint="submit the workload again: its nodes hold different assignments",
                node=self.peer,
            )
        if self.state in (SessionState.CLOSED, SessionState.ENDED):
            return []  # its frames overtook the news of the link; or it has left
        if self.outgoing is not None and hello.receive_next < self.outgoing.acknowledged:
            if not hello.answer:  # written when two links were dialled at once, and read late?
                return [self._hello(answer=False)]
            raise RemoteProtocolError(
                f"{self.peer} asks again for value {hello.receive_next}, which it acknowledged",
                hint=f"was {self.peer} restarted? What it had computed is lost: submit again",
                node=self.peer,
            )
        self._settle(hello)
        self._take_share(hello.share)
        answer: list[Frame] = []
        if not (hello.answer and self._was_told):
            answer.append(self._hello(answer=True))
        if self._lane is None:
            return answer
        is_opening = self.state is not SessionState.OPEN or not hello.answer
        self.state = SessionState.OPEN
        self._acknowledge(hello.receive_next, hello.credit_to)
        if is_opening and self.outgoing is not None:
            self.outgoing.rewind(hello.receive_next)
        return [*answer, *self._ready()]

    def _settle(self, hello: Hello) -> None:
        if self._attached is None:
            self._attached = bool(hello.offer) and self._attach(hello.offer)
        if self._lane is not None:
            return
        if not self._attached:  # the peer will hear so, and choose alike
            self._lane = Lane.GRPC
        elif hello.attached is not None:
            self._lane = Lane.SHARED_MEMORY if hello.attached else Lane.GRPC
        if self._lane is Lane.SHARED_MEMORY:
            self.incoming = self.outgoing = None

    def _take_share(self, share: bytes) -> None:
        if not self._share:
            return
        if len(share) != SHARE:
            raise RemoteProtocolError(
                f"{self.peer} brings no share of a secret for the monitor",
                hint="run one version of p2pdo everywhere, or leave --monitor out",
                node=self.peer,
            )
        if self._their_share not in (b"", share):
            raise RemoteProtocolError(
                f"{self.peer} brings another share of the monitor's secret than before",
                hint=f"was {self.peer} restarted? What it had computed is lost: submit again",
                node=self.peer,
            )
        self._their_share = share

    def _acknowledge(self, receive_next: int, credit_to: int) -> None:
        if self.outgoing is None:
            return
        if receive_next > self.outgoing.next:
            raise RemoteProtocolError(
                f"{self.peer} acknowledges value {receive_next - 1}, which was never sent",
                node=self.peer,
            )
        self.outgoing.acknowledge(receive_next, credit_to)

    def _ready(self) -> list[Frame]:
        if self.outgoing is None or self.outgoing.is_all_sent:
            return []
        return self.outgoing.ready() if self.state is SessionState.OPEN else []

    def _hello(self, *, answer: bool) -> Hello:
        edge = self.incoming
        self._was_told = self._attached is not None
        lane = (self._offer, self._attached)
        if edge is None:
            return Hello(self._digest, 0, 0, answer, *lane, self._share)
        self._acked = edge.credit_to
        return Hello(self._digest, edge.receive_next, edge.credit_to, answer, *lane, self._share)
