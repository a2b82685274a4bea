"""A task group that raises what happened, and forgets no cancellation.

`asyncio.TaskGroup` wraps even a single failure in an `ExceptionGroup`, and a group in a group in
another one. Whoever wants to catch an error by its class wants the error.

Before Python 3.13 a group that is failing drops a cancellation from outside that comes while it
waits for its tasks. Whoever then goes on after the failure, as one does who tries for ever, could
not be ended any more. Here the cancellation comes at the next wait.

Whether there was one is told by how often the task was cancelled. A group counts itself among
those where a task of it fails while it waits at its end; so the wait is inside the block here.
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
    asked = life.cancelling()
    try:
        async with _Group() as group:
            yield group
            await group.idle()
    except BaseExceptionGroup as failures:
        if life.cancelling() > asked:
            life.uncancel()
            life.cancel()
        only: BaseException = failures
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if only is failures:
            raise
        raise only from only.__cause__
