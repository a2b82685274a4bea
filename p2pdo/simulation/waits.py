"""What nodes that share a loop wait for, with a clock.

A node that waits does nothing there, so its waits are worked out at its next turn: from when each
neighbour had its value ready, until the last of them; then, until the turn, for the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdo.protocol.handover import Seat
from p2pdo.protocol.spans import TURN, WAIT
from p2pdo.runtime.timeline import Timeline


class Waits:
    """The waits of all nodes of one run, kept in their timelines."""

    def __init__(self, seats: Sequence[Seat], timelines: Sequence[Timeline]) -> None:
        self._timelines = timelines
        self._now = timelines[0].now
        self._began = [0] * len(seats)
        self._ready = [0] * len(seats)
        # When the s-th was there to be sent: one more than places, for one that waits for room.
        self._sent = [[0] * (seat.kept + 1) for seat in seats]

    def send(self, seat: Seat) -> None:
        """It is about to begin its next exchange."""
        times = self._sent[seat.node]
        times[seat.sent % len(times)] = self._began[seat.node] = self._now()

    def ready(self, seats: Sequence[Seat]) -> None:
        """They have all that they waited for."""
        now = self._now()
        for seat in seats:
            self._ready[seat.node] = now

    def turn(self, seat: Seat) -> None:
        """It is about to take what it waited for."""
        timeline, ready = self._timelines[seat.node], self._ready[seat.node]
        at = self._began[seat.node]
        for peer in seat.hears:
            times = self._sent[peer.node]
            came = min(times[seat.taken % len(times)], ready)
            if came > at:
                timeline.add_between(WAIT, at, came, peer.place.name)
                at = came
        timeline.add(TURN, at)
