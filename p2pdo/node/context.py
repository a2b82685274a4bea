"""What code of a site is given beside its task: where it runs, what it may use, when to end.

One `Context` belongs to one workload at one node, and to all that is made for that workload there:
its executors, components, filters and event handlers. A handler sees it with the `abort` of the
task in hand.

An abort cannot interrupt a plain Python function that looks at nothing: `abort.check()` in a loop,
or any wait of the context, ends it. A coroutine is cancelled where it waits. What must end in any
case runs in worker processes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from p2pdo.errors import ConfigError, TaskAborted
from p2pdo.runtime.compute import Compute
from p2pdo.types import NodeId, Plain, WorkloadId

if TYPE_CHECKING:
    from p2pdo.node.topics import Message, Reply

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"


class EventSink(Protocol):
    """Where a context's events go; `node.events` has the one of a workload."""

    def fire(self, name: str, data: Mapping[str, Any], context: WorkloadContext) -> None: ...

    async def tell(self, name: str, context: WorkloadContext, **data: Any) -> None: ...


class Messages(Protocol):
    """What a context asks members by; `node.messages` has the node's, `node.workers` another."""

    async def members(self) -> Mapping[NodeId, str]: ...

    async def request(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> dict[str, Reply]: ...

    def request_from_thread(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> Future[dict[str, Reply]]: ...

    def handle(self, topic: str, handler: Callable[..., Any]) -> None: ...


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Abort:
    """Whether the task in hand is to end; may be asked from any thread.

    Made for every task, so it owns no more than a lock until somebody waits.
    """

    __slots__ = ("_is_set", "_lock", "_then", "reason")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._then: tuple[Callable[[], object], ...] = ()
        self.reason = ""

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self, reason: str) -> None:
        """The first reason is the one that is told."""
        with self._lock:
            if self._is_set:
                return
            self.reason = reason
            self._is_set = True
            then, self._then = self._then, ()
        for call in then:
            call()

    def then(self, call: Callable[[], object]) -> None:
        """Has a function called when the task is to end, or now if it is."""
        with self._lock:
            if not self._is_set:
                self._then += (call,)
                return
        call()

    def forget(self, call: Callable[[], object]) -> None:
        """Has it not called any more."""
        with self._lock:
            self._then = tuple(other for other in self._then if other != call)

    def check(self) -> None:
        """Raises if the task is to end.

        Raises:
            TaskAborted: it is.
        """
        if self._is_set:
            raise TaskAborted(f"aborted: {self.reason}")

    def wait(self, seconds: float) -> None:
        """Waits on a thread, not on the loop; an abort ends it at once.

        Raises:
            TaskAborted: the task is to end.
        """
        aborted = threading.Event()
        self.then(aborted.set)
        try:
            aborted.wait(seconds)
        finally:
            self.forget(aborted.set)
        self.check()


@dataclass(frozen=True)
class WorkloadContext:
    """What an executor is made with, and what its handlers get.

    Attributes:
        compute: the workload's thread, started at its first use.
        log: a logger whose messages name the workload.
        site: the table [site] of this node's configuration: plain data for its code to read.
        components: this node's shared components by name, made for this workload.
        abort: whether the task in hand is to end.
        rank, world_size: which of its executor's worker processes this is, of how many; see
            `node.workers`. For a listener at the node, which one fired the event.
    """

    node: str
    workload_id: WorkloadId
    compute: Compute
    log: Log
    site: Mapping[str, Plain] = field(default_factory=lambda: _NOTHING)
    components: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    abort: Abort = field(default_factory=Abort)
    events: EventSink | None = None
    mailbox: Messages | None = None
    rank: int = 0
    world_size: int = 1

    def for_task(self, abort: Abort) -> WorkloadContext:
        """The same with the abort of one task.

        Made for every task: `dataclasses.replace` takes ten times as long, a quarter of a task
        that does nothing.
        """
        made = object.__new__(WorkloadContext)
        object.__setattr__(made, "__dict__", {**self.__dict__, "abort": abort})
        return made

    def fire_event(self, name: str, **data: Any) -> None:
        """Tells an event of your own to every component, executor and filter of this workload.

        From a plain function it is handled when this returns. From a coroutine it is handled in
        order, on the workload's thread, before the task's result is sent.
        """
        if self.events is not None:
            self.events.fire(name, data, self)

    # ---- messages ----

    async def members(self) -> list[str]:
        """Everybody who takes part in this workload, this node included, in index order."""
        return [str(name) for name in await self._mailbox().members()]

    async def request(
        self,
        targets: Iterable[str],
        topic: str,
        value: Any = None,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109 - it travels with the request
    ) -> dict[str, Reply]:
        """Asks members; each one's reply, or the error that came instead, by name.

        Raises:
            ConfigError: the value cannot travel.
            P2pdoError: the coordinator does not tell who the members are.
        """
        return await self._mailbox().request(targets, topic, value, timeout)

    def ask(
        self, targets: Iterable[str], topic: str, value: Any = None, *, timeout: float = 10.0
    ) -> dict[str, Reply]:
        """The same from a plain handler, which waits on its thread.

        Raises:
            ConfigError: the value cannot travel, or a coroutine asks, which must not wait so.
            TaskAborted: the task is to end.
        """
        future = self._mailbox().request_from_thread(targets, topic, value, timeout)
        cancel = future.cancel
        self.abort.then(cancel)
        try:
            replies: dict[str, Reply] = future.result()
        except CancelledError:
            self.abort.check()
            raise
        finally:
            self.abort.forget(cancel)  # a task may ask a million times
        return replies

    def on(self, topic: str, handler: Callable[[Message], object]) -> None:
        """Has a function answer a topic for this workload at this node."""
        self._mailbox().handle(topic, handler)

    def _mailbox(self) -> Messages:
        if self.mailbox is None:
            raise ConfigError(
                "there are no messages here",
                hint="the node was made without a mailroom",
            )
        return self.mailbox


Context = WorkloadContext
"""The name that handlers use."""
