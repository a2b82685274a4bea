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

A simulated network is millions of short calls, so what asyncio's own loop does around each, a poll
of sockets, a comparison of timers in Python, a copy of the context, is most of its time. Here the
turn is written anew, with the same order of calls, that of equal times included; and `post` is
`call_at` for what is never cancelled.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from p2pdo.errors import LocalProtocolError

T = TypeVar("T")

PURGE_FROM, PURGE_SHARE = 100, 0.5
"""As in asyncio: timers that are cancelled go when they are more than this share of so many."""
FARTHEST = 24 * 3600.0
"""Seconds of one jump, as of one wait in asyncio."""


class Deadlock(LocalProtocolError):
    """Nothing is ready, no timer is set: the waiting tasks would wait for ever."""

    code = "deadlock"


class _Due(float):
    """When something is. Floats are compared without Python's help."""

    __slots__ = ("call", "timer")
    call: Callable[[], None]  # of a post
    timer: asyncio.TimerHandle | None


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at zero and jumps when nothing is ready."""

    _ready: deque[Any]  # of handles and posts
    _stopping: bool
    _clock_resolution: float
    _timer_cancelled_count: int

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[_Due] = []  # a heap
        super().__init__(_UnwaitingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def post(self, when: float, call: Callable[[], None]) -> None:
        """Calls it then, or in the next turn where that is past; it cannot be cancelled."""
        heappush(self._due, _post(when, call))

    def post_soon(self, call: Callable[[], None]) -> None:
        """Calls it in the next turn."""
        self._ready.append(_post(self._now, call))

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        due = _Due(when)
        due.timer = handle
        heappush(self._due, due)
        _note_scheduled(handle, True)
        return handle

    def _run_once(self) -> None:
        """One turn: the time of what is next, if nothing is ready; then all that is."""
        self._drop_cancelled()
        ready, due = self._ready, self._due
        if not ready and not self._stopping:
            if due:
                self.jump(min(max(0.0, due[0] - self.time()), FARTHEST))
            else:
                self._process_events(self._selector.select(None))  # type: ignore[attr-defined]
        end = self.time() + self._clock_resolution
        while due and due[0] < end:
            first = heappop(due)
            if first.timer is None:
                ready.append(first)
            else:
                _note_scheduled(first.timer, False)
                ready.append(first.timer)
        for _ in range(len(ready)):
            one = ready.popleft()
            if type(one) is _Due:
                self._call(one.call)
            elif not one._cancelled:  # noqa: SLF001
                one._run()  # noqa: SLF001

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as a handle of asyncio does
            self.call_exception_handler({"message": f"in {call}", "exception": error})

    def _drop_cancelled(self) -> None:
        if not self._timer_cancelled_count:
            return
        due = self._due
        if len(due) > PURGE_FROM and self._timer_cancelled_count / len(due) > PURGE_SHARE:
            gone = [one for one in due if _is_cancelled(one)]
            self._due = [one for one in due if not _is_cancelled(one)]
            heapify(self._due)
            self._timer_cancelled_count = 0
        else:
            gone = []
            while due and _is_cancelled(due[0]):
                gone.append(heappop(due))
                self._timer_cancelled_count -= 1
        for one in gone:
            if one.timer is not None:
                _note_scheduled(one.timer, False)


def running_loop() -> VirtualTimeLoop:
    """The loop of who calls, in virtual time."""
    return asyncio.get_running_loop()  # type: ignore[return-value]


def _is_cancelled(due: _Due) -> bool:
    return due.timer is not None and due.timer.cancelled()


def _post(when: float, call: Callable[[], None]) -> _Due:
    due = _Due(when)
    due.call, due.timer = call, None
    return due


def _note_scheduled(timer: asyncio.TimerHandle, is_scheduled: bool) -> None:
    """Cancelled ones are counted while they are."""
    timer._scheduled = is_scheduled  # type: ignore[attr-defined] # noqa: SLF001


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` to its end in virtual time.

    Raises:
        Deadlock: every task waits and nothing will wake one.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class _UnwaitingSelector(selectors.DefaultSelector):
    """Asked where nothing is ready and no timer is set; what threads have said may be there."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout is not None:
            return ready
        raise Deadlock(
            f"nothing will ever happen again; waiting: {_waiting(self._loop)}",
            hint="a message, an event or a timer that these tasks wait for is never sent",
        )


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    names = sorted(
        f"'{task.get_name()}' in {getattr(task.get_coro(), '__qualname__', '?')}"
        for task in asyncio.all_tasks(loop)
    )
    return ", ".join(names)
