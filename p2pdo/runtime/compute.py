"""Where a workload computes: one thread of its own, or, for small steps, in place.

The event loop never computes. A `ThreadCompute` owns one thread, started at its first call and
ended after `idle` seconds without one, so a thousand waiting workloads cost no thread. One thread
per workload and not a pool: numerical libraries keep modes per thread (torch's grad mode), and
the BLAS inside runs on one thread so that bits do not depend on how many cores a host has.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from p2pdo.errors import LocalProtocolError, WorkloadFailed
from p2pdo.runtime.foreign import Exited

T = TypeVar("T")


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
