"""Where a participant's own loop runs: a plain function that waits, in the middle, for coroutines.

    result = await stage.run(function)      function(wait_for); wait_for(make) runs make() on the
                                            loop and gives what it returns, or raises what it raises

`ThreadStage` is the real one: the function has the workload's thread, blocks only itself, and the
loop goes on. Nobody can interrupt a thread: when whoever awaits `run` is cancelled, every wait of
the function raises; one that does not wait is left alone after a moment.

`TurnStage` is for virtual time, where nothing may happen while a function computes: the loop
stands still until the function waits or ends. One order of events is one run.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias, TypeVar

from p2pdo.errors import WorkloadStopped
from p2pdo.runtime.compute import Compute, limit_blas_threads
from p2pdo.runtime.groups import task_group

T = TypeVar("T")
_GRACE = 2.0  # seconds that a cancelled function may take to let go of what it holds
Make: TypeAlias = Callable[[], Awaitable[Any]]
WaitFor: TypeAlias = Callable[[Make], Any]


class Stage(Protocol):
    """Runs one function that waits.

    `cancelled` is called when whoever awaits is cancelled, before the function is told.
    """

    async def run(self, function: Callable[[WaitFor], T], cancelled: Callable[[], None]) -> T: ...


class ThreadStage:
    """On the thread of a `Compute`, which is not the loop's."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: asyncio.TaskGroup | None = None  # Invariant: set while `run` is awaited.

    async def run(
        self, function: Callable[[WaitFor], T], cancelled: Callable[[], None] = lambda: None
    ) -> T:
        """The function's result.

        Raises:
            BaseException: what the function raised.
        """
        self._loop = asyncio.get_running_loop()
        running = asyncio.ensure_future(self._compute.run(function, self._wait_for))
        try:
            async with task_group() as self._group:
                try:
                    return await asyncio.shield(running)
                except asyncio.CancelledError:
                    cancelled()
                    raise
        except asyncio.CancelledError:
            self._group = None  # every wait of the function raises from here on
            running.add_done_callback(_look)
            await asyncio.wait([running], timeout=_GRACE)
            raise
        finally:
            self._group = None

    def _wait_for(self, make: Make) -> Any:
        """Called on the function's thread."""
        assert self._loop is not None
        answer: Future[Any] = Future()
        try:
            self._loop.call_soon_threadsafe(self._start, make, answer)
        except RuntimeError:  # the loop has closed
            raise _over() from None
        return answer.result()

    def _start(self, make: Make, answer: Future[Any]) -> None:
        making = _await(make)
        try:
            if self._group is None:
                raise RuntimeError  # noqa: TRY301 - as a group that is ending does
            task = self._group.create_task(making, name="a participant's wait")
        except RuntimeError:
            making.close()
            answer.set_exception(_over())
        else:
            task.add_done_callback(lambda task: _settle(task, answer))


def _look(running: asyncio.Future[Any]) -> None:
    """Nobody asks any more what a cancelled function came to."""
    if not running.cancelled():
        running.exception()


async def _await(make: Make) -> tuple[Any, Exception | None]:
    """What it gives or raises; a failure is for who waits, not for the group."""
    try:
        return await make(), None
    except Exception as error:  # noqa: BLE001 - whatever it is
        return None, error


def _settle(task: asyncio.Task[tuple[Any, Exception | None]], answer: Future[Any]) -> None:
    """Also where the task was cancelled before it began."""
    value, error = (None, _over()) if task.cancelled() else task.result()
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)


class TurnStage:
    """On a thread of its own that runs only while the loop stands still."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, bool]] = queue.SimpleQueue()

    async def run(
        self, function: Callable[[WaitFor], T], cancelled: Callable[[], None] = lambda: None
    ) -> T:
        """The function's result; see `ThreadStage.run`."""
        threading.Thread(
            target=self._perform, args=(function,), name="participant", daemon=True
        ).start()
        cancellation: asyncio.CancelledError | None = None
        while True:
            what, it = self._asked.get()
            if what != "wait":
                break
            try:
                self._answers.put((_over(), False) if cancellation else (await it(), True))
            except asyncio.CancelledError as error:  # the function still comes to its end
                cancellation = error
                cancelled()
                self._answers.put((_over(), False))
            except Exception as error:  # noqa: BLE001 - it belongs to who waits
                self._answers.put((error, False))
        if cancellation is not None:
            raise cancellation
        if what == "error":
            raise it
        return it  # type: ignore[no-any-return]

    def _perform(self, function: Callable[[WaitFor], Any]) -> None:
        """The function's thread."""
        limit_blas_threads()
        try:
            self._asked.put(("result", function(self._wait_for)))
        except BaseException as error:  # noqa: BLE001 - it belongs to who awaits `run`
            self._asked.put(("error", error))

    def _wait_for(self, make: Make) -> Any:
        self._asked.put(("wait", make))
        answer, is_good = self._answers.get()
        if not is_good:
            raise answer
        return answer


def _over() -> WorkloadStopped:
    return WorkloadStopped("the workload is over", hint="return when me.aborted is true")
