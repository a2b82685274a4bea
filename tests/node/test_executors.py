"""What a task's failure leaves behind."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Mapping

from p2pdo.node.context import Abort, WorkloadContext
from p2pdo.node.executors import Executor, Handler
from p2pdo.node.workplace import Roster, Workplace
from p2pdo.protocol.routing import Result, Task
from p2pdo.runtime.compute import InlineCompute
from p2pdo.testing import clock
from p2pdo.types import TaskId, WorkloadId


class Large:
    """Stands for a state that is too large to wait for a collection of garbage."""


class KeepsItsFailure(Executor):
    """As an exchange does, which raises it to whoever comes later."""

    failure: Exception | None = None
    large: weakref.ref[Large] | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"work": self._work}

    async def _work(self, _: Task) -> object:
        large = Large()
        self.large = weakref.ref(large)
        self.failure = ValueError("boom")
        raise self.failure


async def perform(executor: Executor, task: Task) -> Result:
    context = WorkloadContext("a", WorkloadId("w"), InlineCompute(), logging.getLogger())
    roster = Roster(Workplace({"any": lambda _: executor}), "any", context)
    await roster.open()
    return await roster.perform(task, Abort())


def test_a_failure_that_is_kept_keeps_nothing_of_the_work_that_failed() -> None:
    executor = KeepsItsFailure()
    task = Task(TaskId("t"), WorkloadId("w"), "any", "work", 0, 1, None)
    gc.disable()
    try:
        result = clock.run(perform(executor, task))
        assert "boom" in json.loads(result.payload)["traceback"]
        assert executor.large is not None
        assert executor.large() is None
    finally:
        gc.enable()
