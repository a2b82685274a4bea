"""Metrics on their way to the coordinator: in batches and off the hot path.

A batch is sent until it has arrived. What the monitor is told meanwhile waits, and where more than
`MOST_HIDDEN` iterations wait the oldest are given up; the coordinator notices and tells.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from p2pdo.node.control import Control
from p2pdo.node.control_words import HiddenPart, MetricPoint
from p2pdo.node.executors import WorkloadContext
from p2pdo.runtime.groups import task_group

_PERIOD = 0.5  # seconds between two batches
MOST_HIDDEN = 8192
"""Iterations whose hidden parts wait for the coordinator."""
HIDDEN_A_BATCH = 1024


class Counters(Protocol):
    """How far a node is."""

    @property
    def iteration(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def messages_sent(self) -> int: ...


class Metering:
    """What waits for the coordinator, and what is on its way there."""

    def __init__(
        self, control: Control, context: WorkloadContext, lanes: Callable[[], Mapping[str, str]]
    ) -> None:
        """`lanes` says which way each neighbour's values take; it is told with each batch."""
        self._control = control
        self._lanes = lanes
        self._workload = context.workload_id
        self._loop = asyncio.get_running_loop()
        self._began = 0.0
        self._points: list[MetricPoint] = []
        self._hidden: deque[HiddenPart] = deque(maxlen=MOST_HIDDEN)
        self._on_way: tuple[list[MetricPoint], list[HiddenPart]] | None = None
        self._arrived = asyncio.Event()
        self._is_much = asyncio.Event()

    def tell(self, now: Counters, logged: Mapping[str, float | None]) -> None:
        """Takes counters, and what was logged with them."""
        seconds = self._loop.time() - self._began
        self._points.append(
            MetricPoint(now.iteration, seconds, now.bytes_sent, now.messages_sent, logged)
        )
        self._arrived.set()

    def tell_monitor(self, iteration: int, numbers: bytes) -> None:
        """Takes what the monitor is told of an iteration; on any thread, one at a time."""
        self._hidden.append(HiddenPart(iteration, numbers))
        waiting = len(self._hidden)
        if waiting == 1:  # the loop is woken for a batch, and not for each
            self._loop.call_soon_threadsafe(self._arrived.set)
        elif waiting == HIDDEN_A_BATCH:
            self._loop.call_soon_threadsafe(self._is_much.set)

    @contextlib.asynccontextmanager
    async def sent(self) -> AsyncIterator[None]:
        """Batches go as they come, and all of it has arrived at the end of the block."""
        self._began = self._loop.time()
        async with task_group() as group:
            running = group.create_task(self._push_for_ever(), name="metrics")
            yield
            running.cancel()
        await self._push()

    async def _push(self) -> None:
        while batch := self._next():
            points, hidden = batch
            await self._control.push_metrics(self._workload, points, self._lanes(), hidden)
            self._on_way = None  # not before: at the end this is cancelled, and called again

    async def _push_for_ever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            self._is_much.clear()
            await self._push()
            with contextlib.suppress(TimeoutError):  # gathers the next batch
                async with asyncio.timeout(_PERIOD):
                    await self._is_much.wait()

    def _next(self) -> tuple[list[MetricPoint], list[HiddenPart]] | None:
        if self._on_way is None and (self._points or self._hidden):
            points, self._points = self._points, []
            number = min(len(self._hidden), HIDDEN_A_BATCH)
            self._on_way = points, [self._hidden.popleft() for _ in range(number)]
        return self._on_way
