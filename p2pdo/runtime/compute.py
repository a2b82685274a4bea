"""Where a workload computes: one thread of its own, or, for small steps, in place.

A `ThreadCompute` owns one thread, started at its first call and ended after `idle` seconds without
one, so a thousand waiting workloads cost no thread. One thread per workload and not a pool:
numerical libraries keep modes per thread (torch's grad mode), and the BLAS inside runs on one
thread so that bits do not depend on how many cores a host has.

The event loop computes nothing that could hold it up. A hop to a thread and back costs more than
many a step, so `ShortInPlace` takes steps on the loop that have shown to be short, where their code
says that it has nothing of a thread's own; see `may_be_in_place`.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from p2pdo.errors import LocalProtocolError, WorkloadFailed
from p2pdo.runtime.foreign import Exited

T = TypeVar("T")

LONG = 1e-3
"""Seconds of computing for which a step may hold the loop."""

TRIED, TRIED_MOST = 16, 1024
"""Steps in a row that have to be short on the thread before they are taken in place."""

_LIBRARY = "p2pdo.algorithms."


class Compute(Protocol):
    """Runs functions one at a time, in order; an exception is raised at the caller."""

    async def run(self, function: Callable[..., T], /, *args: Any) -> T: ...
    def close(self) -> None: ...


class InlineCompute:
    """In place on the loop's thread: for simulation, and where steps are small."""

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        return function(*args)

    def close(self) -> None:
        pass


class ShortInPlace:
    """In place where the last steps were short, else on the thread of another compute.

    After a step of more than `LONG` in place the next `TRIED` are on the thread again, all of which
    have to be short, and after the next such step twice as many. So no step is in place that was
    not short before, and of those that are, hardly one in `TRIED_MOST` is long, whatever they do.
    Between steps that follow each other without a wait the loop has its turn after `LONG`.
    """

    def __init__(self, thread: Compute, clock: Callable[[], float] = time.thread_time) -> None:
        self._thread = thread
        self._clock = clock  # of the calling thread's computing: a busy machine makes none long
        self._asked = TRIED
        self._left = TRIED  # short steps until they are taken in place
        self._held = 0.0  # how long the loop has not had its turn, at most

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        if self._left:
            result: T
            result, seconds = await self._thread.run(self._timed, function, args)
            self._left = self._left - 1 if seconds <= LONG else self._asked
            if not self._left:
                limit_blas_threads()  # of the loop's thread
            return result
        if self._held > LONG:
            self._held = 0.0
            await asyncio.sleep(0)
        began = self._clock()
        try:
            return function(*args)
        finally:
            seconds = self._clock() - began
            self._held += seconds
            if seconds > LONG:
                self._left = self._asked = min(2 * self._asked, TRIED_MOST)

    def _timed(self, function: Callable[..., T], args: tuple[Any, ...]) -> tuple[T, float]:
        began = self._clock()
        return function(*args), self._clock() - began

    def close(self) -> None:
        self._thread.close()


def may_be_in_place(algorithm: object, problem: object) -> bool:
    """Whether an algorithm's steps on a problem may share the loop's thread.

    They may where they keep no mode of a library per thread, wait for nothing and call no event
    loop. p2pdo's own algorithms do not; a class says so of itself by `in_place = True`, and one
    that is derived from it has to say it again.
    """
    cls = type(algorithm)
    return (cls.__module__.startswith(_LIBRARY) or _says_so(cls)) and _says_so(type(problem))


def _says_so(cls: type[Any]) -> bool:
    return vars(cls).get("in_place") is True


_Call = tuple[Callable[..., Any], tuple[Any, ...], "asyncio.Future[Any]"]


class ThreadCompute:
    """On one daemon thread of its own."""

    def __init__(self, name: str, *, idle: float = 30.0) -> None:
        self._name = name
        self._idle = idle
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = False  # guarded by the lock: whether a thread will still read the queue
        self._closed = False

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        if self._closed:
            raise LocalProtocolError(f"{self._name}: computing after close")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._calls.put((function, args, future))
            if not self._running:
                self._start()
        try:
            return await future
        finally:
            del future  # a failure's traceback holds this frame, and the future the failure

    def close(self) -> None:
        """Ends the thread after the call in progress, if any; does not wait for it."""
        self._closed = True
        self._calls.put(None)

    def _start(self) -> None:
        """Starts the thread, with one call waiting for it."""
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError as error:
            self._calls.get_nowait()
            raise WorkloadFailed(
                f"{self._name}: {error}", hint="this process may have no more threads: ulimit -u"
            ) from error
        self._running = True

    def _work(self) -> None:
        limit_blas_threads()
        while True:
            try:
                call = self._calls.get(timeout=self._idle)
            except queue.Empty:
                with self._lock:
                    if self._calls.empty():
                        self._running = False
                        return
                continue
            if call is None:
                return
            self._perform(*call)
            del call  # what it was given may be large, and the next one may be long in coming

    @staticmethod
    def _perform(
        function: Callable[..., Any], args: tuple[Any, ...], future: asyncio.Future[Any]
    ) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function(*args)
        except StopIteration as stop:  # a future cannot carry it
            error = LocalProtocolError(f"StopIteration({stop.value!r}) left a computation")
        except SystemExit as code:  # it would end the loop, not this thread
            error = Exited(code)
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it belongs to the caller
            error = raised
        try:
            future.get_loop().call_soon_threadsafe(_settle, future, result, error)
        except RuntimeError:  # the loop has closed: nobody waits any more
            pass
        finally:
            del error, future  # a failure's traceback holds this frame, with all that is in it


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # the caller was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def limit_blas_threads() -> None:
    """One BLAS thread for what this thread calls: a product's bits change with their number.

    OpenMP keeps its number per thread, so every thread that computes has to say it. Looking for
    the libraries takes half a millisecond; it is done again only when modules were imported since.
    """
    from threadpoolctl import ThreadpoolController

    global _blas  # noqa: PLW0603 - what is loaded is a fact about the process
    imported = len(sys.modules)
    if _blas is None or _blas[0] != imported:
        _blas = (imported, ThreadpoolController())
    _blas[1].limit(limits=1)


_blas: tuple[int, Any] | None = None
