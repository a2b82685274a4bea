"""What nodes say to the desk, and are told: orders and results, counters, fellow members."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from p2pdo.coordinator import monitoring, planning, rows
from p2pdo.coordinator.admission import (
    check_points,
    known_lanes,
    require_member,
    require_states,
)
from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.nodes import NodeRecord, Stream
from p2pdo.coordinator.orders import MUCH, ORDERS_BYTES, next_batch, to_wire
from p2pdo.coordinator.outcomes import outcome_of
from p2pdo.coordinator.store import Store
from p2pdo.coordinator.watching import Point
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.tasks import Task, Verdict
from p2pdo.protocol.workload import TaskQueue
from p2pdo.protocol.workload_words import Breached, TaskSucceeded
from p2pdo.types import NodeId, TaskId, WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as wire

_VERDICTS: Mapping[Verdict, wire.ReportReply.Verdict.ValueType] = {
    Verdict.RECORDED: wire.ReportReply.RECORDED,
    Verdict.ALREADY_RECORDED: wire.ReportReply.ALREADY_RECORDED,
    Verdict.STALE_ATTEMPT: wire.ReportReply.STALE_ATTEMPT,
    Verdict.CONFLICT: wire.ReportReply.CONFLICT,
    Verdict.UNKNOWN_TASK: wire.ReportReply.UNKNOWN_TASK,
}


class NodeDesk:
    """The desk as nodes see it; as the desk, synchronous and whole."""

    def __init__(self, desk: Desk, store: Store) -> None:
        self._desk = desk
        self._book = desk.book
        self._store = store

    def members_of(self, node: NodeId, workload: str) -> Sequence[Member]:
        """Who takes part, for one who does, with the addresses of now.

        Raises:
            NotFound: no such workload, or the node is no member of it.
        """
        record = self._desk.find(workload)
        require_member(record, node)
        known = ((member, self._desk.nodes.get(member.name)) for member in record.members)
        return [Member(old.name, new.address if new else old.address) for old, new in known]

    def executor_of(self, node: NodeId, workload: str) -> str:
        """Who handles its tasks at that member; empty where it is over."""
        record = self._desk.find(workload)
        return "" if record.machine.is_terminal else planning.executor_of(record.spec, node)

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
            record = self._desk.find(task.workload)
            record.note_result(task)
            if isinstance(record.machine, TaskQueue):
                record.watchers.nudge()
                self._desk.tell(
                    record, TaskSucceeded(task.node, task.name, None)
                )  # passed on unread
            else:
                self._desk.tell(record, outcome_of(task))
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
        record = self._desk.find(workload)
        require_member(record, node)
        check_points(node, points)
        record.lanes[node] = known_lanes(record, lanes)
        for point in points:
            network = record.meter.add(node, point)
            if network is not None and record.watchers:
                record.watchers.publish(
                    wire.WorkloadEvent(metric=self._desk.describe_point(record, network))
                )

    def add_hidden(self, node: NodeId, workload: str, told: Sequence[monitoring.Hidden]) -> None:
        """Takes what a member tells the monitor; a breach fails the workload.

        Raises:
            NotFound: no such workload, or the node is no member of it.
            ConfigError: nobody monitors it, or these are no such numbers.
        """
        record = self._desk.find(workload)
        require_member(record, node)
        if record.machine.is_terminal:
            return
        breach = monitoring.find_breach(record, node, told)
        if breach is not None:
            self._desk.tell(record, Breached(breach))

    def require_state_wanted(self, node: NodeId, workload: str) -> None:
        """Raises if this node's state has no business here.

        Raises:
            NotFound: no such workload, or the node is no member of it.
            ConfigError: the workload's submitter did not ask for states.
        """
        record = self._desk.find(workload)
        require_member(record, node)
        require_states(record)
