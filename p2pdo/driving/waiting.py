"""Who waits for which task.

A result may be told before its sender knows the task's id: while anybody is sending, what nobody
waits for yet is put aside for the one who will ask. What is told when nobody sends and nobody waits
is of no use here, and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from p2pdo.driving.results import TaskResult
from p2pdo.errors import P2pdoError
from p2pdo.types import TaskId


class Waiting:
    """The futures of tasks that were sent and have no result yet.

    Attributes:
        failure: why no task will have one any more; None as long as they may.
    """

    def __init__(self) -> None:
        self.failure: P2pdoError | None = None
        self._futures: dict[TaskId, asyncio.Future[TaskResult]] = {}
        self._early: dict[TaskId, TaskResult] = {}  # told before the sender knew their ids
        self._sending = 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return all(future.done() for future in self._futures.values())

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Puts results aside that come before their tasks' ids are known."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            if not self._sending:
                self._early.clear()

    def future_of(self, task_id: TaskId) -> asyncio.Future[TaskResult]:
        """Done already where its result was early, or none will come."""
        future: asyncio.Future[TaskResult] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        early = self._early.pop(task_id, None)
        if early is not None:
            future.set_result(early)
        elif self.failure is not None:
            future.set_exception(self.failure)
        else:
            self._futures[task_id] = future
        return future

    def ids_of(self, futures: Iterable[asyncio.Future[TaskResult]]) -> list[TaskId]:
        """The tasks among them that have no result."""
        wanted = set(futures)
        return [task_id for task_id, future in self._futures.items() if future in wanted]

    def take(self, result: TaskResult) -> None:
        """Wakes whoever waits for it."""
        future = self._futures.pop(result.task_id, None)
        if future is None:
            if self._sending:
                self._early[result.task_id] = result
        elif not future.done():
            future.set_result(result)

    def fail(self, error: P2pdoError) -> None:
        """Tells everybody who waits, and whoever sends later. The first reason stays."""
        self.failure = self.failure or error
        fail_all(list(self._futures.values()), self.failure)
        self._futures.clear()


def fail_all(futures: Iterable[asyncio.Future[TaskResult]], error: P2pdoError) -> None:
    """Tells whoever of them still waits."""
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _retrieve(future: asyncio.Future[TaskResult]) -> None:
    """An error that nobody waits for any more is not worth a warning."""
    if not future.cancelled():
        future.exception()
