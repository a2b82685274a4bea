"""Signals. Ctrl-C and SIGTERM end a verb in order: what runs is stopped, what was seen is kept.

Outside a loop a signal raises `Interruption` where it strikes. In a loop the first one cancels the
verb's task, which cleans up at its own pace; a second one raises and waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], None]


class Interruption(KeyboardInterrupt):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = signal.Signals(number)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Both signals raise `Interruption`."""
    with _handled_by(_raise):
        yield


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs it in a loop; a signal cancels it.

    Raises:
        Interruption: a signal came; its cause is what the cancelled task raised.
    """
    import uvloop

    received: list[int] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()

        async def cancellable() -> T:
            task = asyncio.current_task()
            assert task is not None

            def on_signal(number: int, _frame: FrameType | None) -> None:
                if received:
                    raise Interruption(number)
                received.append(number)
                loop.call_soon_threadsafe(task.cancel)

            with _handled_by(on_signal):
                return await main

        try:
            return runner.run(cancellable())
        except BaseException as error:
            if received:
                raise Interruption(received[0]) from error
            raise


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Interruption(number)


@contextlib.contextmanager
def _handled_by(handler: _Handler) -> Iterator[None]:
    """Python lets only the main thread handle signals; elsewhere they are somebody else's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
