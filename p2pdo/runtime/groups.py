"""A task group that raises what happened.

`asyncio.TaskGroup` wraps even a single failure in an `ExceptionGroup`, and a group in a group in
another one. Whoever wants to catch an error by its class wants the error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup; a failure that is the only one is raised as it is, several as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        only: BaseException = failures
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if only is failures:
            raise
        raise only from only.__cause__
