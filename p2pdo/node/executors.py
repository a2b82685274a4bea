"""Executors: what a node can do for a workload, by the names of tasks.

    class Trainer(Executor):
        def __init__(self, column: str) -> None:          # arguments of the site's configuration
            self._rows = load_rows(column)

        @task("train")
        def train(self, task: Task, context: Context) -> object:
            for step in range(task.payload["steps"]):
                context.abort.check()
                ...
            return {"loss": loss, "weights": weights}     # numbers, text, lists, dicts, arrays

        @task
        async def status(self, task): ...

An executor is made for one workload and lives as long as the workload's client. A task names one
of its handlers, which takes the task, and the context if it wants it. A plain function runs on the
workload's own thread and may block; a coroutine function runs on the event loop and must not.

What a handler returns travels as JSON with arrays in it. What it raises fails its task, and
nothing else: the next task is handled. A `P2pdoError` keeps its code; any other exception becomes
`task-failed` with its type, its words and its traceback, or, where the site's policy redacts, with
its type alone.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar, overload

from p2pdo.errors import ConfigError, TaskAborted, TaskFailed
from p2pdo.node.context import Context, WorkloadContext
from p2pdo.node.events import takes
from p2pdo.protocol.handed import Result, Task
from p2pdo.types import Plain
from p2pdo.wire.plain import encode_bounded

__all__ = [
    "Context",
    "Executor",
    "ExecutorFactory",
    "Handler",
    "Handlers",
    "Result",
    "Task",
    "WorkloadContext",
    "task",
]

_MARK = "__p2pdo_task__"

Handler: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=Callable[..., Any])


@overload
def task(name: str) -> Callable[[F], F]: ...
@overload
def task(name: F) -> F: ...
def task(name: Any) -> Any:
    """Marks a method as the handler of the task of this name, or of the method's own."""
    if callable(name):
        setattr(name, _MARK, name.__name__)
        return name

    def mark(method: F) -> F:
        setattr(method, _MARK, name)
        return method

    return mark


def tasks_of(cls: type) -> dict[str, str]:
    """The marked methods of a class, by the names of their tasks.

    Raises:
        ConfigError: two methods are to handle one task.
    """
    found: dict[str, str] = {}
    for name in dir(cls):
        mark = getattr(getattr(cls, name, None), _MARK, None)
        if isinstance(mark, str):
            if mark in found:
                raise ConfigError(
                    f"task '{mark}' is handled by {cls.__name__}.{found[mark]} and by "
                    f"{cls.__name__}.{name}",
                    hint="give one of them another name: @task('other')",
                )
            found[mark] = name
    return found


class Executor:
    """Handles one workload's tasks, one at a time.

    Attributes:
        needed_until_end: whether other nodes may still need this one when its own tasks are
            done. A node that drains waits for the end of such a workload.
    """

    needed_until_end: ClassVar[bool] = False

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the task's name; plain functions or coroutine functions. Asked for once."""
        return {name: getattr(self, method) for name, method in tasks_of(type(self)).items()}

    async def close(self) -> None:
        """Runs once, when the workload has ended; a plain handler may still be running."""


ExecutorFactory: TypeAlias = Callable[[WorkloadContext], "Executor | Awaitable[Executor]"]


@dataclass(frozen=True, slots=True)
class Handlers:
    """An executor's handlers, and how each wants to be called."""

    executor: Executor
    table: Mapping[str, tuple[Handler, bool, bool]]  # with: is it a coroutine, takes the context

    @classmethod
    def of(cls, executor: Executor) -> Handlers:
        return cls(
            executor,
            {
                name: (handler, inspect.iscoroutinefunction(handler), takes(handler, 2))
                for name, handler in executor.handlers.items()
            },
        )

    def get(self, name: str) -> tuple[Handler, bool, bool] | None:
        return self.table.get(name)


def encode_result(value: Any) -> str:
    """What a handler returned, as it travels.

    Raises:
        TaskFailed: it cannot.
    """
    return encode_bounded(value, "the result", TaskFailed)


def failed_result(task: Task, plain: Mapping[str, Plain]) -> Result:
    return Result(task.task_id, task.workload_id, task.attempt, ok=False, payload=json.dumps(plain))


def aborted(reason: str) -> TaskAborted:
    return TaskAborted(
        f"aborted: {reason}", hint="send it again with a longer deadline, or not at all"
    )
