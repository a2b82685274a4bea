"""Events of a workload at one node: its own life, and whatever its code fires.

    START_RUN   BEFORE_TASK  AFTER_TASK   BEFORE_ALGORITHM  AFTER_ALGORITHM   ABORT   END_RUN

Every component, executor and filter may listen:

    class Watch:
        @on(BEFORE_TASK)
        def note(self, event: Event, context: Context) -> None:
            context.log.info("about to do %s", event.data["task"].name)

        @on(AFTER_TASK)  # always, and once: see `node.outcomes`
        def count(self, event: Event) -> None:
            self.counts[event.data["status"]] += 1  # "ok", "failed" or "aborted"

        @on("new_best_model")
        def keep(self, event): ...

Handlers run on the workload's thread, those of one event in the order of the configuration; a
coroutine function is run on the loop while that thread waits for it. What code of a site fires on
a thread of its own is handled on that thread, at once. A handler
that raises is told in the node's log and disturbs nothing: who listens must not break what it
listens to. Where nobody listens, an event costs no hop to the thread.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeVar

from p2pdo.node.context import WorkloadContext
from p2pdo.runtime.foreign import contained

START_RUN = "START_RUN"
BEFORE_TASK = "BEFORE_TASK"
AFTER_TASK = "AFTER_TASK"
BEFORE_ALGORITHM = "BEFORE_ALGORITHM"
AFTER_ALGORITHM = "AFTER_ALGORITHM"
ABORT = "ABORT"
END_RUN = "END_RUN"
ALL = "*"

_MARK = "__p2pdo_events__"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `data` is whatever the one who fired it gave."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


def on(*names: str) -> Callable[[F], F]:
    """Marks a method as the handler of these events; "*" is every one. Marks add up."""

    def mark(method: F) -> F:
        setattr(method, _MARK, (*names, *getattr(method, _MARK, ())))
        return method

    return mark


Listener = Callable[..., Any]


class Events:
    """Takes events to those who listen; made once per workload.

    `relay` is called with every event besides, on the thread that handles it: the way to
    listeners in worker processes.

    Attributes:
        has_listeners: whether anybody would be told of any event.
        waiting: what was fired on the loop and nobody handles yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._listeners: dict[str, list[tuple[Listener, bool]]] = {}
        self._relays: list[Callable[[Event], None]] = []
        self.has_listeners = False
        self.waiting: deque[tuple[Event, WorkloadContext]] = deque()
        self._loop_thread = threading.get_ident() if loop is not None else None
        self._turn = asyncio.Lock()  # of whoever handles what waits
        self._flushing: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Nobody is told any more of what still waits."""
        for task in self._flushing:
            task.cancel()

    def add(self, things: Iterable[object]) -> None:
        """Finds the marked methods of each."""
        for thing in things:
            for listener, names in _listeners_of(thing):
                for name in names:
                    self.listen(name, listener)

    def listen(self, name: str, listener: Listener) -> None:
        """Has a function told of an event."""
        self.has_listeners = True
        self._listeners.setdefault(name, []).append((listener, takes(listener, 2)))

    def add_relay(self, relay: Callable[[Event], None]) -> None:
        self.has_listeners = True
        self._relays.append(relay)

    def is_heard(self, name: str) -> bool:
        """Whether anybody would be told."""
        if not self.has_listeners:
            return False
        return bool(self._relays) or name in self._listeners or ALL in self._listeners

    def fire(self, name: str, data: Mapping[str, Any], context: WorkloadContext) -> None:
        """Tells an event: now, or, on the loop's thread, at the next `flush`."""
        if not self.is_heard(name):
            return
        event = Event(name, data)
        if threading.get_ident() == self._loop_thread:
            self.waiting.append((event, context))
        else:
            self._handle(event, context)

    @property
    def is_pending(self) -> bool:
        """Whether something was fired on the loop and is not handled yet."""
        return bool(self.waiting) or self._turn.locked()

    async def flush(self) -> None:
        """Handles what was fired on the loop, on the workload's thread.

        What another has begun to handle is handled too when this returns.
        """
        if not self.is_pending:
            return  # as after most tasks
        async with self._turn:
            while self.waiting:
                event, context = self.waiting.popleft()
                await context.compute.run(self._handle, event, context)

    def flush_soon(self) -> None:
        """The same without a wait: the thread may be busy, and who fired has an answer to give."""
        if self.waiting:
            workload = self.waiting[0][1].workload_id
            task = asyncio.create_task(self.flush(), name=f"events {workload}")
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)

    async def tell(self, name: str, context: WorkloadContext, **data: Any) -> None:
        """Fires on the loop, and returns when it is handled."""
        self.fire(name, data, context)
        if self.waiting:
            await self.flush()

    def deliver(self, event: Event, context: WorkloadContext) -> None:
        """Tells the listeners here of an event that was relayed from elsewhere."""
        self._call_listeners(event, context)

    def _handle(self, event: Event, context: WorkloadContext) -> None:
        self._call_listeners(event, context)
        for relay in self._relays:
            relay(event)

    def _call_listeners(self, event: Event, context: WorkloadContext) -> None:
        for key in (event.name, ALL):
            for listener, takes_context in self._listeners.get(key, ()):
                try:
                    self._call(listener, (event, context) if takes_context else (event,))
                except (Exception, SystemExit):
                    context.log.exception("a handler of event %s failed", event.name)

    def _call(self, listener: Listener, arguments: tuple[Any, ...]) -> None:
        if not inspect.iscoroutinefunction(listener):
            listener(*arguments)
        elif self._loop is None:
            asyncio.run(contained(listener(*arguments)))
        else:
            work = contained(listener(*arguments))
            asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _listeners_of(thing: object) -> Iterable[tuple[Listener, tuple[str, ...]]]:
    for name in dir(type(thing)):
        marked = getattr(type(thing), name, None)
        names = getattr(marked, _MARK, None)
        if names:
            yield getattr(thing, name), names


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many positional arguments."""
    if isinstance(function, FunctionType | MethodType):
        code = function.__code__
        if not code.co_kwonlyargcount and not hasattr(function, "__wrapped__"):
            return _takes(function, code, count)
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say
        return False
    return True


def _takes(function: FunctionType | MethodType, code: CodeType, count: int) -> bool:
    """The same of a plain function: a signature costs a tenth of a millisecond.

    Every client of a workload asks it of each of its handlers.
    """
    count += isinstance(function, MethodType)
    if count > code.co_argcount:
        return bool(code.co_flags & inspect.CO_VARARGS)
    return count >= code.co_argcount - len(function.__defaults__ or ())
