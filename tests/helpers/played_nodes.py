"""A coordinator over real gRPC on loopback, with users and nodes that a test plays."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc

from p2pdo.coordinator.serving import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.transports import rpc
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as wire, coordinator_pb2_grpc as wire_grpc

PATIENT = Settings(lease_seconds=60, rejoin_grace=60)
HASTY = Settings(lease_seconds=60, rejoin_grace=0.01)
CONFIGURED = {"dimension": 3, "smoothness": 2.0}


class Client:
    """The service's calls; a refusal is raised as the error that it carries."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self.channel = rpc.make_channel(address)
        self.stub: Any = wire_grpc.CoordinatorStub(self.channel)
        self.metadata = rpc.metadata(token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self.stub, method)(request, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None

    async def submit(self, spec: dict[str, Any], request_id: str = "r1") -> str:
        request = wire.SubmitRequest(request_id=request_id, spec=json.dumps(spec))
        return (await self.call("Submit", request)).workload_id

    async def get(self, workload: str) -> wire.Workload:
        return await self.call("GetWorkload", wire.GetWorkloadRequest(workload_id=workload))

    async def send(self, workload: str, request_id: str, *tasks: tuple[str, Any]) -> list[str]:
        new = [wire.NewTask(node=n, name="echo", payload=json.dumps(p)) for n, p in tasks]
        request = wire.SendTasksRequest(workload_id=workload, request_id=request_id, tasks=new)
        return list((await self.call("SendTasks", request)).task_ids)

    async def finished(self, workload: str) -> wire.Workload:
        """Watches until the end; the last status."""
        return [e async for e in self.watch(workload) if e.HasField("status")][-1].status

    async def watch(self, workload: str, seen: int = 0) -> AsyncIterator[wire.WorkloadEvent]:
        request = wire.WatchRequest(workload_id=workload, seen=seen)
        try:
            async for event in self.stub.Watch(request, metadata=self.metadata):
                yield event
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None


class FakeNode:
    """A node: what it is sent is in `tasks` and `ends`, in order of arrival."""

    def __init__(
        self, client: Client, name: str, boot_id: str = "b1", *, return_states: bool = True
    ) -> None:
        self.client, self.name, self.boot_id = client, name, boot_id
        self.return_states = return_states
        self.call: Any = None

    async def join(self) -> wire.JoinReply:
        return await self.client.call(
            "Join",
            wire.JoinRequest(
                node=self.name,
                boot_id=self.boot_id,
                address=f"127.0.0.1:{10000 + len(self.name)}",
                version="1",
                return_states=self.return_states,
            ),
        )

    async def heartbeat(self) -> bool:
        request = wire.HeartbeatRequest(node=self.name, boot_id=self.boot_id)
        return (await self.client.call("Heartbeat", request)).known

    async def open(self, credit: dict[str, int] | None = None, default: int = 100) -> None:
        self.call = self.client.stub.Tasks(metadata=self.client.metadata)
        await self.grant(credit or {}, default)
        await self.call.initial_metadata()  # the coordinator has it

    async def grant(self, credit: dict[str, int], default: int = 100) -> None:
        await self.call.write(self.request(credit, default))

    def request(self, credit: dict[str, int], default: int) -> wire.TasksRequest:
        return wire.TasksRequest(
            node=self.name, boot_id=self.boot_id, credit=credit, default_credit=default
        )

    async def orders(self) -> wire.NodeOrders:
        orders = await self.call.read()
        assert orders is not grpc.aio.EOF, "the stream has ended"
        return orders

    async def tasks(self, count: int = 1) -> list[wire.Task]:
        """The next tasks, exactly so many."""
        tasks: list[wire.Task] = []
        while len(tasks) < count:
            tasks += (await self.orders()).tasks
        assert len(tasks) == count
        return tasks

    async def ends(self) -> dict[str, str]:
        while not (orders := await self.orders()).ends:
            pass
        return {end.workload_id: end.reason for end in orders.ends}

    async def report(
        self, *tasks: wire.Task, result: Any = None, ok: bool = True, attempt: int = 0
    ) -> list[str]:
        results = [
            wire.TaskResult(
                task_id=task.task_id,
                workload_id=task.workload_id,
                attempt=attempt or task.attempt,
                ok=ok,
                payload=json.dumps(result),
            )
            for task in tasks
        ]
        request = wire.ReportRequest(node=self.name, boot_id=self.boot_id, results=results)
        reply = await self.client.call("Report", request)
        return [wire.ReportReply.Verdict.Name(verdict) for verdict in reply.verdicts]

    async def metrics(self, workload: str, *points: tuple[int, float, int, int]) -> None:
        await self.client.call(
            "PushMetrics",
            wire.PushMetricsRequest(
                node=self.name,
                boot_id=self.boot_id,
                workload_id=workload,
                points=[
                    wire.MetricPoint(iteration=k, seconds=s, bytes_sent=b, messages_sent=m)
                    for k, s, b, m in points
                ],
            ),
        )

    async def hide(self, workload: str, *told: tuple[int, bytes]) -> None:
        """Tells the monitor (iteration, hidden numbers), without a metric."""
        await self.client.call(
            "PushMetrics",
            wire.PushMetricsRequest(
                node=self.name,
                boot_id=self.boot_id,
                workload_id=workload,
                hidden=[wire.HiddenPart(iteration=k, numbers=numbers) for k, numbers in told],
            ),
        )

    async def push_state(self, workload: str, data: bytes, chunk: int = 1000) -> None:
        async def chunks() -> AsyncIterator[wire.StateChunk]:
            for start in range(0, len(data), chunk):
                yield wire.StateChunk(
                    node=self.name,
                    boot_id=self.boot_id,
                    workload_id=workload,
                    data=data[start : start + chunk],
                )

        await self.client.call("PushState", chunks())

    async def leave(self) -> None:
        request = wire.LeaveRequest(node=self.name, boot_id=self.boot_id)
        await self.client.call("Leave", request)

    def cut(self) -> None:
        """The connection breaks without a word."""
        self.call.cancel()

    async def hang_up(self) -> None:
        """Ends the stream in order, but not the membership; the coordinator has seen it."""
        await self.call.done_writing()
        while not await self.is_cut():
            pass

    async def is_cut(self) -> bool:
        """Waits for the stream's end."""
        return await self.call.read() is grpc.aio.EOF


@contextlib.asynccontextmanager
async def coordinator(
    folder: Path, settings: Settings = PATIENT, token: str | None = None
) -> AsyncIterator[Client]:
    async with (
        serving(folder, "127.0.0.1:0", settings=settings, token=token, grace=0.1) as address,
        Client(address, token) as client,
    ):
        yield client


async def up(client: Client, *names: str, **options: Any) -> list[FakeNode]:
    """Nodes that have joined and have a stream."""
    nodes = [FakeNode(client, name, **options) for name in names]
    for node in nodes:
        await node.join()
        await node.open()
    return nodes


def optimization(**changes: Any) -> dict[str, Any]:
    spec = {
        "problem": {"name": "site-data"},
        "algorithm": {"name": "gradient-tracking"},
        "nodes": 3,
        "rounds": 20,
    }
    return spec | changes


def tasks_spec(*nodes: str) -> dict[str, Any]:
    return {"kind": "tasks", "executor": "echo", "nodes": list(nodes)}
