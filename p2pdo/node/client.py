"""The client of one workload: takes its tasks one by one and has its executor handle them.

A task's failure is a result. The client itself fails only where its executor cannot be made or
something in p2pdo is wrong; then its supervisor makes it anew.

The end of a workload cancels the client. An asynchronous handler is cancelled where it waits; a
plain one cannot be, so its thread is left to finish and what it returns is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from p2pdo.node.executors import Executor, ExecutorFactory, WorkloadContext, perform
from p2pdo.protocol.routing import ClientTook, Finished, Task
from p2pdo.runtime.actor import Actor
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.types import WorkloadId

log = logging.getLogger(__name__)


class ClientActor(Actor[Task]):
    """Tells `tell_lead` when it takes a task and when it has the result."""

    def __init__(
        self,
        node: str,
        workload: WorkloadId,
        make_executor: ExecutorFactory,
        tell_lead: Callable[[ClientTook | Finished], None],
        *,
        inbox: int,
        idle: float = 30.0,
    ) -> None:
        super().__init__(f"client {workload}", inbox=inbox)
        self._node = node
        self._workload = workload
        self._make_executor = make_executor
        self._tell_lead = tell_lead
        self._compute = ThreadCompute(f"workload {workload}", idle=idle)
        self._executor: Executor | None = None

    @property
    def needed_until_end(self) -> bool:
        """Whether other nodes may need this workload's executor when its tasks are done."""
        return self._executor is not None and self._executor.needed_until_end

    async def on_start(self) -> None:
        adapter = logging.LoggerAdapter(log, {"workload": self._workload, "node": self._node})
        self._executor = self._make_executor(
            WorkloadContext(self._node, self._workload, self._compute, adapter)
        )

    async def receive(self, message: Task) -> None:
        assert self._executor is not None
        self._tell_lead(ClientTook(self._workload))
        result = await perform(self._executor, message, self._compute, self._node)
        self._tell_lead(Finished(result))

    async def on_stop(self) -> None:
        self._compute.close()
        if self._executor is not None:
            await self._executor.close()
