"""What a driver does while its coordinator is away: it asks again, for `PATIENCE` seconds.

The time counts from when the coordinator was missed, not from what it said last: a workload may be
quiet for hours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from p2pdo.driving.client import Client
from p2pdo.errors import DeadlineExceeded, Unreachable
from p2pdo.protocol.workload_words import TERMINAL
from p2pdo.wire.v1 import coordinator_pb2 as pb

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a coordinator that has gone away is looked for."""


class Patience:
    """Waits between tries, and gives up when there was no answer for too long."""

    def __init__(self, client: Client, seconds: float | None = None) -> None:
        self._seconds = PATIENCE if seconds is None else seconds
        self._backoff = client.host.backoff()
        self._missed: float | None = None  # since when

    def heard(self) -> None:
        self._backoff.reset()
        self._missed = None

    async def missed(self, error: Unreachable | DeadlineExceeded) -> None:
        """Waits for the next try.

        Raises:
            P2pdoError: the error, when the coordinator was missed for too long.
        """
        now = asyncio.get_running_loop().time()
        self._missed = now if self._missed is None else self._missed
        if now - self._missed > self._seconds:
            raise error
        await self._backoff.wait()

    async def wait(self) -> None:
        await self._backoff.wait()


async def persist(
    client: Client, call: Callable[[], Awaitable[T]], seconds: float | None = None
) -> T:
    """Calls until the client's coordinator answers.

    Raises:
        P2pdoError: it refuses, or does not answer for so many seconds.
    """
    patience = Patience(client, seconds)
    while True:
        try:
            return await call()
        except (Unreachable, DeadlineExceeded) as error:
            await patience.missed(error)


async def follow(
    client: Client, workload_id: str, seen: int = 0
) -> AsyncIterator[pb.WorkloadEvent]:
    """A workload's events to its end, whatever happens to the coordinator meanwhile.

    Of the results, those behind the first `seen`. Each time that it comes back it tells its status
    again, and only those results that were not here yet: each is told once.

    Raises:
        P2pdoError: it stays away, or does not know the workload.
    """
    patience = Patience(client)
    while True:
        is_over = False
        try:
            async with contextlib.aclosing(client.watch(workload_id, seen)) as events:  # type: ignore[type-var]
                async for event in events:
                    patience.heard()
                    seen += event.HasField("result")
                    is_over = is_over or _is_end(event)
                    yield event  # also behind the end: a late watcher is told the results after it
        except (Unreachable, DeadlineExceeded) as error:
            await patience.missed(error)
            continue
        if is_over:
            return
        await patience.wait()  # it was closed in good order


def _is_end(event: pb.WorkloadEvent) -> bool:
    return event.HasField("status") and event.status.status in TERMINAL
