"""What the coordinator knows of one workload besides its machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2pdo.config import Spec
from p2pdo.coordinator import rows
from p2pdo.coordinator.results import Results
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.watching import Meter, Watchers
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.monitoring import MaskedMonitor
from p2pdo.protocol.tasks import Task, task_id_of
from p2pdo.protocol.workload import Machine, TaskQueue
from p2pdo.types import NodeId, TaskId, WorkloadId

_ALL = 1 << 62  # characters: an optimization has two results a node, which a restart needs
_RESULT_SHOWN = 64 * 1024  # characters; who wants a larger one watches the results


@dataclass(slots=True, eq=False)
class WorkloadRecord:
    """A workload with everything around its machine.

    Attributes:
        index: each member's place.
        results: tasks with an accepted result, in the order of acceptance.
        sends: by their request ids, the tasks that were sent; of a workload of tasks.
        counts: how many tasks each member has had; the number of its next one.
        latest: each member's latest task.
        shown: each member's latest result; empty where it is too large to be shown.
        monitor: of a monitored run, once a node has told it something; a restart forgets it.
        lanes: which way the values of each member's neighbours take, as it told last.
        ended: its end's place among all durable events; 0 while it is not over.
    """

    machine: Machine
    spec: Spec
    spec_text: str
    request_id: str
    members: Sequence[Member]
    created: float
    watchers: Watchers
    meter: Meter
    results: Results
    monitor: MaskedMonitor | None = None
    ended: int = 0
    sends: dict[str, list[TaskId]] = field(default_factory=dict)
    counts: dict[NodeId, int] = field(default_factory=dict)
    latest: dict[NodeId, Task] = field(default_factory=dict)
    shown: dict[NodeId, str] = field(default_factory=dict)
    lanes: dict[NodeId, Mapping[str, str]] = field(default_factory=dict)
    index: dict[NodeId, int] = field(init=False)

    def __post_init__(self) -> None:
        self.index = {member.name: i for i, member in enumerate(self.members)}

    @property
    def workload(self) -> WorkloadId:
        return self.machine.workload

    @property
    def has_tasks_to_forget(self) -> bool:
        """Whether it is over and its tasks are still kept; not of what makes its own tasks."""
        is_kept = isinstance(self.machine, TaskQueue) and not self.results.forgotten
        return is_kept and self.ended > 0

    @property
    def sent(self) -> int:
        """How many tasks it has had; once they are forgotten, how many had a result."""
        return sum(self.counts.values()) or len(self.results)

    def note(self, task: Task) -> None:
        """Files a task that was made or restored."""
        self.counts[task.node] = max(self.counts.get(task.node, 0), task.number + 1)
        self.latest[task.node] = task

    def note_result(self, task: Task) -> None:
        self.shown[task.node] = task.result if len(task.result) <= _RESULT_SHOWN else ""
        self.results.add(task)

    def task_ids(self) -> list[TaskId]:
        """Of every task that it ever had."""
        return [
            task_id_of(self.workload, self.index[node], number)
            for node, count in self.counts.items()
            for number in range(count)
        ]

    def forget_tasks(self) -> None:
        """Its tasks and their results are pruned."""
        self.results.forget()
        for table in (self.sends, self.counts, self.latest, self.shown):
            table.clear()

    def to_row(self) -> rows.WorkloadRow:
        machine = self.machine
        is_over = machine.is_terminal  # progress is kept for good once it no longer moves
        return rows.WorkloadRow(
            machine.workload,
            self.request_id,
            self.spec_text,
            [[member.name, member.address] for member in self.members],
            self.created,
            str(machine.status),
            isinstance(machine, TaskQueue) and machine.is_closed,
            dict(machine.error) if machine.error is not None else None,
            machine.resolved,
            {
                node: [point.iteration, point.seconds, point.bytes_sent, point.messages_sent]
                for node, point in (self.meter.latest.items() if is_over else ())
            },
            self.ended,
            self.results.forgotten,
            self.results.acknowledged,
        )


def make_record(
    machine: Machine,
    spec: Spec,
    spec_text: str,
    request_id: str,
    members: Sequence[Member],
    *,
    created: float,
    settings: Settings,
    forgotten: int = 0,
    acknowledged: int = 0,
) -> WorkloadRecord:
    """A workload before its first task."""
    is_queue = isinstance(machine, TaskQueue)
    return WorkloadRecord(
        machine,
        spec,
        spec_text,
        request_id,
        members,
        created,
        Watchers(settings.watch_backlog),
        Meter([member.name for member in members]),
        Results(settings.result_characters if is_queue else _ALL, forgotten, acknowledged),
    )
