"""Handover: the exchanges of nodes that share one memory.

Nothing can be lost here, so nothing is acknowledged and nothing is sent again. Each node has a
seat with its last few sent values on it; whoever hears it reads them there. Exchanges are
numbered as on any edge: a node has *sent* so many and *taken* so many, and takes its s-th when
every in-neighbour has sent an s-th. So each receiver reads a value exactly once, and in order.

    I send my s-th            whoever waits for it misses one less
    all whom I hear sent it   I am ready to take

A place is used again once all have taken what lay there. Between nodes that hear each other two
places make it so: who sends s + 2 has taken s + 1, which the other sent after taking s. For one
who only hears, a node waits, as it would wait for credit.

What would be waited for in vain is an error: another tag at the same number, a value for a node
that has finished, a value of one that has.

No clock, no socket: calls in, the seats that became ready out.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.rounds import WINDOW
from p2pdo.types import Value

_MUTUAL = 2  # places that suffice where all whom a node tells are heard by it
_NOTHING = Outgoing(Tag(-1, 0, EffectKind.EXCHANGE), ())


class Seat:
    """One node's side of its exchanges. Its attributes are for its neighbours' seats."""

    def __init__(self, place: Place) -> None:
        only_told = {*place.out_neighbors} - {*place.in_neighbors}
        self.place = place
        self.node = place.node
        self.hears: list[Seat] = []
        self.tells: list[Seat] = []
        self.only_told: list[Seat] = []
        self.kept = WINDOW if only_told else _MUTUAL
        self.places = [_NOTHING] * self.kept  # the s-th sent one at s modulo their number
        self.outgoing: Outgoing | None = None  # of the exchange that is not taken yet
        self.sent = 0
        self.taken = 0
        self.waits_for = -1  # the number of the exchange of which values are missing
        self.missing = 0  # how many
        self.wait_for_room: list[Seat] = []  # those with something for this one, and no place
        self.is_finished = False

    def connect(self, seats: Sequence[Seat]) -> None:
        """Finds its neighbours among the seats of all nodes."""
        place = self.place
        self.hears = [seats[j] for j in place.in_neighbors]
        self.tells = [seats[j] for j in place.out_neighbors]
        self.only_told = [seat for seat in self.tells if seat not in self.hears]

    def send(self, outgoing: Outgoing) -> list[Seat]:
        """Begins the next exchange; returns who can take theirs now, perhaps this one too.

        Raises:
            RemoteProtocolError: nodes disagree on the exchanges of an iteration.
        """
        self.outgoing = outgoing
        for peer in self.only_told:
            if self.sent - peer.taken >= self.kept:
                peer.wait_for_room.append(self)
                return []
        self.places[self.sent % self.kept] = outgoing
        self.sent += 1
        ready = self._tell(outgoing.tag)
        self.missing = self._look(outgoing.tag)
        if self.missing:
            self.waits_for = self.sent - 1
        else:
            ready.append(self)
        return ready

    def _tell(self, tag: Tag) -> list[Seat]:
        """Those who have waited for this last one."""
        s, ready = self.sent - 1, []
        for peer in self.tells:
            if peer.waits_for == s:
                if peer.places[s % peer.kept].tag != tag:
                    raise self._disagrees_with(peer, s)
                peer.missing -= 1
                if not peer.missing:
                    peer.waits_for = -1
                    ready.append(peer)
            elif peer.is_finished:
                raise _finished(peer, self, tag)
        return ready

    def _look(self, tag: Tag) -> int:
        """How many values of this exchange have not come."""
        s, missing = self.sent - 1, 0
        for peer in self.hears:
            if peer.sent > s:
                if peer.places[s % peer.kept].tag != tag:
                    raise self._disagrees_with(peer, s)
            elif peer.is_finished:
                raise _finished(peer, self, tag)
            else:
                missing += 1
        return missing

    def take(self) -> tuple[dict[int, Value], list[Seat]]:
        """Every in-neighbour's value of this exchange, by its index; and who became ready by it.

        Raises:
            RemoteProtocolError: nodes disagree on the exchanges of an iteration.
        """
        s, node = self.taken, self.node
        inbox: dict[int, Value] = {}
        for peer in self.hears:
            _, value, each = peer.places[s % peer.kept]
            inbox[peer.node] = value if each is None else each[node]
        self.taken = s + 1
        self.outgoing = None
        return inbox, self._give_room() if self.wait_for_room else []

    def finish(self) -> None:
        """No exchange follows here.

        Raises:
            RemoteProtocolError: a neighbour is at one that this node will never take or send.
        """
        self.is_finished = True
        for peer in self.hears:
            if peer.sent > self.taken:
                raise _finished(self, peer, peer.places[self.taken % peer.kept].tag)
        for peer in self.tells:
            if peer.outgoing is not None and peer.taken >= self.sent:
                raise _finished(self, peer, peer.outgoing.tag)

    def _give_room(self) -> list[Seat]:
        waiting, self.wait_for_room = self.wait_for_room, []
        ready: list[Seat] = []
        for peer in waiting:
            assert peer.outgoing is not None, "it waits with it"
            ready += peer.send(peer.outgoing)
        return ready

    def _disagrees_with(self, peer: Seat, s: int) -> RemoteProtocolError:
        ours, theirs = (seat.places[s % seat.kept].tag for seat in (self, peer))
        iteration = min(ours.iteration, theirs.iteration)  # one has gone on to the next
        return RemoteProtocolError(
            f"nodes disagree on the exchanges of iteration {iteration}: "
            f"at {self.place.name} it is {ours}, at {peer.place.name} {theirs}",
            hint="how often a step exchanges must not depend on local data",
            node=peer.place.name,
            iteration=iteration,
        )


def _finished(one: Seat, other: Seat, tag: Tag) -> RemoteProtocolError:
    """`one` has finished; `other` is at an exchange with it."""
    return RemoteProtocolError(
        f"nodes disagree on the exchanges of iteration {tag.iteration}: "
        f"{one.place.name} has finished, {other.place.name} is at {tag}",
        hint="how often a step exchanges must not depend on local data",
        node=other.place.name,
        iteration=tag.iteration,
    )


def seats_of(places: Sequence[Place]) -> list[Seat]:
    """The seats of a workload's nodes, in node order."""
    seats = [Seat(place) for place in places]
    for seat in seats:
        seat.connect(seats)
    return seats
