"""The loop of simulated hosts: virtual time, one order of everything, threads that take a moment.

Whoever iterates over a set of tasks or futures, as `asyncio.TaskGroup` does when it cancels, meets
them in the order of their hashes, which are addresses in memory: another order in every process.
Those of this loop are hashed by their numbers.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

from p2pdo.simulation.clock import VirtualTimeLoop

T = TypeVar("T")

THREAD = 0.001
"""Seconds, at most, until a thread of the loop has answered."""


class _Task(asyncio.Task[Any]):
    def __init__(self, *args: Any, number: int, **options: Any) -> None:
        self._number = number  # before: a task is put into a set when it is made
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class HostsLoop(VirtualTimeLoop):
    """One seed is one order of events."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self._rng = random.Random(f"threads {seed}")  # noqa: S311 - a simulation's chance
        self.set_task_factory(self._make_task)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        return _Task(work, loop=loop, context=context, number=next(self._numbers))

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(next(self._numbers), self)

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Calls it now; its answer takes a moment, in which others go on."""
        return self.later(self._rng.uniform(0.0, THREAD), function, *args)

    def later(self, delay: float, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Calls it now; what it came to is told after `delay` seconds."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = function(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            self.call_later(delay, _fail, future, error)
        else:
            self.call_later(delay, _settle, future, result)
        return future


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
