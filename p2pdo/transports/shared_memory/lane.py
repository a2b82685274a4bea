"""The lane of one workload: its exchange with the neighbours of this host, without the event loop.

    offer ─▶ (the peers' Hello) ─▶ attach ─▶ … all edges are settled … ─▶ begin
    publish ─▶ collect ─▶ publish ─▶ collect ─▶ … ─▶ finish ─▶ close

`publish` writes a value once for all neighbours; `collect` gives theirs, to be mixed in place. Both
are called on the workload's own thread and wait there, for a change in a neighbour's segment. A
wait is a predicate that is checked again at each wake, as everywhere. It is given up after a moment
(None, False): call again, so that whoever else needs the thread gets it now and then.
`wake` ends a wait from another thread; a wake that comes too early costs `PATIENCE`.

What makes two slots enough on any graph: an exchange is published over the one two before, and only
when every out-neighbour has consumed that. Where neighbours are neighbours both ways they have,
or their value of the last exchange would not have come.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.transports.shared_memory.futex import Futex, is_available
from p2pdo.transports.shared_memory.segment import SLOTS, Neighbour, Offer, Segment
from p2pdo.types import NodeId, Value

PATIENCE = 0.05
"""Seconds for which a waiting thread does not look whether its exchange has ended."""

TURN = 0.2
"""Seconds after which a wait gives its thread back."""

_log = logging.getLogger(__name__)


class SharedMemoryLane:
    """`runtime.exchange.LocalLane`, over segments."""

    def __init__(self, node: int) -> None:
        """Makes its segment.

        Raises:
            OSError: there can be none.
        """
        self._node = node
        self._futex = Futex()
        self._segment = Segment(self._futex)
        self._neighbours: dict[int, Neighbour] = {}
        self._senders: dict[int, Neighbour] = {}
        self._only_told: list[Neighbour] = []
        self._current: Tag | None = None  # of the exchange that is published and not collected
        self._why_not: dict[int, str] = {}
        self._check: Callable[[], None] = lambda: None
        self.offer = self._segment.offer.to_bytes()

    # ---- on the loop ----

    def attach(self, peer: int, name: NodeId, offer: bytes) -> bool:
        """Opens a neighbour's segment; whether it is open now."""
        if peer in self._neighbours:
            return True
        parsed = Offer.parse(offer)
        if parsed is None:
            self._why_not[peer] = "it offers none that this version understands"
            return False
        try:
            self._neighbours[peer] = Neighbour.open(name, parsed)
        except OSError as error:
            self._why_not[peer] = error.strerror or str(error)
            _log.debug("%s cannot share memory: %s", name, self._why_not[peer])
            return False
        return True

    def why_not(self, peer: int) -> str:
        return self._why_not.get(peer, "it offers none")

    def begin(self, senders: list[int], receivers: list[int], check: Callable[[], None]) -> None:
        """The neighbours of this lane are known; `check` raises what ended the exchange."""
        self._senders = {j: self._neighbours[j] for j in senders}
        self._only_told = [self._neighbours[j] for j in receivers if j not in self._senders]
        self._check = check
        for peer in self._neighbours.keys() - {*senders, *receivers}:
            del self._neighbours[peer]

    def wake(self) -> None:
        """Has a waiting thread look again."""
        for neighbour in list(self._neighbours.values()):
            self._futex.wake(neighbour.address)

    def finish(self) -> None:
        """No exchange follows here; a neighbour that waits for one is told."""
        self._segment.finish()

    def close(self) -> None:
        self._segment.close()

    # ---- on the workload's thread ----

    def publish(self, outgoing: Outgoing) -> bool:
        """Writes an exchange's values; once, however often it is asked.

        Raises:
            P2pdoError: what ended the exchange.
        """
        self._check()
        if self._current == outgoing.tag:
            return True
        until = time.monotonic() + TURN
        needed = self._segment.published - SLOTS + 1
        for receiver in self._only_told:
            while True:
                events = receiver.events
                if receiver.consumed >= needed or receiver.has_finished:
                    break
                if not self._sleep(receiver, events, until):
                    return False
        self._segment.publish(outgoing)
        self._current = outgoing.tag
        return True

    def collect(self, tag: Tag) -> dict[int, Value] | None:
        """Every sender's value for the exchange that was published last.

        Of an exchange that is mixed, large arrays are views that are valid until the next one is
        published; of others, copies.

        Raises:
            RemoteProtocolError: a neighbour is at another exchange, or wrote nonsense.
            P2pdoError: what ended the exchange.
        """
        seq = self._segment.published - 1
        until = time.monotonic() + TURN
        for sender in self._senders.values():
            while sender.published <= seq:
                events = sender.events
                if sender.published > seq:
                    break
                self._check_unfinished(sender, seq, tag)
                if not self._sleep(sender, events, until):
                    return None
        self._check()
        head, node = self._segment.head, self._node
        inbox = {j: sender.read(seq, tag, node, head) for j, sender in self._senders.items()}
        if tag.effect is not EffectKind.MIX:
            inbox = {j: _own(value) for j, value in inbox.items()}
        self._current = None
        return inbox

    def missing(self) -> list[str]:
        """The senders that are waited for."""
        seq = self._segment.published - 1
        return [sender.name for sender in self._senders.values() if sender.published <= seq]

    def _sleep(self, neighbour: Neighbour, events: int, until: float) -> bool:
        """Waits for a change at a neighbour since it was at `events`; False: it is too late."""
        self._check()
        rest = until - time.monotonic()
        if rest > 0:
            self._futex.wait(neighbour.address, events, min(rest, PATIENCE))
        return rest > 0

    def _check_unfinished(self, sender: Neighbour, seq: int, tag: Tag) -> None:
        """A neighbour that has finished will not send what is still waited for."""
        if sender.has_finished and sender.published <= seq:
            raise RemoteProtocolError(
                f"nodes disagree on the exchanges of iteration {tag.iteration}: "
                f"{sender.name} has finished, here it is {tag}",
                hint="how often a step exchanges must not depend on local data",
                node=sender.name,
                iteration=tag.iteration,
            )


def _own(value: Value) -> Value:
    """The same in memory of our own: an algorithm may keep what it exchanged."""
    if isinstance(value, np.ndarray):
        if value.flags.owndata:
            return value
        copy = value.copy()
        copy.flags.writeable = False
        return copy
    if isinstance(value, tuple):
        return tuple(map(_own, value))
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return value


def shared_memory(
    node: int, make: Callable[[int], SharedMemoryLane] = SharedMemoryLane
) -> SharedMemoryLane | None:
    """A lane, where this machine has what it takes."""
    if not is_available():
        return None
    try:
        return make(node)
    except OSError as error:
        _log.warning("values between processes of this host go by gRPC: %s", error)
        return None
