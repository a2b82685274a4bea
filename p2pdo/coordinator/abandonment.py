"""Workloads whose driver is gone.

A driver watches its workload from beginning to end, over one connection or several. One that is
killed says no goodbye, and its workload would hold its nodes' memory and processes for ever. So a
workload of tasks that nobody watches, and for which nobody sends, aborts or asks anything, is
ended after `seconds`. A driver that was only cut off is back before that: it looks for its
coordinator for half as long.

Not concerned are workloads whose controller runs in the coordinator, those that were submitted
with `keep`, and those that are closed: they end by themselves when their last task is done. A
start of the coordinator counts as a sign of life.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from p2pdo.config import TasksSpec
from p2pdo.coordinator.nodes import LATE, Clock, Timer
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.protocol.workload import TaskQueue
from p2pdo.types import WorkloadId


class Abandonment:
    """A timer for each workload that is not watched; `end` is called when it has fired."""

    def __init__(self, seconds: float, clock: Clock, end: Callable[[WorkloadRecord], None]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = end
        self._timers: dict[WorkloadId, Timer] = {}

    def renew(self, record: WorkloadRecord) -> None:
        """Its time begins anew, or it has none: its driver was heard, came or went."""
        if timer := self._timers.pop(record.workload, None):
            timer.cancel()
        if not record.watchers and _may_be_abandoned(record) and math.isfinite(self._seconds):
            due = self._clock.time() + self._seconds
            self._timers[record.workload] = self._clock.call_at(due, self._check, record, due)

    def close(self) -> None:
        """Ends none any more."""
        self._seconds = math.inf
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _check(self, record: WorkloadRecord, due: float) -> None:
        if self._clock.time() - due > LATE:  # this process stood still: who came is yet to be heard
            self.renew(record)
            return
        del self._timers[record.workload]
        self._end(record)


def _may_be_abandoned(record: WorkloadRecord) -> bool:
    machine, spec = record.machine, record.spec
    if not (isinstance(machine, TaskQueue) and isinstance(spec, TasksSpec)):
        return False
    is_driven_from_outside = spec.controller is None and not spec.keep
    return is_driven_from_outside and not machine.is_closed and not machine.is_terminal
