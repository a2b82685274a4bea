"""The event loop of a worker: on a thread of its own, from its first coroutine on.

Coroutine tasks and the coroutines that answer messages share it, as they share the node's where
there are no workers; while the main thread computes, messages are answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from p2pdo.runtime.foreign import contained


class LoopThread:
    """Runs coroutines for the other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What it returns; waits for that."""
        return self.submit(coroutine).result()

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begins it; an exit in there is a failure and ends nobody."""
        return asyncio.run_coroutine_threadsafe(contained(coroutine), self._running_loop())

    def close(self) -> None:
        """Cancels what still runs, and returns when all has ended."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                ready = threading.Event()
                work = self._serve(ready)
                self._thread = threading.Thread(
                    target=asyncio.run, args=(work,), name="loop", daemon=True
                )
                self._thread.start()
                ready.wait()
            assert self._loop is not None, "it is set before it is ready"
            return self._loop

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._stop.wait()


def is_on_loop() -> bool:
    """Whether the caller is a coroutine, or was called by one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
