"""Metrics on their way to the coordinator: in batches and off the hot path."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from p2pdo.node.control import Control, MetricPoint
from p2pdo.node.executors import WorkloadContext
from p2pdo.runtime.groups import task_group

_PERIOD = 0.5  # seconds between two batches


class Counters(Protocol):
    """How far a node is."""

    @property
    def iteration(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def messages_sent(self) -> int: ...


Tell = Callable[[Counters, Mapping[str, float | None]], None]


@contextlib.asynccontextmanager
async def metered(
    control: Control, context: WorkloadContext, lanes: Callable[[], Mapping[str, str]]
) -> AsyncIterator[Tell]:
    """Yields who takes counters, and what was logged with them; all have arrived at the end.

    `lanes` says which way each neighbour's values take; it is told with each batch.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    points: list[MetricPoint] = []
    arrived = asyncio.Event()

    def tell(now: Counters, logged: Mapping[str, float | None]) -> None:
        seconds = loop.time() - began
        points.append(
            MetricPoint(now.iteration, seconds, now.bytes_sent, now.messages_sent, logged)
        )
        arrived.set()

    async def push() -> None:
        batch = points[:]
        if batch:
            await control.push_metrics(context.workload_id, batch, lanes())
            del points[: len(batch)]  # not before: at the end this is cancelled, and called again

    async def run() -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            await push()
            await asyncio.sleep(_PERIOD)  # gathers the next batch

    async with task_group() as group:
        running = group.create_task(run(), name="metrics")
        yield tell
        running.cancel()
    await push()
