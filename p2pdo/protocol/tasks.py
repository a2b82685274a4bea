"""Tasks. A node is asked to do something once; it may be asked again; one answer counts.

    PENDING ──lease──▶ LEASED ──succeed──▶ SUCCEEDED
       ▲                 │  ├────fail────▶ FAILED
       └──── expire ─────┘  └───cancel───▶ CANCELLED
         (attempt + 1)

A task belongs to the node that has the data, so a lost lease never moves it elsewhere: it is
offered to the same node again under the next attempt. Execution is at least once, and the first
accepted result is the only one. What a later report is told depends on its attempt and digest:

    the same again                ALREADY_RECORDED
    an older attempt, cancelled   STALE_ATTEMPT      no effect
    anything else                 CONFLICT           no effect

An *abort* records a failure in the node's place: that is the first accepted result. The task
stays open until the node has given it up too: it is offered as every other, marked, so that no
number is left out, and whatever the node then reports is in CONFLICT with what is recorded.

The `TaskBook` keeps the tasks of all workloads and answers what a node may be sent next: its
pending tasks, in order of `number` in each workload, against the credit that it grants. No clock
and no disk: methods return what they changed, and whoever calls writes that down.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from p2pdo.errors import LocalProtocolError
from p2pdo.types import NodeId, TaskId, WorkloadId

_ID_LENGTH = 8  # 40 bits: a collision is refused at submit, never silent


class TaskState(StrEnum):
    PENDING = "pending"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskMove(StrEnum):
    LEASE = "lease"
    EXPIRE = "expire"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"


TRANSITIONS: Mapping[TaskState, Mapping[TaskMove, TaskState]] = {
    TaskState.PENDING: {
        TaskMove.LEASE: TaskState.LEASED,
        TaskMove.CANCEL: TaskState.CANCELLED,
    },
    TaskState.LEASED: {
        TaskMove.EXPIRE: TaskState.PENDING,
        TaskMove.SUCCEED: TaskState.SUCCEEDED,
        TaskMove.FAIL: TaskState.FAILED,
        TaskMove.CANCEL: TaskState.CANCELLED,
    },
    TaskState.SUCCEEDED: {},
    TaskState.FAILED: {},
    TaskState.CANCELLED: {},
}


class Verdict(StrEnum):
    """What the reporter of a result is told."""

    RECORDED = "recorded"
    ALREADY_RECORDED = "already-recorded"
    STALE_ATTEMPT = "stale-attempt"
    CONFLICT = "conflict"
    UNKNOWN_TASK = "unknown-task"


def workload_id_of(request_id: str) -> WorkloadId:
    """The workload that this request makes: the same request always makes the same one."""
    digest = hashlib.sha256(request_id.encode()).digest()
    return WorkloadId(base64.b32encode(digest).decode().lower()[:_ID_LENGTH])


def task_id_of(workload: WorkloadId, member: int, number: int) -> TaskId:
    """The id of a member's task of that number."""
    return TaskId(f"{workload}-{member}-{number}")


def result_digest(*, ok: bool, payload: str) -> str:
    return hashlib.sha256((b"+" if ok else b"-") + payload.encode()).hexdigest()


@dataclass(slots=True)
class Task:
    """One task of one node.

    Attributes:
        number: its place among the tasks of (workload, node), from 0.
        payload: what its node is sent; empty once it is no longer open, for it may be large.
        attempt: the lease that counts, from 1. Invariant: a result of another attempt has no
            effect.
        digest: of the accepted result. Invariant: set once, with SUCCEEDED or FAILED.
        result: the accepted one; empty again where it is left to the disk.
        recorded: the place of its result among all results, so that readers see one order.
    """

    task_id: TaskId
    workload: WorkloadId
    node: NodeId
    number: int
    executor: str
    name: str
    payload: str
    state: TaskState = TaskState.PENDING
    attempt: int = 1
    digest: str = ""
    result: str = ""
    recorded: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in {TaskState.PENDING, TaskState.LEASED}

    @property
    def is_aborted(self) -> bool:
        """Whether it has a result that is not its node's."""
        return self.is_open and bool(self.digest)

    def lease(self) -> None:
        self._move(TaskMove.LEASE)

    def expire(self) -> None:
        self._move(TaskMove.EXPIRE)
        self.attempt += 1

    def cancel(self) -> None:
        self._move(TaskMove.CANCEL)

    def report(self, *, attempt: int, ok: bool, payload: str) -> Verdict:
        """Takes a result if it is the first of the lease that counts."""
        digest = result_digest(ok=ok, payload=payload)
        if attempt < self.attempt or self.state is TaskState.CANCELLED:
            return Verdict.STALE_ATTEMPT
        if attempt > self.attempt or self.state is TaskState.PENDING:
            return Verdict.CONFLICT  # an attempt that was never leased
        if self.state is not TaskState.LEASED:
            return Verdict.ALREADY_RECORDED if digest == self.digest else Verdict.CONFLICT
        if self.is_aborted:
            self._move(TaskMove.FAIL)
            return Verdict.CONFLICT
        self._move(TaskMove.SUCCEED if ok else TaskMove.FAIL)
        self.digest, self.result = digest, payload
        return Verdict.RECORDED

    def abort(self, payload: str) -> None:
        """Records a failure in the node's place; the task must be open and without a result."""
        if not self.is_open or self.digest:
            raise LocalProtocolError(f"task {self.task_id}: abort while {self.state}")
        self.payload = ""
        self.digest, self.result = result_digest(ok=False, payload=payload), payload

    def _move(self, move: TaskMove) -> None:
        try:
            self.state = TRANSITIONS[self.state][move]
        except KeyError:
            raise LocalProtocolError(f"task {self.task_id}: {move} while {self.state}") from None
        if not self.is_open:
            self.payload = ""


