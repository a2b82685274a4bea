"""One task at several nodes: results as they come, or all, or as many as are enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from p2pdo.driving.results import TaskResult
from p2pdo.errors import ConfigError, TaskFailed

Abort: TypeAlias = Callable[[Iterable[asyncio.Future[TaskResult]], str], Awaitable[None]]


class Broadcast:
    """One task at several nodes; iterate for results as they come."""

    def __init__(
        self,
        name: str,
        workload: str,
        futures: Sequence[asyncio.Future[TaskResult]],
        abort: Abort,
    ) -> None:
        self._name = name
        self._workload = workload
        self._futures = list(futures)
        self._abort = abort

    async def __aiter__(self) -> AsyncIterator[TaskResult]:
        for next_done in asyncio.as_completed(self._futures):
            yield await next_done

    async def wait(self, min_responses: int | None = None, grace: float = 0.0) -> list[TaskResult]:
        """Every result; with `min_responses` those that were there when so many were ok.

        After that many, who is late has `grace` seconds; then what is left is aborted.

        Raises:
            ConfigError: `min_responses` is more than there are nodes.
            TaskFailed: fewer than `min_responses` nodes succeeded; says why the first did not.
        """
        if min_responses is None:
            return list(await asyncio.gather(*self._futures))
        check_enough(self._name, len(self._futures), min_responses)
        pending = set(self._futures)
        while pending and self._succeeded() < min_responses:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending and grace > 0:
            _, pending = await asyncio.wait(pending, timeout=grace)
        done = [future.result() for future in self._futures if future not in pending]
        if pending:
            await self._abort(pending, "enough nodes have answered")
        if self._succeeded() < min_responses:
            raise self._too_few(done, min_responses)
        return done

    async def abort(self, reason: str) -> None:
        """Gives up whoever has not answered."""
        await self._abort(self._futures, reason)

    def _succeeded(self) -> int:
        return sum(future.done() and future.result().is_ok for future in self._futures)

    def _too_few(self, done: Sequence[TaskResult], needed: int) -> TaskFailed:
        bad = next(result for result in done if result.error is not None)
        assert bad.error is not None, "it was chosen for its error"
        return TaskFailed(
            f"{self._succeeded()} of {len(self._futures)} nodes did '{self._name}', "
            f"{needed} are needed; {bad.error.message}",
            hint=bad.error.hint or "look at the node's log",
            node=bad.node,
            workload=self._workload,
        )


def check_enough(name: str, nodes: int, needed: int) -> None:
    """Refuses to wait for more than can come."""
    if needed > nodes:
        raise ConfigError(
            f"'{name}' goes to {nodes} nodes, and min_responses is {needed}",
            hint="ask for fewer responses, or send it to more nodes",
        )
