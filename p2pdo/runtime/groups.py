"""A task group that raises what happened, and forgets no cancellation.

`asyncio.TaskGroup` wraps even a single failure in an `ExceptionGroup`, and a group in a group in
another one. Whoever wants to catch an error by its class wants the error.

Before Python 3.13 a group that is failing drops a cancellation from outside that comes while it
waits for its tasks. Whoever then goes on after the failure, as one does who tries for ever, could
not be ended any more. Here the cancellation wins, with the failure as its cause: whoever cancelled,
a timeout or a group around this one among them, makes of it what is his.

Whether there was one is told by how often the task was cancelled, in the block and from there to
the end. A group counts itself among those where a task of it fails while it waits at its end, and
asyncio's own leaves that count as it is; so the wait is inside the block here, and what groups in
the block left behind is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any


class _Group(asyncio.TaskGroup):
    """One whose tasks can be waited for before its end."""

    def __init__(self) -> None:
        super().__init__()
        self._open = 0
        self._idle = asyncio.Event()

    def create_task(self, *args: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(*args, **options)
        self._open += 1
        task.add_done_callback(self._done)
        return task

    @property
    def own_cancellations(self) -> int:
        """How often it has cancelled its own block because a task failed."""
        return int(self._parent_cancel_requested)  # type: ignore[attr-defined]

    def _done(self, _task: asyncio.Task[Any]) -> None:
        self._open -= 1
        self._idle.set()

    async def idle(self) -> None:
        while self._open:
            self._idle.clear()
            await self._idle.wait()


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup; a failure that is the only one is raised as it is, several as a group."""
    life = asyncio.current_task()
    assert life is not None, "a group is a task's"
    at_first, at_block_end, was_cancelled = life.cancelling(), 0, False
    try:
        async with _Group() as group:
            try:
                yield group
                await group.idle()
            except asyncio.CancelledError:
                was_cancelled = life.cancelling() - group.own_cancellations > at_first
                raise
            finally:
                at_block_end = life.cancelling() - group.own_cancellations
    except BaseExceptionGroup as failures:
        if was_cancelled or life.cancelling() > at_block_end:
            raise asyncio.CancelledError from failures
        only: BaseException = failures
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if only is failures:
            raise
        raise only from only.__cause__
