"""The lane with a clock: what `runtime.timeline` is to the exchange by the link."""

from __future__ import annotations

from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.spans import ROOM, SEND, WAIT
from p2pdo.runtime.timeline import Timeline
from p2pdo.transports.shared_memory.lane import SharedMemoryLane
from p2pdo.transports.shared_memory.segment import Neighbour


class TimedLane(SharedMemoryLane):
    """A lane whose sends and waits are timed."""

    def __init__(self, node: int, timeline: Timeline) -> None:
        super().__init__(node)
        self._timeline = timeline

    def publish(self, outgoing: Outgoing) -> bool:
        """As without a clock."""
        if self._current is not None:  # it is asked again
            return super().publish(outgoing)
        began = self._timeline.now()
        try:
            return super().publish(outgoing)
        finally:
            self._timeline.add(SEND, began)

    def _sleep(self, neighbour: Neighbour, events: int, until: float) -> bool:
        what = ROOM if self._current is None else WAIT
        began = self._timeline.now()
        try:
            return super()._sleep(neighbour, events, until)
        finally:
            self._timeline.add(what, began, neighbour.name)
