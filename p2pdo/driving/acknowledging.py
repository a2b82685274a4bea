"""Telling the coordinator which results it need not keep.

    told (in memory) ──▶ in good hands ──▶ acknowledged: their data is dropped

A result is in good hands when nobody will ask for it again. For a driver whose workload ends with
it, that is once it is told: what is in the driver's memory is lost with the driver, and so is the
rest. Such acknowledgements are sent for many results at once. A workload that is kept has another
driver after this one, so there it is the program that knows: what `Tasks.results` has given out is
acknowledged when the loop comes back for the next one, and `Tasks.acknowledge` does so by hand.

A kept workload's driver is told twice: by the reader that every driver has, and by `results`. What
the one has given out and the other has not seen yet must not be dropped: the reader could not go
on behind a broken connection. So what is in good hands is acknowledged once both know it.

One acknowledgement is on its way at a time; meanwhile later ones replace each other, for each says
"the first so many".
"""

from __future__ import annotations

import asyncio
import logging

from p2pdo.driving.client import Client
from p2pdo.driving.patience import persist
from p2pdo.errors import P2pdoError

log = logging.getLogger(__name__)

_MANY = 256  # results that are told before they are acknowledged by themselves
_MUCH = 1 << 20  # characters of them


class Acknowledging:
    """How many of a workload's first results are in good hands, and what the coordinator knows.

    Attributes:
        by_itself: whether what is told is in good hands.
        told: how many results have come to the driver's reader.
        safe: how many of them are in good hands.
    """

    def __init__(self, client: Client, *, by_itself: bool) -> None:
        self.by_itself = by_itself
        self.told = 0
        self.safe = 0
        self._client = client
        self._size = 0  # characters that were told and are not in good hands
        self._acknowledged = 0
        self._changed = asyncio.Event()

    def begin(self, seen: int, acknowledged: int) -> None:
        """An earlier driver has had the first `seen`."""
        self.told = self.safe = seen
        self._acknowledged = acknowledged
        if seen > acknowledged:
            self._changed.set()

    def note_told(self, place: int, size: int) -> None:
        """The result at that place has come, with so many characters."""
        self.told = place
        if self.safe > self._acknowledged:
            self._changed.set()
        self._size += size
        is_due = place - self.safe >= _MANY or self._size >= _MUCH
        if self.by_itself and is_due:
            self._size = 0
            self.note_safe(place)

    def note_safe(self, seen: int) -> None:
        """The first so many are in good hands."""
        if seen > self.safe:
            self.safe = seen
            self._changed.set()

    async def send(self, workload_id: str, *, at_last: bool = False) -> None:
        """Returns when the coordinator knows; `at_last` also what the reader has not seen.

        Raises:
            P2pdoError: it refuses, or stays away.
        """
        seen = self.safe if at_last else min(self.safe, self.told)
        if seen > self._acknowledged:
            await persist(self._client, lambda: self._client.acknowledge(workload_id, seen))
            self._acknowledged = max(self._acknowledged, seen)

    async def keep_sending(self, workload_id: str) -> None:
        """Runs while the driver does. A coordinator that keeps too much is no reason to fail."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.send(workload_id)
            except P2pdoError as error:
                log.warning("results of workload %s stay kept: %s", workload_id, error.message)
                return
