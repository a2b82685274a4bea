"""Time that jumps: an event loop on which an hour of waiting takes no time at all.

The loop's `time()` stands still while anything is ready to run. When nothing is, it jumps to the
next timer. So `asyncio.sleep`, `timeout` and `call_later` keep their order and their exact
figures, a test of a 60 s rule takes a millisecond, and two runs take the same steps.

When nothing is ready and no timer is set, nobody will ever be woken: a real loop would hang, this
one raises `Deadlock` and names the tasks that wait.

    def test_the_lease_ends_after_thirty_seconds():
        async def main() -> None:
            ...
            await asyncio.sleep(30)

        clock.run(main())

Only for code that waits for other code on the same loop. A thread or a socket answers in real
time, which this loop does not wait for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from p2pdo.errors import LocalProtocolError

T = TypeVar("T")


class Deadlock(LocalProtocolError):
    """Nothing is ready, no timer is set: the waiting tasks would wait for ever."""

    code = "deadlock"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at zero and jumps when nothing is ready."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` to its end in virtual time.

    Raises:
        Deadlock: every task waits and nothing will wake one.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where it would have to, the loop's time jumps by as much."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Deadlock(
                f"nothing will ever happen again; waiting: {_waiting(self._loop)}",
                hint="a message, an event or a timer that these tasks wait for is never sent",
            )
        self._loop.jump(timeout)
        return ready


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    names = sorted(
        f"'{task.get_name()}' in {getattr(task.get_coro(), '__qualname__', '?')}"
        for task in asyncio.all_tasks(loop)
    )
    return ", ".join(names)
