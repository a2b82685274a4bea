"""Awaiting code that is not ours: what ends it must not end us.

A `CancelledError` comes to a task in two ways: somebody cancelled the task, or something that it
awaited was cancelled. The first must go on to the task's end; the second is a failure like any
other, and a task that ended by it would end in silence. And a `SystemExit` that leaves a task ends
the loop, with all that other workloads have on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from p2pdo.errors import TaskFailed

T = TypeVar("T")


class Exited(TaskFailed):
    """Somebody's code has called `exit`."""

    def __init__(self, code: SystemExit) -> None:
        super().__init__(
            f"SystemExit: {code}", hint="return or raise: the process is not this code's to end"
        )


def is_being_cancelled() -> bool:
    """Whether somebody has cancelled the present task, and not taken it back."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def contained(work: Awaitable[T]) -> T:
    """What it comes to.

    Raises:
        Exited: instead of an exit.
        TaskFailed: instead of a cancellation that nobody asked for.
    """
    try:
        return await work
    except ENDS as error:
        raise as_failure(error) from error


ENDS = (SystemExit, asyncio.CancelledError)
"""What would end the task that awaits code which is not ours."""


def as_failure(end: BaseException) -> TaskFailed:
    """The failure that it is; for those who catch `ENDS` themselves.

    Raises:
        CancelledError: somebody has asked for it, so it goes on.
    """
    if isinstance(end, SystemExit):
        failure: TaskFailed = Exited(end)
    elif is_being_cancelled():
        raise end
    else:
        failure = TaskFailed(
            "CancelledError: something that it awaited was cancelled",
            hint="catch CancelledError where a future of your own is awaited",
        )
    failure.__cause__ = end
    return failure
