"""Executors: what a node can do for a workload, by the names of tasks.

An executor is made for one workload by its factory and lives as long as the workload's client. It
has a table of handlers; a task names one of them. A plain function runs on the workload's own
thread and may block; a coroutine function runs on the event loop and must not.

    class Statistics(Executor):
        def __init__(self, context: WorkloadContext) -> None:
            self._rows = load_rows()

        @property
        def handlers(self) -> Mapping[str, Handler]:
            return {"mean": self._mean}

        def _mean(self, task: Task) -> object:
            return {"mean": float(self._rows[task.payload["column"]].mean())}

What a handler returns travels as JSON, so it is plain data. What it raises fails its task, and
nothing else: the next task is handled. A `P2pdoError` keeps its code; any other exception becomes
`task-failed` with its type, its words and its traceback.
"""

from __future__ import annotations

import inspect
import json
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from p2pdo.errors import P2pdoError, TaskFailed, UnknownTask, did_you_mean, legible
from p2pdo.protocol.routing import Result, Task
from p2pdo.runtime.compute import Compute
from p2pdo.types import Plain, WorkloadId

__all__ = [
    "Executor",
    "ExecutorFactory",
    "Handler",
    "Performer",
    "Result",
    "Task",
    "WorkloadContext",
    "failure",
]

RESULT_LIMIT = 4 * 1024 * 1024  # bytes of JSON; what is larger is data and stays at its site
_TRACEBACK_LIMIT = 16 * 1024  # characters

_encode = json.JSONEncoder(allow_nan=False).encode

Handler: TypeAlias = Callable[[Task], object]


@dataclass(frozen=True)
class WorkloadContext:
    """What an executor is made with.

    Attributes:
        compute: the workload's thread, started at its first use.
        log: a logger whose messages name the workload.
    """

    node: str
    workload_id: WorkloadId
    compute: Compute
    log: logging.Logger | logging.LoggerAdapter[logging.Logger]


class Executor(ABC):
    """Handles one workload's tasks, one at a time.

    Attributes:
        needed_until_end: whether other nodes may still need this one when its own tasks are
            done. A node that drains waits for the end of such a workload.
    """

    needed_until_end: ClassVar[bool] = False

    @property
    @abstractmethod
    def handlers(self) -> Mapping[str, Handler]:
        """By the task's name; plain functions or coroutine functions. Asked for once."""

    async def close(self) -> None:  # noqa: B027 - an optional hook
        """Runs once, when the workload has ended; a plain handler may still be running."""


ExecutorFactory: TypeAlias = Callable[[WorkloadContext], Executor]


class Performer:
    """Performs tasks with an executor; a task's failure is its result."""

    def __init__(self, executor: Executor, compute: Compute, node: str) -> None:
        self._compute = compute
        self._node = node
        self._handlers = {
            name: (handler, inspect.iscoroutinefunction(handler))
            for name, handler in executor.handlers.items()
        }

    async def perform(self, task: Task) -> Result:
        try:
            handler, is_async = self._handlers.get(task.name) or self._refuse(task)
            if is_async:
                payload = _to_json(await handler(task))  # type: ignore[misc]
            else:
                payload = await self._compute.run(_call, handler, task)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is told whole
            payload = json.dumps(failure(error, node=self._node, workload=task.workload_id))
            # An executor may keep its failure, and a failure keeps the variables of every call
            # that it left: states and values, until some collection of garbage finds the circle.
            traceback.clear_frames(error.__traceback__)
            return Result(task.task_id, task.workload_id, task.attempt, ok=False, payload=payload)
        return Result(task.task_id, task.workload_id, task.attempt, ok=True, payload=payload)

    def _refuse(self, task: Task) -> tuple[Handler, bool]:
        raise UnknownTask(
            f"executor '{task.executor}' has no task '{task.name}'",
            hint=did_you_mean(task.name, sorted(self._handlers)),
        )


def failure(error: Exception, *, node: str, workload: str) -> dict[str, Plain]:
    """What the submitter is told: code, message, hint, node, workload, iteration, traceback."""
    told: P2pdoError
    if isinstance(error, P2pdoError):
        told = error
    else:
        words = str(error)
        name = type(error).__name__
        told = TaskFailed(f"{name}: {words}" if words else name)
    plain = {"node": node, "workload": workload, **told.to_plain()}
    plain["traceback"] = legible("".join(traceback.format_exception(error)), _TRACEBACK_LIMIT)
    return plain


def _call(handler: Handler, task: Task) -> str:
    return _to_json(handler(task))


def _to_json(value: Any) -> str:
    try:
        text = _encode(value)
    except (TypeError, ValueError) as error:
        raise TaskFailed(
            f"what the handler returned cannot travel as JSON: {error}",
            hint="return numbers, text, lists and dicts; no arrays, no NaN",
        ) from None
    if len(text) > RESULT_LIMIT:
        raise TaskFailed(
            f"the result has {len(text)} bytes, more than {RESULT_LIMIT}",
            hint="return a summary; data stays where it is",
        )
    return text
