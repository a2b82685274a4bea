"""The nodes of one run as tasks of one loop, and who judges them there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from p2pdo.errors import P2pdoError
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.plan import Plan
from p2pdo.runtime.compute import Compute
from p2pdo.runtime.judged import JudgedRun

Tell = Callable[[Judgement], None]


class LocalObserver:
    """Judges in the same loop and tells all drivers at its next turn."""

    def __init__(self, judge: Judge, tell: Tell) -> None:
        self._judge = judge
        self._tell = tell
        self._drivers: list[JudgedRun] = []

    def add(self, driver: JudgedRun) -> None:
        self._drivers.append(driver)

    def observe(self, report: Report) -> None:
        for judgement in self._judge.receive(report):
            self._tell(judgement)
            for driver in self._drivers:
                asyncio.get_running_loop().call_soon(self._verdict, driver, judgement)

    @staticmethod
    def _verdict(driver: JudgedRun, judgement: Judgement) -> None:
        driver.judge(judgement.iteration, stop=judgement.stop)


async def run_all(
    plan: Plan, run: Callable[[int], Coroutine[Any, Any, Report]], computes: Sequence[Compute]
) -> list[Report]:
    """Runs each node's coroutine, in node order; the first failure ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(i), name=plan.name(i)) for i in range(plan.nodes)]
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None
    finally:
        for compute in computes:
            compute.close()
    return [task.result() for task in tasks]


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group, the others being its consequences; a bug comes before it."""
    foreseen, bugs = group.split(P2pdoError)
    error: BaseException | None = bugs or foreseen
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None, "a group is never empty"
    return error
