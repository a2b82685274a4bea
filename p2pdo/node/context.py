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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from p2pdo.errors import TaskAborted
from p2pdo.runtime.compute import Compute
from p2pdo.types import Plain, WorkloadId

if TYPE_CHECKING:
    from p2pdo.node.events import Events

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Abort:
    """Whether the task in hand is to end; may be asked from any thread."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self.reason = ""

    @property
    def is_set(self) -> bool:
        return self._set.is_set()

    def set(self, reason: str) -> None:
        """The first reason is the one that is told."""
        if not self._set.is_set():
            self.reason = reason
            self._set.set()

    def check(self) -> None:
        """Raises if the task is to end.

        Raises:
            TaskAborted: it is.
        """
        if self._set.is_set():
            raise TaskAborted(f"aborted: {self.reason}")

    def wait(self, seconds: float) -> None:
        """Waits on a thread, not on the loop; an abort ends it at once.

        Raises:
            TaskAborted: the task is to end.
        """
        self._set.wait(seconds)
        self.check()


class Messenger(Protocol):
    """Messages between the members of a workload; see `node.messages`."""

    async def members(self) -> list[str]: ...


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
    events: Events | None = None
    rank: int = 0
    world_size: int = 1

    def for_task(self, abort: Abort) -> WorkloadContext:
        """The same with the abort of one task."""
        return replace(self, abort=abort)

    def fire_event(self, name: str, **data: Any) -> None:
        """Tells an event of your own to every component, executor and filter of this workload.

        From a plain function it is handled when this returns. From a coroutine it is handled in
        order, on the workload's thread, before the task's result is sent.
        """
        if self.events is not None:
            self.events.fire(name, data, self)


Context = WorkloadContext
"""The name that handlers use."""
