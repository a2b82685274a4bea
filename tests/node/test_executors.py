"""An executor's handlers, and what a task's failure leaves behind."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Mapping

import pytest

from p2pdo.errors import ConfigError
from p2pdo.node.context import Abort, WorkloadContext
from p2pdo.node.executors import Executor, Handler, task, tasks_of
from p2pdo.node.workplace import Roster, Workplace
from p2pdo.protocol.handed import Result, Task
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


async def perform(executor: Executor, work: Task) -> Result:
    context = WorkloadContext("a", WorkloadId("w"), InlineCompute(), logging.getLogger())
    roster = Roster(Workplace({"any": lambda _: executor}), "any", context)
    await roster.open()
    return await roster.perform(work, Abort())


def test_a_class_has_one_handler_of_a_task() -> None:
    class Twice(Executor):
        @task("train")
        def fit(self, _task: Task) -> None: ...

        @task
        def train(self, _task: Task) -> None: ...

    words = r"task 'train' is handled by Twice\.fit and by Twice\.train"
    with pytest.raises(ConfigError, match=words):
        tasks_of(Twice)


def test_a_failure_that_is_kept_keeps_nothing_of_the_work_that_failed() -> None:
    executor = KeepsItsFailure()
    work = Task(TaskId("t"), WorkloadId("w"), "any", "work", 0, 1, None)
    gc.disable()
    try:
        result = clock.run(perform(executor, work))
        assert "boom" in json.loads(result.payload)["traceback"]
        assert executor.large is not None
        assert executor.large() is None
    finally:
        gc.enable()
