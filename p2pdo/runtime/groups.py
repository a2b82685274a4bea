"""A task group that raises what happened, and forgets no cancellation.

`asyncio.TaskGroup` wraps even a single failure in an `ExceptionGroup`, and a group in a group in
another one. Whoever wants to catch an error by its class wants the error.

Before Python 3.13 a group that is failing drops a cancellation from outside that comes while it
waits for its tasks. Whoever then goes on after the failure, as one does who tries for ever, could
not be ended any more. Here the cancellation comes at the next wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup; a failure that is the only one is raised as it is, several as a group."""
    life = asyncio.current_task()
    assert life is not None, "a group is a task's"
    asked = life.cancelling()
    try:
        async with asyncio.TaskGroup() as group:
            yield group
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
