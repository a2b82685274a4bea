"""Batches: what is put in while one batch is being worked on is the next one.

`ThreadBatches` works on a thread of its own, in order, so that what is slow holds nobody up and is
shared by all who came meanwhile.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
Item_contra = TypeVar("Item_contra", contravariant=True)
Work = Callable[[list[T]], None]


class Batches(Protocol[Item_contra]):
    """Hands what is put in on, in order, as many at once as there are."""

    def start(self) -> None: ...
    def put(self, item: Item_contra, /) -> None: ...
    def close(self) -> None: ...


class ThreadBatches(Generic[T]):
    """Calls `work` with each batch on a daemon thread of its own."""

    def __init__(self, name: str, work: Work[T]) -> None:
        self._work = work
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: T, /) -> None:
        self._items.put(item)

    def close(self) -> None:
        """Blocks until all that was put in is done."""
        if self._thread.is_alive():
            self._items.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (first := self._items.get()) is not None:
            batch, is_last = self._gather(first)
            self._work(batch)
            if is_last:
                return

    def _gather(self, first: T) -> tuple[list[T], bool]:
        """Everything that is there by now, and whether the end is among it."""
        batch = [first]
        with contextlib.suppress(queue.Empty):
            while (item := self._items.get_nowait()) is not None:
                batch.append(item)
            return batch, True
        return batch, False
