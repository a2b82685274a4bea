"""The desk: all workloads and their tasks, and everything that happens to them.

It puts together the machines, which decide, with the store, which remembers. Every method is
synchronous and whole: it changes memory, submits the writes and wakes whoever has something to
tell. Nothing here waits, and nothing here speaks: whoever does so waits for the store first, so
no node, user or watcher is told what a crash could undo. What drivers and nodes ask besides is in
`driver_desk` and `node_desk`, which change the same memory.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, assert_never

from p2pdo.coordinator import monitoring, planning, restoring, rows
from p2pdo.coordinator.abandonment import Abandonment
from p2pdo.coordinator.describing import describe, describe_point, list_briefly
from p2pdo.coordinator.nodes import Clock, NodeRecord, Registry
from p2pdo.coordinator.planning import Plan
from p2pdo.coordinator.records import WorkloadRecord, make_record
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.store import Store
from p2pdo.coordinator.watching import Point, Watcher
from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotFound,
)
from p2pdo.protocol.tasks import Task, TaskBook, task_id_of, workload_id_of
from p2pdo.protocol.workload import Optimization, TaskQueue
from p2pdo.protocol.workload_words import (
    CancelTasks,
    CloseAsked,
    ControllerFailed,
    ControllerFinished,
    CreateTask,
    Effect,
    EndWorkload,
    Event,
    NodeGone,
    Status,
    StatusChanged,
    StopAsked,
)
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as wire

NewTask: TypeAlias = tuple[NodeId, str, str]
"""(node, name, payload as JSON)"""


class Desk:
    """All workloads. Born from what the store kept."""

    def __init__(
        self,
        kept: rows.Everything,
        store: Store,
        settings: Settings,
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._settings = settings
        self._wall = wall
        restored = restoring.restore(kept, settings)
        self._workloads = restored.workloads
        self._book = restored.book
        self._place = restored.place
        self._active: dict[NodeId, dict[WorkloadId, WorkloadRecord]] = {}
        for record in self._workloads.values():
            self._activate(record)
        ended = (record for record in self._workloads.values() if record.has_tasks_to_forget)
        self._kept = deque(sorted(ended, key=lambda record: record.ended))
        self._abandonment = Abandonment(settings.driver_grace, clock, self._end_abandoned)
        for record in self._workloads.values():
            self._abandonment.renew(record)
        self.nodes = Registry(
            settings,
            clock,
            on_change=lambda node: store.submit(rows.write_node(node)),
            on_gone=self._node_gone,
            next_place=self._next_place,
        )
        restoring.restore_ends(self._workloads.values(), kept.nodes)
        self.nodes.restore(kept.nodes)

    def close(self) -> None:
        """Ends the streams of nodes and watchers."""
        self.nodes.close()
        self._abandonment.close()

    # ---- users ----

    def find(self, workload: str) -> WorkloadRecord:
        """The workload of that id.

        Raises:
            NotFound: there is none.
        """
        record = self._workloads.get(WorkloadId(workload))
        if record is None:
            raise NotFound(
                f"there is no workload '{workload[:80]}'", hint="use the id that submit gave"
            )
        return record

    def all(self) -> list[WorkloadRecord]:
        """Oldest first."""
        return list(self._workloads.values())

    def find_request(self, request_id: str) -> WorkloadRecord | None:
        """The workload that this request made already.

        Raises:
            ConfigError: it is no request id.
            Conflict: another request has the same workload id.
        """
        if not 0 < len(request_id) <= 256:  # noqa: PLR2004
            raise ConfigError(
                "a request id has 1 to 256 characters", hint="make a fresh random one per submit"
            )
        record = self._workloads.get(workload_id_of(request_id))
        if record is not None and record.request_id != request_id:
            raise Conflict(
                "another request has the same workload id", hint="submit with a new request id"
            )
        return record

    def create(self, plan: Plan, request_id: str) -> WorkloadRecord:
        """Takes a planned workload and hands out its first tasks."""
        workload = workload_id_of(request_id)
        machine = planning.make_machine(workload, plan.spec, plan.members, dict(plan.resolved))
        record = make_record(
            machine,
            plan.spec,
            plan.spec_text,
            request_id,
            plan.members,
            created=self._wall(),
            settings=self._settings,
        )
        self._workloads[workload] = record
        self._activate(record)
        self._store.submit(rows.write_workload(record.to_row()))
        self._abandonment.renew(record)
        if isinstance(machine, Optimization):
            self._perform(record, machine.open(plan.payloads))
        return record

    @contextlib.contextmanager
    def watching(self, workload: str) -> Iterator[tuple[WorkloadRecord, Watcher]]:
        """A workload with somebody who watches it, for as long as the block lasts.

        Raises:
            NotFound: there is no such workload.
        """
        record = self.find(workload)
        try:
            with record.watchers.watching() as watcher:
                self._abandonment.renew(record)
                yield record, watcher
        finally:
            self._abandonment.renew(record)

    def close_workload(self, workload: str) -> None:
        """No more tasks will come; it is done when nothing is open.

        Raises:
            ConfigError: it ends by itself.
        """
        record = self.find(workload)
        if not isinstance(record.machine, TaskQueue):
            raise ConfigError(
                f"workload {workload} ends by itself", hint="use stop to end it before"
            )
        self.tell(record, CloseAsked())
        self._abandonment.renew(record)
        self._store.submit(rows.write_workload(record.to_row()))

    def stop(self, workload: str, reason: str) -> Status:
        """Ends a workload now; one that has ended stays as it is."""
        record = self.find(workload)
        self.tell(record, StopAsked(reason))
        return record.machine.status

    def tell_controller(self, workload: str, event: ControllerFinished | ControllerFailed) -> None:
        """What became of a workload's controller."""
        self.tell(self.find(workload), event)

    # ---- telling ----

    def describe(self, record: WorkloadRecord) -> wire.Workload:
        return describe(record, self._wall())

    def describe_briefly(self) -> list[wire.Workload]:
        """The latest workloads, oldest first; see `list_briefly`."""
        return list_briefly(reversed(self._workloads.values()), self._wall())

    def workloads_of(self, node: NodeId) -> list[WorkloadId]:
        """What the node is a member of and is not over."""
        return list(self._active.get(node, {}))

    def describe_point(self, record: WorkloadRecord, point: Point) -> wire.NetworkPoint:
        nodes = (self.nodes.get(member.name) for member in record.members)
        return describe_point(point, alive=sum(node is not None and node.is_up for node in nodes))

    # ---- for those who speak for drivers and nodes ----

    @property
    def book(self) -> TaskBook:
        """All tasks that are not forgotten."""
        return self._book

    def renew(self, record: WorkloadRecord) -> None:
        """Its driver was heard of."""
        self._abandonment.renew(record)

    def tell(self, record: WorkloadRecord, event: Event) -> None:
        """Has its machine decide what follows, and does that."""
        self._perform(record, record.machine.receive(event))

    def create_tasks(self, record: WorkloadRecord, new: Sequence[NewTask]) -> list[Task]:
        """Makes tasks and wakes their nodes."""
        created: list[Task] = []
        for node, name, payload in new:
            number = record.counts.get(node, 0)
            task_id = task_id_of(record.workload, record.index[node], number)
            executor = planning.executor_of(record.spec, node)
            task = Task(task_id, record.workload, node, number, executor, name, payload)
            self._book.add(task)
            record.note(task)
            created.append(task)
            known = self.nodes.get(node)
            if known is not None:
                known.wake()
        self._store.submit(rows.write_new_tasks(created))
        return created

    # ---- inside ----

    def _next_place(self) -> int:
        self._place += 1
        return self._place

    def _activate(self, record: WorkloadRecord) -> None:
        if not record.machine.is_terminal:
            for member in record.members:
                self._active.setdefault(member.name, {})[record.workload] = record

    def _perform(self, record: WorkloadRecord, effects: Sequence[Effect]) -> None:
        new = [effect for effect in effects if isinstance(effect, CreateTask)]
        if new:
            self.create_tasks(
                record, [(task.node, task.name, json.dumps(task.payload)) for task in new]
            )
        for effect in effects:
            match effect:
                case CreateTask():
                    pass  # all of them at once, above
                case CancelTasks():
                    self._store.submit(rows.write_tasks(self._book.cancel(record.workload)))
                case EndWorkload(name, reason):
                    self._active.get(name, {}).pop(record.workload, None)
                    node = self.nodes.get(name)
                    if node is not None:
                        node.add_end(record.workload, reason)
                case StatusChanged():
                    self._change_status(record)
                case _:
                    assert_never(effect)

    def _change_status(self, record: WorkloadRecord) -> None:
        if record.machine.is_terminal:
            record.ended = self._next_place()
            monitoring.end(record)
            self._abandonment.renew(record)
            if isinstance(record.machine, TaskQueue):
                record.results.drop_texts()
                self._kept.append(record)
                self._prune()
        self._store.submit(rows.write_workload(record.to_row()))
        if record.watchers:
            record.watchers.publish(wire.WorkloadEvent(status=self.describe(record)))

    def _node_gone(self, node: NodeRecord, what: str) -> None:
        for record in list(self._active.get(node.name, {}).values()):
            point = record.meter.latest.get(node.name)
            iteration = point.iteration if point else None
            self.tell(record, NodeGone(node.name, what, iteration))
        expired = self._book.expire(node.name)
        if expired:
            self._store.submit(rows.write_tasks(expired))

    def _end_abandoned(self, record: WorkloadRecord) -> None:
        seconds = self._settings.driver_grace
        reason = f"nobody has watched it for {seconds:g} s: its driver is gone"
        hint = "start its driver again; one with keep=True leaves its workload open"
        self.tell(record, StopAsked(reason, hint))

    def _prune(self) -> None:
        """Forgets the tasks of workloads of tasks that ended before so many others."""
        while len(self._kept) > self._settings.kept_ended:
            record = self._kept.popleft()
            self._book.forget(record.task_ids())
            record.forget_tasks()
            self._store.submit(rows.delete_tasks(record.workload))
            self._store.submit(rows.write_workload(record.to_row()))
