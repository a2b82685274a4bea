"""What drivers ask of the desk: to take tasks, to give them up, and which have results."""

from __future__ import annotations

import json
from collections.abc import Sequence

from p2pdo.coordinator import rows
from p2pdo.coordinator.admission import require_target
from p2pdo.coordinator.desk import Desk, NewTask
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.coordinator.store import Store
from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotFound,
    TaskAborted as AbortedError,
)
from p2pdo.protocol.tasks import Task, TaskState
from p2pdo.protocol.workload import TaskQueue
from p2pdo.protocol.workload_words import TaskAborted
from p2pdo.types import TaskId


class DriverDesk:
    """The desk as drivers see it; as the desk, synchronous and whole."""

    def __init__(self, desk: Desk, store: Store) -> None:
        self._desk = desk
        self._book = desk.book
        self._store = store

    def send(self, workload: str, request_id: str, tasks: Sequence[NewTask]) -> list[TaskId]:
        """Takes tasks for the nodes; the same request again changes nothing.

        `orders.check_payload` has let their payloads pass.

        Raises:
            NotFound: no such workload, or a node is no member of it.
            ConfigError: it takes no tasks.
            Conflict: it is closed.
        """
        record = self._desk.find(workload)
        self._desk.renew(record)
        machine = record.machine
        known = record.sends.get(request_id)
        if known is not None:
            return known
        if not isinstance(machine, TaskQueue):
            raise ConfigError(
                f"workload {workload} makes its own tasks",
                hint='send tasks to a workload of kind "tasks"',
            )
        if machine.is_closed or machine.is_terminal:
            raise Conflict(f"workload {workload} is closed", hint="submit another one")
        for node, _, _ in tasks:
            require_target(record, node)
        machine.add(len(tasks))
        created = self._desk.create_tasks(record, tasks)
        task_ids = [task.task_id for task in created]
        record.sends[request_id] = task_ids
        self._store.submit(rows.write_send(machine.workload, request_id, task_ids))
        return task_ids

    def abort_tasks(self, workload: str, task_ids: Sequence[str], reason: str) -> list[TaskId]:
        """Gives up tasks that have no result yet; returns which had none.

        Raises:
            NotFound: no such workload, or a task is none of its.
            ConfigError: its tasks are its own.
        """
        record = self._driven(workload)
        self._desk.renew(record)
        wanted = [self._task_of(record, task_id) for task_id in task_ids]
        told = [task for task in wanted if self._abort(record, task, reason)]
        if told:
            self._store.submit(rows.write_tasks(told))
            record.watchers.nudge()
        for task in told:
            self._desk.tell(record, TaskAborted(task.node, task.name))
        return [task.task_id for task in told]

    def acknowledge(self, workload: str, seen: int) -> None:
        """Drops the data of the first `seen` results, which nobody will ask for again.

        Raises:
            NotFound: no such workload.
            ConfigError: its tasks are its own.
            Conflict: so many were never told.
        """
        record = self._driven(workload)
        self._desk.renew(record)
        dropped = record.results.acknowledge(record.workload, seen)
        if dropped:
            self._store.submit(rows.drop_results([task.task_id for task in dropped]))
            self._store.submit(rows.write_workload(record.to_row()))

    def tasks_behind(self, workload: str, seen: int) -> list[Task]:
        """Those without a result among the first `seen`; none that was cancelled.

        Raises:
            NotFound: no such workload.
            ConfigError: its tasks are its own.
        """
        record = self._driven(workload)
        told = record.results.tasks_behind(seen)
        return [*told, *self._book.unanswered(record.workload)]

    def _driven(self, workload: str) -> WorkloadRecord:
        """A workload of tasks.

        Raises:
            NotFound: no such workload.
            ConfigError: its tasks are its own.
        """
        record = self._desk.find(workload)
        if not isinstance(record.machine, TaskQueue):
            raise ConfigError(f"workload {workload} makes its own tasks", hint="use stop to end it")
        return record

    def _task_of(self, record: WorkloadRecord, task_id: str) -> Task:
        task = self._book.get(TaskId(task_id))
        if task is None or task.workload != record.workload:
            raise NotFound(
                f"workload {record.workload} has no task '{task_id[:80]}'",
                hint="use the ids that sending them gave",
            )
        return task

    def _abort(self, record: WorkloadRecord, task: Task, reason: str) -> bool:
        node = self._desk.nodes.get(task.node)
        words = f"aborted: {reason[:1000]}{node.absence if node else ''}"
        error = AbortedError(words, node=task.node, workload=record.workload)
        if not self._book.abort(task.task_id, json.dumps(error.to_plain())):
            return False
        record.note_result(task)
        if task.state is TaskState.LEASED and node is not None and node.stream is not None:
            node.stream.again.append(task)
            node.wake()
        return True