class TaskBook:
    """The tasks of all workloads by id, and per node what is pending and what is leased."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self._tasks: dict[TaskId, Task] = {}
        self._open: dict[WorkloadId, dict[TaskId, Task]] = {}
        self._leased: dict[NodeId, dict[TaskId, Task]] = {}
        # Invariant: each queue holds exactly that node's PENDING tasks, in order of number.
        self._pending: dict[NodeId, dict[WorkloadId, deque[Task]]] = {}
        self._recorded = 0
        for task in sorted(tasks, key=lambda task: task.number):
            self.add(task)

    def __getitem__(self, task_id: TaskId) -> Task:
        return self._tasks[task_id]

    def get(self, task_id: TaskId) -> Task | None:
        return self._tasks.get(task_id)

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._tasks

    def add(self, task: Task) -> None:
        """Takes a task whose number is the next of its (workload, node)."""
        if task.task_id in self._tasks:
            raise LocalProtocolError(f"task {task.task_id} exists already")
        self._tasks[task.task_id] = task
        self._recorded = max(self._recorded, task.recorded)
        if not task.is_open:
            return
        self._open.setdefault(task.workload, {})[task.task_id] = task
        if task.state is TaskState.LEASED:
            self._leased.setdefault(task.node, {})[task.task_id] = task
        else:
            self._queue(task).append(task)

    def unanswered(self, workload: WorkloadId) -> list[Task]:
        """Those that have no result yet."""
        return [task for task in self._open.get(workload, {}).values() if not task.is_aborted]

    def has_open(self, workload: WorkloadId) -> bool:
        return bool(self._open.get(workload))

    def leased(self, node: NodeId) -> list[Task]:
        """What the node was sent and has not reported: sent again when its stream reopens."""
        return list(self._leased.get(node, {}).values())

    def pull(
        self, node: NodeId, credit: Callable[[WorkloadId, int], int], *, max_bytes: int = 1 << 20
    ) -> list[Task]:
        """Leases what the node may be sent now, about `max_bytes` of payload at most.

        `credit(workload, first)` is the number below which the node takes tasks; `first` is the
        number of its first pending one.
        """
        taken: list[Task] = []
        size = 0
        queues = self._pending.get(node, {})
        for workload, queue in list(queues.items()):
            limit = credit(workload, queue[0].number)
            while queue and queue[0].number < limit and size < max_bytes:
                task = queue.popleft()
                task.lease()
                self._leased.setdefault(node, {})[task.task_id] = task
                size += len(task.payload)
                taken.append(task)
            if not queue:
                del queues[workload]
        return taken

    def report(
        self, node: NodeId, task_id: TaskId, *, attempt: int, ok: bool, payload: str
    ) -> Verdict:
        task = self._tasks.get(task_id)
        if task is None or task.node != node:
            return Verdict.UNKNOWN_TASK
        was_open = task.is_open
        verdict = task.report(attempt=attempt, ok=ok, payload=payload)
        if verdict is Verdict.RECORDED:
            self._record(task)
        if was_open and not task.is_open:
            self._close(task)
        return verdict

    def abort(self, task_id: TaskId, payload: str) -> bool:
        """Records a failure in the node's place, unless there is a result; whether it did."""
        task = self._tasks[task_id]
        if not task.is_open or task.is_aborted:
            return False
        task.abort(payload)
        self._record(task)
        return True

    def _record(self, task: Task) -> None:
        self._recorded += 1
        task.recorded = self._recorded

    def expire(self, node: NodeId) -> list[Task]:
        """Takes back all leases of a node that was lost or restarted."""
        expired = list(self._leased.pop(node, {}).values())
        for task in sorted(expired, key=lambda task: task.number, reverse=True):
            task.expire()
            self._queue(task).appendleft(task)  # leased ones come before all pending ones
        return expired

    def cancel(self, workload: WorkloadId) -> list[Task]:
        """Cancels what is open of a workload."""
        cancelled = list(self._open.get(workload, {}).values())
        for task in cancelled:
            task.cancel()
            self._close(task)
            self._pending.get(task.node, {}).pop(workload, None)
        return cancelled

    def forget(self, task_ids: Iterable[TaskId]) -> None:
        """Knows nothing of them any more; none may be open."""
        for task_id in task_ids:
            task = self._tasks.pop(task_id)
            if task.is_open:
                raise LocalProtocolError(f"task {task_id}: forgotten while {task.state}")

    def _close(self, task: Task) -> None:
        open_tasks = self._open[task.workload]
        del open_tasks[task.task_id]
        if not open_tasks:
            del self._open[task.workload]
        self._leased.get(task.node, {}).pop(task.task_id, None)

    def _queue(self, task: Task) -> deque[Task]:
        return self._pending.setdefault(task.node, {}).setdefault(task.workload, deque())
