"""What the coordinator knows after a start: put together from what its store kept.

A machine is brought to where its accepted results had brought it; a workload's end is told again
to every member that may not have heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from p2pdo.coordinator import planning, rows
from p2pdo.coordinator.nodes import NodeRecord
from p2pdo.coordinator.outcomes import outcome_of
from p2pdo.coordinator.records import WorkloadRecord, make_record
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.watching import Point
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.tasks import Task, TaskBook
from p2pdo.protocol.workload import Optimization, TaskQueue
from p2pdo.protocol.workload_words import Status, TaskSucceeded
from p2pdo.types import NodeId, WorkloadId


@dataclass(frozen=True, slots=True)
class Restored:
    """What is left of an earlier coordinator.

    Attributes:
        place: of the latest durable event.
    """

    workloads: dict[WorkloadId, WorkloadRecord]
    book: TaskBook
    place: int


def restore(kept: rows.Everything, settings: Settings) -> Restored:
    """Workloads and tasks; oldest first."""
    workloads = {row.workload: _restore(row, settings) for row in kept.workloads}
    for (workload, request_id), task_ids in kept.sends.items():
        workloads[workload].sends[request_id] = task_ids
    _restore_tasks(workloads, kept.tasks)
    ends = (record.ended for record in workloads.values())
    place = max([0, *(node.joined for node in kept.nodes), *ends])
    return Restored(workloads, TaskBook(kept.tasks), place)


def restore_ends(workloads: Iterable[WorkloadRecord], nodes: Sequence[NodeRecord]) -> None:
    """Has the ends told that came after a node had joined."""
    by_name = {node.name: node for node in nodes}
    for record in sorted(workloads, key=lambda record: record.ended):
        for member in record.members if record.ended else ():
            node = by_name.get(member.name)
            if node is not None and node.joined < record.ended:
                node.add_end(record.workload, record.machine.reason)


def _restore(row: rows.WorkloadRow, settings: Settings) -> WorkloadRecord:
    spec = planning.parse_stored(row.spec)
    members = [Member(NodeId(name), address) for name, address in row.members]
    machine = planning.make_machine(row.workload, spec, members, row.resolved)
    machine.status, machine.error = Status(row.status), row.error
    if isinstance(machine, TaskQueue):
        machine.is_closed = row.is_closed
    record = make_record(
        machine,
        spec,
        row.spec,
        row.request_id,
        members,
        created=row.created,
        settings=settings,
        forgotten=row.forgotten,
        acknowledged=row.acknowledged,
    )
    record.ended = row.ended
    for node, (iteration, seconds, sent, messages) in row.progress.items():
        point = Point(int(iteration), seconds, int(sent), int(messages))
        record.meter.latest[NodeId(node)] = point
    return record


def _restore_tasks(workloads: Mapping[WorkloadId, WorkloadRecord], tasks: Sequence[Task]) -> None:
    for task in sorted(tasks, key=lambda task: task.number):
        record = workloads[task.workload]
        record.note(task)
        is_unanswered = task.is_open and not task.is_aborted
        if is_unanswered and isinstance(record.machine, TaskQueue):
            record.machine.open_tasks += 1
    for task in sorted((t for t in tasks if t.recorded), key=lambda task: task.recorded):
        workloads[task.workload].note_result(task)
    for record in workloads.values():
        if isinstance(record.machine, Optimization) and not record.machine.is_terminal:
            _replay(record.machine, list(record.results))


def _replay(machine: Optimization, results: Sequence[Task]) -> None:
    """Brings a restored machine to where its accepted results had brought it."""
    status, machine.status = machine.status, Status.CONFIGURING
    outcomes = [outcome_of(task) for task in results]
    machine.restore([event for event in outcomes if isinstance(event, TaskSucceeded)])
    assert machine.status is status, f"{machine.workload}: {machine.status} is not {status}"
