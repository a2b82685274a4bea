"""The client of one workload: takes its tasks one by one and has its executor handle them.

A task's failure is a result. The client itself fails only where its executor cannot be made or
something in p2pdo is wrong; then its supervisor makes it anew.

The end of a workload cancels the client. An asynchronous handler is cancelled where it waits; a
plain one cannot be, so its thread is left to finish and what it returns is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from p2pdo.node.executors import Executor, ExecutorFactory, Performer, WorkloadContext
from p2pdo.protocol.routing import Result, Task
from p2pdo.runtime.actor import Actor
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.types import WorkloadId

log = logging.getLogger(__name__)


class ClientActor(Actor[Task]):
    """Calls `took` when it takes a task and `finished` with its result."""

    def __init__(
        self,
        node: str,
        workload: WorkloadId,
        make_executor: ExecutorFactory,
        took: Callable[[WorkloadId], None],
        finished: Callable[[Result], None],
        *,
        inbox: int,
        idle: float = 30.0,
    ) -> None:
        super().__init__(f"client {workload}", inbox=inbox)
        self._node = node
        self._workload = workload
        self._make_executor = make_executor
        self._took = took
        self._finished = finished
        self._compute = ThreadCompute(f"workload {workload}", idle=idle)
        self._executor: Executor | None = None
        self._performer: Performer | None = None

    @property
    def needed_until_end(self) -> bool:
        """Whether other nodes may need this workload's executor when its tasks are done."""
        return self._executor is not None and self._executor.needed_until_end

    async def on_start(self) -> None:
        adapter = logging.LoggerAdapter(log, {"workload": self._workload, "node": self._node})
        self._executor = self._make_executor(
            WorkloadContext(self._node, self._workload, self._compute, adapter)
        )
        self._performer = Performer(self._executor, self._compute, self._node)

    async def receive(self, message: Task) -> None:
        assert self._performer is not None
        self._took(self._workload)
        self._finished(await self._performer.perform(message))

    async def on_stop(self) -> None:
        try:
            if self._executor is not None:
                await self._executor.close()
        finally:
            self._compute.close()
