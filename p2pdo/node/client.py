"""The client of one workload: takes its tasks one by one and has them performed.

A task's failure is a result. The client itself fails only where its executor or a component cannot
be made, or something in p2pdo is wrong; then its supervisor makes it anew.

Two things end a task early. An *abort* is for one task: the signal in its context is set, a
coroutine is cancelled where it waits, the task is answered as aborted, and the next one is taken. A
plain handler cannot be cancelled: what it returns is dropped, and the next plain handler waits for
the thread. The *end of the workload* cancels the client; its thread is left to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from p2pdo.node.context import Abort, WorkloadContext
from p2pdo.node.events import ABORT, Events
from p2pdo.node.executors import aborted
from p2pdo.node.workplace import Roster, Workplace
from p2pdo.protocol.handed import Result, Task
from p2pdo.runtime.actor import Actor
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import TaskId, WorkloadId

log = logging.getLogger(__name__)

_LAST_WORDS = 0.5  # seconds for who listens to the end; the thread may be busy for ever. With
# the time that executors have to close, less than two: all of a workload is gone by then.


class ClientActor(Actor[Task]):
    """Calls `took` when it takes a task and `finished` with its result."""

    def __init__(
        self,
        node: str,
        workload: WorkloadId,
        executor: str,
        workplace: Workplace,
        *,
        took: Callable[[WorkloadId], None],
        finished: Callable[[Result], None],
        inbox: int,
        idle: float = 30.0,
        host: Host = THIS_HOST,
    ) -> None:
        super().__init__(f"client {workload}", inbox=inbox)
        self._workload = workload
        self._took = took
        self._finished = finished
        self._compute = host.compute(f"workload {workload}", idle=idle)
        self._abort = Abort()  # of the task in hand
        self._in_hand: Task | None = None
        self._life: asyncio.Task[object] | None = None
        self._given_up: dict[TaskId, str] = {}  # aborted while they wait in the inbox
        self._roster = Roster(
            workplace,
            executor,
            WorkloadContext(
                node,
                workload,
                self._compute,
                logging.LoggerAdapter(log, {"workload": workload, "node": node}),
                events=Events(asyncio.get_running_loop()),
            ),
        )

    @property
    def needed_until_end(self) -> bool:
        """Whether other nodes may need this workload's executor when its tasks are done."""
        return self._roster.needed_until_end

    def abort_task(self, task_id: TaskId, reason: str) -> None:
        """Gives up a task of this client, wherever it is."""
        if self._in_hand is None or self._in_hand.task_id != task_id:
            self._given_up[task_id] = reason
            return
        if not self._abort.is_set and self._life is not None:
            self._abort.set(reason)
            self._life.cancel()

    async def on_start(self) -> None:
        self._life = asyncio.current_task()
        try:
            await self._roster.open()
        except BaseException:
            try:
                await self._roster.close()
            finally:
                self._compute.close()  # nothing follows a start that failed
            raise

    async def receive(self, message: Task) -> None:
        self._took(self._workload)
        self._abort = Abort()
        if reason := self._given_up.pop(message.task_id, message.aborted):
            self._finished(self._roster.failed(message, aborted(reason)))
            return
        self._in_hand = message
        try:
            result = await self._roster.perform(message, self._abort)
        except asyncio.CancelledError:
            self._fire_abort(message)  # first: the workload may have ended meanwhile
            result = self._taken_back(message)
        else:
            if self._abort.is_set and self._life is not None:
                self._life.uncancel()  # the handler has caught what was meant for it
            self._fire_abort(message)
        finally:
            self._in_hand = None
        self._finished(result)
        if self._abort.is_set:
            await self._roster.flush()

    def _fire_abort(self, task: Task) -> None:
        if self._abort.is_set:
            self._roster.fire(ABORT, task=task, reason=self._abort.reason)

    def _taken_back(self, message: Task) -> Result:
        """The result of a task that was aborted; goes on being cancelled where the client is.

        As `asyncio.timeout` does it: of all who cancelled, only we are asked back.
        """
        life = asyncio.current_task()
        if not self._abort.is_set or life is None or life.uncancel() > 0:
            raise asyncio.CancelledError
        return self._roster.failed(message, aborted(self._abort.reason))

    async def on_stop(self) -> None:
        try:
            self._abort.set("the workload has ended")
            await self._roster.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._roster.end()
        finally:
            self._compute.close()
