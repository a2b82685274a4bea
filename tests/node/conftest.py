"""A coordinator that does as it is told: enough of the service for a node, and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from p2pdo.errors import Conflict, NotFound, Unreachable
from p2pdo.transports import rpc
from p2pdo.wire.errors import encode_error
from p2pdo.wire.v1 import coordinator_pb2 as pb, coordinator_pb2_grpc as pb_grpc


@dataclass
class FakeCoordinator(pb_grpc.CoordinatorServicer):
    """Keeps its memory when its server goes down and comes up again.

    Every stream begins with what was sent and not reported; new tasks go out against the credit.
    """

    token: str | None = None
    address: str = "127.0.0.1:0"
    heartbeat: float = 0.2
    taken_names: set[str] = field(default_factory=set)
    joins: list[pb.JoinRequest] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    heartbeats: int = 0
    known: bool = True
    away: bool = False  # heartbeats are not answered
    tasks: list[pb.Task] = field(default_factory=list)  # not sent yet
    open: dict[str, pb.Task] = field(default_factory=dict)  # sent and not reported
    ends: list[pb.EndOfWorkload] = field(default_factory=list)
    results: list[pb.TaskResult] = field(default_factory=list)
    reports: list[int] = field(default_factory=list)  # how many results each had
    requests: list[pb.TasksRequest] = field(default_factory=list)
    metrics: list[pb.PushMetricsRequest] = field(default_factory=list)
    states: list[tuple[str, bytes]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.changed = asyncio.Condition()
        self.server: grpc.aio.Server | None = None

    # ---- for the test ----

    async def start(self) -> None:
        self.server = rpc.make_server(self.token)
        pb_grpc.add_CoordinatorServicer_to_server(self, self.server)
        self.address = rpc.bind(self.server, self.address)
        await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(None)

    async def send(
        self, workload: str, name: str, *payloads: Any, executor: str = "test", first: int = 0
    ) -> None:
        async with self.changed:
            for number, payload in enumerate(payloads, start=first):
                self.tasks.append(
                    pb.Task(
                        task_id=f"{workload}-{number}",
                        workload_id=workload,
                        executor=executor,
                        name=name,
                        number=number,
                        attempt=1,
                        payload=json.dumps(payload),
                    )
                )
            self.changed.notify_all()

    async def end(self, workload: str, reason: str = "done") -> None:
        async with self.changed:
            self.ends.append(pb.EndOfWorkload(workload_id=workload, reason=reason))
            self.changed.notify_all()

    async def until(self, met: Any) -> None:
        """Waits until the predicate holds; looks at each change."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(met)

    async def answers(self, count: int) -> list[Any]:
        """The payloads of the first `count` results, in order of arrival."""
        await self.until(lambda: len(self.results) >= count)
        return [json.loads(result.payload) for result in self.results[:count]]

    # ---- the service ----

    async def Join(self, request: pb.JoinRequest, context: Any) -> pb.JoinReply:  # noqa: N802
        if request.node in self.taken_names:
            await context.abort(*encode_error(Conflict(f"'{request.node}' is active already")))
        async with self.changed:
            self.joins.append(request)
            self.known = True
            self.changed.notify_all()
        return pb.JoinReply(lease_seconds=30, heartbeat_seconds=self.heartbeat)

    async def Leave(self, request: pb.LeaveRequest, context: Any) -> pb.LeaveReply:  # noqa: N802
        self.left.append(request.node)
        return pb.LeaveReply()

    async def Heartbeat(self, request: Any, context: Any) -> pb.HeartbeatReply:  # noqa: N802
        async with self.changed:
            self.heartbeats += 1
            self.changed.notify_all()
        if self.away:
            await context.abort(*encode_error(Unreachable("the coordinator is away")))
        return pb.HeartbeatReply(known=self.known)

    async def Tasks(self, requests: Any, context: Any) -> AsyncIterator[pb.NodeOrders]:  # noqa: N802
        if not self.known:
            await context.abort(*encode_error(NotFound("who are you?")))
        credit: dict[str, int] = {}
        default = 0

        async def listen() -> None:
            nonlocal default
            async for request in requests:
                async with self.changed:
                    self.requests.append(request)
                    credit.update(request.credit)
                    default = request.default_credit
                    self.changed.notify_all()

        listening = asyncio.create_task(listen())
        try:
            if self.open:
                yield pb.NodeOrders(tasks=self.open.values())
            while True:
                async with self.changed:
                    await self.changed.wait_for(
                        lambda: self.ends or self._next(credit, default, peek=True)
                    )
                    tasks = self._next(credit, default)
                    ends, self.ends = self.ends, []
                yield pb.NodeOrders(tasks=tasks, ends=ends)
        finally:
            listening.cancel()

    def _next(self, credit: dict[str, int], default: int, *, peek: bool = False) -> list[pb.Task]:
        ready = [t for t in self.tasks if t.number < credit.get(t.workload_id, default)]
        if not peek:
            for task in ready:
                self.tasks.remove(task)
                self.open[task.task_id] = task
        return ready

    async def Poll(self, request: pb.TasksRequest, context: Any) -> pb.NodeOrders:  # noqa: N802
        async with self.changed:
            self.requests.append(request)
            again = list(self.open.values())
            tasks = self._next(dict(request.credit), request.default_credit)
            ends, self.ends = self.ends, []
            self.changed.notify_all()
        return pb.NodeOrders(tasks=again + tasks, ends=ends)

    async def Report(self, request: pb.ReportRequest, context: Any) -> pb.ReportReply:  # noqa: N802
        async with self.changed:
            self.reports.append(len(request.results))
            verdicts = []
            for result in request.results:
                if self.open.pop(result.task_id, None) is None:
                    verdicts.append(pb.ReportReply.ALREADY_RECORDED)
                    continue
                self.results.append(result)
                verdicts.append(pb.ReportReply.RECORDED)
            self.changed.notify_all()
        return pb.ReportReply(verdicts=verdicts)

    async def PushMetrics(self, request: Any, context: Any) -> pb.PushMetricsReply:  # noqa: N802
        self.metrics.append(request)
        return pb.PushMetricsReply()

    async def PushState(self, requests: Any, context: Any) -> pb.PushStateReply:  # noqa: N802
        chunks = [chunk async for chunk in requests]
        data = b"".join(chunk.data for chunk in chunks)
        self.states.append((f"{chunks[0].node}/{chunks[0].workload_id}", data))
        return pb.PushStateReply()


@contextlib.asynccontextmanager
async def fake_coordinator(**settings: Any) -> AsyncIterator[FakeCoordinator]:
    coordinator = FakeCoordinator(**settings)
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.stop()


@pytest.fixture
def coordinator_factory() -> Any:
    """Opens a fake coordinator in the test's own block."""
    return fake_coordinator
