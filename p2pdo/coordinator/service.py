# ruff: noqa: N802 - gRPC's method names
"""The coordinator's gRPC face: takes messages apart, asks the desk, waits for the store, answers.

No rule is here but one: *nothing leaves before it is durable*. Every answer, order and event is
preceded by `store.settled()`.

A node's task stream and a watcher's stream wait on an event that the desk sets; they never poll.
Each runs inside its call, so a broken connection cancels it, which is how the registry learns of
a broken stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from p2pdo.coordinator import planning
from p2pdo.coordinator.choosing import choose
from p2pdo.coordinator.controlling import Controlling
from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.driver_desk import DriverDesk
from p2pdo.coordinator.files import Files
from p2pdo.coordinator.node_desk import NodeDesk
from p2pdo.coordinator.nodes import NodeRecord, Stream
from p2pdo.coordinator.orders import check_payload
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.coordinator.results import texts_of
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.store import Store
from p2pdo.coordinator.watching import Meter, Point, Watcher
from p2pdo.errors import ConfigError, Conflict, P2pdoError
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.tasks import Task, TaskState
from p2pdo.protocol.workload import TaskQueue
from p2pdo.protocol.workload_words import TERMINAL, Status
from p2pdo.runtime.groups import task_group
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.errors import encode_error
from p2pdo.wire.plain import LARGE
from p2pdo.wire.v1 import coordinator_pb2 as wire, coordinator_pb2_grpc as wire_grpc

log = logging.getLogger(__name__)

_LISTED = 1000  # tasks in one message

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


def _unary(
    method: Callable[[Service, _Request], Awaitable[_Reply]],
) -> Callable[[Service, _Request, Any], Awaitable[_Reply]]:
    """Aborts the call with what a `P2pdoError` says; anything else is a bug and ends it too."""

    @functools.wraps(method)
    async def answer(self: Service, request: _Request, context: Any) -> _Reply:
        try:
            return await method(self, request)
        except P2pdoError as error:
            await context.abort(*encode_error(error))
            raise  # abort has raised already

    return answer


def _streaming(
    method: Callable[[Service, _Request, Any], Awaitable[None]],
) -> Callable[[Service, _Request, Any], Awaitable[None]]:
    """The same for a method that writes its answers one by one."""

    @functools.wraps(method)
    async def answer(self: Service, request: _Request, context: Any) -> None:
        try:
            await method(self, request, context)
        except P2pdoError as error:
            await context.abort(*encode_error(error))

    return answer


class Service(wire_grpc.CoordinatorServicer):
    """One coordinator, for as long as `serving` has it open."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        files: Files,
        settings: Settings,
        controlling: Controlling,
    ) -> None:
        self._store = store
        self._desk = desk
        self._drivers = DriverDesk(desk, store)
        self._members = NodeDesk(desk, store)
        self._files = files
        self._settings = settings
        self._controlling = controlling
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends all streams; calls in progress are answered."""
        self._closing.set()
        self._desk.close()

    # ---- nodes ----

    @_unary
    async def Join(self, request: wire.JoinRequest) -> wire.JoinReply:
        self._desk.nodes.join(
            NodeId(request.node),
            request.boot_id,
            address=request.address,
            version=request.version,
            return_states=request.return_states,
        )
        await self._store.settled()
        return wire.JoinReply(
            lease_seconds=self._settings.lease_seconds,
            heartbeat_seconds=self._settings.heartbeat_seconds,
            coordinator_epoch=self._store.epoch,
        )

    @_unary
    async def Leave(self, request: wire.LeaveRequest) -> wire.LeaveReply:
        self._desk.nodes.leave(NodeId(request.node), request.boot_id)
        await self._store.settled()
        return wire.LeaveReply()

    @_unary
    async def Heartbeat(self, request: wire.HeartbeatRequest) -> wire.HeartbeatReply:
        return wire.HeartbeatReply(
            known=self._desk.nodes.hear(NodeId(request.node), request.boot_id)
        )

    @_streaming
    async def Tasks(  # type: ignore[override]
        self, request_iterator: AsyncIterator[wire.TasksRequest], context: Any
    ) -> None:
        first = await anext(request_iterator, None)
        if first is None or self._closing.is_set():
            return
        stream = self._desk.nodes.open_stream(NodeId(first.node), first.boot_id)
        stream.node.grant(first.credit, first.default_credit)
        try:
            await context.send_initial_metadata(())  # the stream is open, also while it is quiet
            async with task_group() as group:
                reading = group.create_task(
                    self._take_credit(stream, request_iterator), name="credit"
                )
                await self._send_orders(stream, context)
                reading.cancel()
        finally:
            self._desk.nodes.close_stream(stream)

    async def _take_credit(
        self, stream: Stream, requests: AsyncIterator[wire.TasksRequest]
    ) -> None:
        async for request in requests:
            self._desk.nodes.hear(stream.node.name, stream.node.boot_id)
            stream.node.grant(request.credit, request.default_credit)
        stream.end()  # the node has closed its side

    async def _send_orders(self, stream: Stream, context: Any) -> None:
        while not stream.is_over:
            await stream.wake.wait()
            stream.wake.clear()
            orders = self._members.orders(stream)
            if orders is not None:
                await self._store.settled()
                await context.write(orders)

    @_unary
    async def Poll(self, request: wire.TasksRequest) -> wire.NodeOrders:
        stream = self._desk.nodes.open_stream(NodeId(request.node), request.boot_id)
        stream.node.grant(request.credit, request.default_credit)
        orders = self._members.orders(stream)
        self._desk.nodes.close_stream(stream, is_poll=True)
        await self._store.settled()
        return orders or wire.NodeOrders()

    @_unary
    async def Report(self, request: wire.ReportRequest) -> wire.ReportReply:
        self._desk.nodes.hear(NodeId(request.node), request.boot_id)
        verdicts = self._members.report(NodeId(request.node), request.results)
        await self._store.settled()
        return wire.ReportReply(verdicts=verdicts)

    @_unary
    async def PushMetrics(self, request: wire.PushMetricsRequest) -> wire.PushMetricsReply:
        node = NodeId(request.node)
        self._desk.nodes.hear(node, request.boot_id)
        points = [
            Point(
                point.iteration,
                point.seconds,
                point.bytes_sent,
                point.messages_sent,
                planning.read_logged(point.logged),
            )
            for point in request.points
        ]
        self._members.add_points(node, request.workload_id, points, request.lanes)
        if request.hidden:
            told = [(part.iteration, part.numbers) for part in request.hidden]
            self._members.add_hidden(node, request.workload_id, told)
        try:
            await self._files.append_points(WorkloadId(request.workload_id), node, points)
        except OSError as error:  # a run does not end because a disk is full that it does not need
            log.warning("metrics of %s are not kept: %s", request.workload_id, error)
        return wire.PushMetricsReply()

    @_unary
    async def PushState(
        self, request_iterator: AsyncIterator[wire.StateChunk]
    ) -> wire.PushStateReply:
        first = await anext(request_iterator, None)
        if first is None:
            raise ConfigError("a state has no chunk", hint="send at least one")
        node, workload = NodeId(first.node), WorkloadId(first.workload_id)
        self._members.require_state_wanted(node, workload)

        async def chunks() -> AsyncIterator[bytes]:
            yield first.data
            async for chunk in request_iterator:
                self._desk.nodes.hear(node, first.boot_id)
                yield chunk.data

        await self._files.take_state(workload, node, chunks())
        return wire.PushStateReply()

    @_unary
    async def Members(self, request: wire.MembersRequest) -> wire.MembersReply:
        node = NodeId(request.node)
        self._desk.nodes.hear(node, request.boot_id)
        members = self._members.members_of(node, request.workload_id)
        return wire.MembersReply(
            members=[
                wire.MembersReply.Member(node=member.name, address=member.address)
                for member in members
            ],
            executor=self._members.executor_of(node, request.workload_id),
        )

    # ---- users ----

    @_unary
    async def Submit(self, request: wire.SubmitRequest) -> wire.SubmitReply:
        record = self._desk.find_request(request.request_id)
        if record is None:
            record = await self._submit(request)
            self._controlling.start(record)  # at once: this call may be cancelled at any wait
        elif not await asyncio.to_thread(planning.same_spec, record.spec_text, request.spec):
            raise Conflict(
                f"this request id has made workload {record.workload}, of another specification",
                hint="leave --request-id out, or make a fresh one",
                workload=record.workload,
            )
        await self._store.settled()
        return wire.SubmitReply(workload_id=record.workload)

    async def _submit(self, request: wire.SubmitRequest) -> WorkloadRecord:
        spec = await asyncio.to_thread(planning.read_spec, request.spec, self._settings)
        while True:
            chosen = choose(spec, self._desk.nodes)
            members = [Member(node.name, node.address) for node in chosen]
            plan = await asyncio.to_thread(planning.make_plan, spec, request.spec, members)
            known = self._desk.find_request(request.request_id)  # the same call, meanwhile
            if known is not None:
                return known
            if all(self._still_takes_it(node) for node in chosen):
                return self._desk.create(plan, request.request_id)

    def _still_takes_it(self, node: NodeRecord) -> bool:
        return node.takes_workloads and self._desk.nodes.get(node.name) is node

    @_unary
    async def SendTasks(self, request: wire.SendTasksRequest) -> wire.SendTasksReply:
        tasks = [(NodeId(task.node), task.name, task.payload) for task in request.tasks]
        for payload in {task.payload for task in request.tasks}:
            if len(payload) > LARGE:
                await asyncio.to_thread(check_payload, payload)
            else:
                check_payload(payload)
        task_ids = self._drivers.send(request.workload_id, request.request_id, tasks)
        await self._store.settled()
        return wire.SendTasksReply(task_ids=task_ids)

    @_unary
    async def AbortTasks(self, request: wire.AbortTasksRequest) -> wire.AbortTasksReply:
        aborted = self._drivers.abort_tasks(request.workload_id, request.task_ids, request.reason)
        await self._store.settled()
        return wire.AbortTasksReply(aborted=aborted)

    @_streaming
    async def ListTasks(self, request: wire.ListTasksRequest, context: Any) -> None:  # type: ignore[override]
        tasks = self._drivers.tasks_behind(request.workload_id, request.seen)
        await self._store.settled()
        for first in range(0, len(tasks), _LISTED):
            sent = [
                wire.SentTask(task_id=task.task_id, node=task.node, name=task.name)
                for task in tasks[first : first + _LISTED]
            ]
            await context.write(wire.ListTasksReply(tasks=sent))

    @_unary
    async def Acknowledge(self, request: wire.AcknowledgeRequest) -> wire.AcknowledgeReply:
        self._drivers.acknowledge(request.workload_id, request.seen)
        await self._store.settled()
        return wire.AcknowledgeReply()

    @_unary
    async def CloseWorkload(self, request: wire.CloseWorkloadRequest) -> wire.CloseWorkloadReply:
        self._desk.close_workload(request.workload_id)
        await self._store.settled()
        return wire.CloseWorkloadReply()

    @_unary
    async def Stop(self, request: wire.StopRequest) -> wire.StopReply:
        status = self._desk.stop(request.workload_id, request.reason)
        await self._store.settled()
        return wire.StopReply(status=str(status))

    @_unary
    async def ListNodes(self, _request: wire.ListNodesRequest) -> wire.ListNodesReply:
        nodes = [
            wire.Node(
                name=node.name,
                address=node.address,
                state="draining" if node.is_up and node.is_draining else str(node.state),
                seconds_since_heard=self._desk.nodes.silence(node),
                version=node.version,
                workloads=self._desk.workloads_of(node.name),
            )
            for node in self._desk.nodes.all()
        ]
        await self._store.settled()
        return wire.ListNodesReply(nodes=nodes)

    @_unary
    async def ListWorkloads(self, _request: wire.ListWorkloadsRequest) -> wire.ListWorkloadsReply:
        workloads = self._desk.describe_briefly()
        await self._store.settled()
        return wire.ListWorkloadsReply(workloads=workloads)

    @_unary
    async def GetWorkload(self, request: wire.GetWorkloadRequest) -> wire.Workload:
        workload = self._desk.describe(self._desk.find(request.workload_id))
        await self._store.settled()
        return workload

    @_streaming
    async def Watch(self, request: wire.WatchRequest, context: Any) -> None:  # type: ignore[override]
        with self._desk.watching(request.workload_id) as (record, watcher):
            await self._show(record, watcher, request.seen, context)

    async def _show(
        self, record: WorkloadRecord, watcher: Watcher, seen: int, context: Any
    ) -> None:
        """The status and what was measured so far, then results and events as they come."""
        is_over = record.machine.is_terminal
        await self._write(context, wire.WorkloadEvent(status=self._desk.describe(record)))
        told = await self._replay(record, context)
        async with task_group() as group:
            closing = group.create_task(self._wake_at_close(watcher), name="closing")
            while True:
                events = watcher.take()  # before the results, so that the last ones are seen
                seen = await self._show_results(record, seen, context)
                for event in events:
                    if not (event.HasField("metric") and event.metric.iteration <= told):
                        await self._write(context, event)
                    is_over = is_over or _is_last(event)
                if is_over or self._closing.is_set():
                    break
                await watcher.wake.wait()
            closing.cancel()

    async def _replay(self, record: WorkloadRecord, context: Any) -> int:
        """The network's metrics so far; returns the iteration of the last one."""
        meter = Meter([member.name for member in record.members])
        told = -1
        for node, point in await self._files.read_points(record.machine.workload):
            network = meter.add(node, point)
            if network is not None:
                event = wire.WorkloadEvent(metric=self._desk.describe_point(record, network))
                await self._write(context, event)
                told = network.iteration
        return told

    async def _show_results(self, record: WorkloadRecord, seen: int, context: Any) -> int:
        if not isinstance(record.machine, TaskQueue):
            return seen
        while tasks := record.results.behind(record.workload, seen):
            for task, text in zip(tasks, await texts_of(self._store, tasks), strict=False):
                seen += 1
                event = wire.WorkloadEvent(result=_told(task, text, seen))
                await self._write(context, event)
        return seen

    async def _write(self, context: Any, event: wire.WorkloadEvent) -> None:
        await self._store.settled()
        await context.write(event)

    async def _wake_at_close(self, watcher: Watcher) -> None:
        await self._closing.wait()
        watcher.wake.set()

    @_streaming
    async def FetchState(self, request: wire.FetchStateRequest, context: Any) -> None:  # type: ignore[override]
        record = self._desk.find(request.workload_id)
        node = NodeId(request.node)
        chunks = self._files.read_state(record.workload, node, self._settings.chunk_bytes)
        async with contextlib.aclosing(chunks):  # type: ignore[type-var]
            async for data in chunks:
                await context.write(
                    wire.StateChunk(node=node, workload_id=record.workload, data=data)
                )


def _told(task: Task, text: str, place: int) -> wire.TaskResult:
    return wire.TaskResult(
        task_id=task.task_id,
        workload_id=task.workload,
        attempt=task.attempt,
        ok=task.state is TaskState.SUCCEEDED,
        payload=text,
        node=task.node,
        name=task.name,
        place=place,
    )


def _is_last(event: wire.WorkloadEvent) -> bool:
    return event.HasField("status") and Status(event.status.status) in TERMINAL
