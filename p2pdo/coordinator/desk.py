"""The desk: all workloads and their tasks, and everything that happens to them.

It puts together the machines, which decide, with the store, which remembers. Every method is
synchronous and whole: it changes memory, submits the writes and wakes whoever has something to
tell. Nothing here waits, and nothing here speaks: whoever does so waits for the store first, so
no node, user or watcher is told what a crash could undo.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, assert_never

from p2pdo.coordinator import monitoring, planning, restoring, rows
from p2pdo.coordinator.abandonment import Abandonment
from p2pdo.coordinator.admission import (
    check_points,
    known_lanes,
    require_member,
    require_states,
    require_target,
)
from p2pdo.coordinator.describing import describe, describe_point, list_briefly
from p2pdo.coordinator.nodes import Clock, NodeRecord, Registry, Stream
from p2pdo.coordinator.orders import MUCH, ORDERS_BYTES, next_batch, to_wire
from p2pdo.coordinator.outcomes import outcome_of
from p2pdo.coordinator.planning import Plan
from p2pdo.coordinator.records import WorkloadRecord, make_record
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.store import Store
from p2pdo.coordinator.watching import Point, Watcher
from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotFound,
    TaskAborted as AbortedError,
)
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.tasks import Task, TaskState, Verdict, task_id_of, workload_id_of
from p2pdo.protocol.workload import (
    Breached,
    CancelTasks,
    CloseAsked,
    ControllerFailed,
    ControllerFinished,
    CreateTask,
    Effect,
    EndWorkload,
    Event,
    NodeGone,
    Optimization,
    Status,
    StatusChanged,
    StopAsked,
    TaskAborted,
    TaskQueue,
    TaskSucceeded,
)
from p2pdo.types import NodeId, TaskId, WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as wire

_VERDICTS: Mapping[Verdict, wire.ReportReply.Verdict.ValueType] = {
    Verdict.RECORDED: wire.ReportReply.RECORDED,
    Verdict.ALREADY_RECORDED: wire.ReportReply.ALREADY_RECORDED,
    Verdict.STALE_ATTEMPT: wire.ReportReply.STALE_ATTEMPT,
    Verdict.CONFLICT: wire.ReportReply.CONFLICT,
    Verdict.UNKNOWN_TASK: wire.ReportReply.UNKNOWN_TASK,
}
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

    def send(self, workload: str, request_id: str, tasks: Sequence[NewTask]) -> list[TaskId]:
        """Takes tasks for the nodes; the same request again changes nothing.

        `orders.check_payload` has let their payloads pass.

        Raises:
            NotFound: no such workload, or a node is no member of it.
            ConfigError: it takes no tasks.
            Conflict: it is closed.
        """
        record = self.find(workload)
        self._abandonment.renew(record)
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
        created = self._create_tasks(record, tasks)
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
        self._abandonment.renew(record)
        wanted = [self._task_of(record, task_id) for task_id in task_ids]
        told = [task for task in wanted if self._abort(record, task, reason)]
        if told:
            self._store.submit(rows.write_tasks(told))
            record.hub.nudge()
        for task in told:
            self._tell(record, TaskAborted(task.node, task.name))
        return [task.task_id for task in told]

    def acknowledge(self, workload: str, seen: int) -> None:
        """Drops the data of the first `seen` results, which nobody will ask for again.

        Raises:
            NotFound: no such workload.
            ConfigError: its tasks are its own.
            Conflict: so many were never told.
        """
        record = self._driven(workload)
        self._abandonment.renew(record)
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
        record = self.find(workload)
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
        node = self.nodes.get(task.node)
        words = f"aborted: {reason[:1000]}{node.absence if node else ''}"
        error = AbortedError(words, node=task.node, workload=record.workload)
        if not self._book.abort(task.task_id, json.dumps(error.to_plain())):
            return False
        record.note_result(task)
        if task.state is TaskState.LEASED and node is not None and node.stream is not None:
            node.stream.again.append(task)
            node.wake()
        return True

    def members_of(self, node: NodeId, workload: str) -> Sequence[Member]:
        """Who takes part, for one who does, with the addresses of now.

        Raises:
            NotFound: no such workload, or the node is no member of it.
        """
        record = self.find(workload)
        require_member(record, node)
        known = ((member, self.nodes.get(member.name)) for member in record.members)
        return [Member(old.name, new.address if new else old.address) for old, new in known]

    def executor_of(self, node: NodeId, workload: str) -> str:
        """Who handles its tasks at that member; empty where it is over."""
        record = self.find(workload)
        return "" if record.machine.is_terminal else planning.executor_of(record.spec, node)

    @contextlib.contextmanager
    def watching(self, workload: str) -> Iterator[tuple[WorkloadRecord, Watcher]]:
        """A workload with somebody who watches it, for as long as the block lasts.

        Raises:
            NotFound: there is no such workload.
        """
        record = self.find(workload)
        try:
            with record.hub.watching() as watcher:
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
        self._tell(record, CloseAsked())
        self._abandonment.renew(record)
        self._store.submit(rows.write_workload(record.to_row()))

    def stop(self, workload: str, reason: str) -> Status:
        """Ends a workload now; one that has ended stays as it is."""
        record = self.find(workload)
        self._tell(record, StopAsked(reason))
        return record.machine.status

    def tell_controller(self, workload: str, event: ControllerFinished | ControllerFailed) -> None:
        """What became of a workload's controller."""
        self._tell(self.find(workload), event)

    # ---- nodes ----

    def report(
        self, node: NodeId, results: Iterable[wire.TaskResult]
    ) -> list[wire.ReportReply.Verdict.ValueType]:
        """Takes results; the verdicts are in the order of the results."""
        verdicts = []
        recorded: list[Task] = []
        given_up: list[Task] = []
        for result in results:
            task_id = TaskId(result.task_id)
            was_aborted = task_id in self._book and self._book[task_id].is_aborted
            verdict = self._book.report(
                node, task_id, attempt=result.attempt, ok=result.ok, payload=result.payload
            )
            verdicts.append(_VERDICTS[verdict])
            if verdict is Verdict.RECORDED:
                recorded.append(self._book[task_id])
            elif was_aborted:
                given_up.append(self._book[task_id])
        if recorded or given_up:
            self._store.submit(rows.write_tasks([*recorded, *given_up]))
        for task in recorded:
            record = self._workloads[task.workload]
            record.note_result(task)
            if isinstance(record.machine, TaskQueue):
                record.hub.nudge()
                self._tell(record, TaskSucceeded(task.node, task.name, None))  # passed on unread
            else:
                self._tell(record, outcome_of(task))
        return verdicts

    def orders(self, stream: Stream) -> wire.NodeOrders | None:
        """What this stream has to tell now; None if nothing."""
        node = stream.node
        if stream.is_over:
            return None
        if stream.resend:
            stream.again = deque(self._book.leased(node.name))
            stream.resend = False
        tasks, size = next_batch(stream.again)
        if size < MUCH:
            tasks += self._pull(node, {task.workload for task in stream.again})
        if tasks:
            node.wake()  # there may be more than fits into one message
        ends, stream.ends = stream.ends, {}
        if not (tasks or ends):
            return None
        return wire.NodeOrders(
            tasks=[to_wire(task) for task in tasks],
            ends=[wire.EndOfWorkload(workload_id=w, reason=reason) for w, reason in ends.items()],
        )

    def _pull(self, node: NodeRecord, waiting: Collection[WorkloadId]) -> list[Task]:
        """Leases what the node may be sent, but for workloads with earlier tasks to be sent."""

        def credit(workload: WorkloadId, first: int) -> int:
            return 0 if workload in waiting else node.credit_for(workload, first)

        new = self._book.pull(node.name, credit, max_bytes=ORDERS_BYTES)
        if new:
            self._store.submit(rows.write_tasks(new))
        return new

    def add_points(
        self, node: NodeId, workload: str, points: Sequence[Point], lanes: Mapping[str, str]
    ) -> None:
        """Takes a member's metrics, and the lanes to its neighbours.

        Raises:
            NotFound: no such workload, or the node is no member of it.
            ConfigError: these are no counters.
        """
        record = self.find(workload)
        require_member(record, node)
        check_points(node, points)
        record.lanes[node] = known_lanes(record, lanes)
        for point in points:
            network = record.meter.add(node, point)
            if network is not None and record.hub:
                record.hub.publish(wire.WorkloadEvent(metric=self.describe_point(record, network)))

    def add_hidden(self, node: NodeId, workload: str, told: Sequence[monitoring.Hidden]) -> None:
        """Takes what a member tells the monitor; a breach fails the workload.

        Raises:
            NotFound: no such workload, or the node is no member of it.
            ConfigError: nobody monitors it, or these are no such numbers.
        """
        record = self.find(workload)
        require_member(record, node)
        if record.machine.is_terminal:
            return
        breach = monitoring.find_breach(record, node, told)
        if breach is not None:
            self._tell(record, Breached(breach))

    def require_state_wanted(self, node: NodeId, workload: str) -> None:
        """Raises if this node's state has no business here.

        Raises:
            NotFound: no such workload, or the node is no member of it.
            ConfigError: the workload's submitter did not ask for states.
        """
        record = self.find(workload)
        require_member(record, node)
        require_states(record)

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

    # ---- inside ----

    def _next_place(self) -> int:
        self._place += 1
        return self._place

    def _activate(self, record: WorkloadRecord) -> None:
        if not record.machine.is_terminal:
            for member in record.members:
                self._active.setdefault(member.name, {})[record.workload] = record

    def _tell(self, record: WorkloadRecord, event: Event) -> None:
        self._perform(record, record.machine.receive(event))

    def _perform(self, record: WorkloadRecord, effects: Sequence[Effect]) -> None:
        new = [effect for effect in effects if isinstance(effect, CreateTask)]
        if new:
            self._create_tasks(
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
        if record.hub:
            record.hub.publish(wire.WorkloadEvent(status=self.describe(record)))

    def _create_tasks(self, record: WorkloadRecord, new: Sequence[NewTask]) -> list[Task]:
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

    def _node_gone(self, node: NodeRecord, what: str) -> None:
        for record in list(self._active.get(node.name, {}).values()):
            point = record.meter.latest.get(node.name)
            iteration = point.iteration if point else None
            self._tell(record, NodeGone(node.name, what, iteration))
        expired = self._book.expire(node.name)
        if expired:
            self._store.submit(rows.write_tasks(expired))

    def _end_abandoned(self, record: WorkloadRecord) -> None:
        seconds = self._settings.driver_grace
        reason = f"nobody has watched it for {seconds:g} s: its driver is gone"
        hint = "start its driver again; one with keep=True leaves its workload open"
        self._tell(record, StopAsked(reason, hint))

    def _prune(self) -> None:
        """Forgets the tasks of workloads of tasks that ended before so many others."""
        while len(self._kept) > self._settings.kept_ended:
            record = self._kept.popleft()
            self._book.forget(record.task_ids())
            record.forget_tasks()
            self._store.submit(rows.delete_tasks(record.workload))
            self._store.submit(rows.write_workload(record.to_row()))
