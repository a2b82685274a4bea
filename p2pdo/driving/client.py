"""A user's side of the coordinator's service. Every failure is a `P2pdoError` with its remedy."""

from __future__ import annotations

import difflib
import json
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc.aio

from p2pdo.errors import ConfigError, NotFound
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import Plain
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as pb, coordinator_pb2_grpc as pb_grpc

T = TypeVar("T")
_DEADLINE = 10.0  # seconds for one answer of the coordinator


class Client:
    """Speaks with one coordinator; use as a context manager."""

    def __init__(self, address: str, token: str | None = None, host: Host = THIS_HOST) -> None:
        rpc.split_address(address)
        self.address = address
        self.host = host
        self._metadata = rpc.metadata(token)
        self._channel = host.channel(address)
        self._open_stub: pb_grpc.CoordinatorAsyncStub | None = pb_grpc.CoordinatorStub(
            self._channel
        )

    @property
    def _stub(self) -> pb_grpc.CoordinatorAsyncStub:
        if self._open_stub is None:
            raise ConfigError(
                f"the connection to the coordinator at {self.address} was closed",
                hint="its runs and drivers are for inside of: async with p2pdo.connect(…) as net",
            )
        return self._open_stub

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open_stub = None
        await self._channel.close()

    async def submit(self, spec: Mapping[str, Plain], request_id: str) -> str:
        """Submits; the same request id never makes a second workload. Returns its id."""
        request = pb.SubmitRequest(request_id=request_id, spec=json.dumps(spec))
        reply = await self._answer(
            self._stub.Submit(request, timeout=_DEADLINE, metadata=self._metadata)
        )
        return reply.workload_id

    async def watch(self, workload_id: str, seen: int = 0) -> AsyncIterator[pb.WorkloadEvent]:
        """The workload's status and metrics as they change, until it has ended.

        Of the results of its tasks, those behind the first `seen`.
        """
        request = pb.WatchRequest(workload_id=workload_id, seen=seen)
        call = self._stub.Watch(request, metadata=self._metadata)
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None
        finally:
            call.cancel()

    async def stop(self, workload_id: str, reason: str) -> str:
        """Stops a workload; returns the status that it has then."""
        request = pb.StopRequest(workload_id=workload_id, reason=reason)
        reply = await self._answer(
            self._stub.Stop(request, timeout=_DEADLINE, metadata=self._metadata)
        )
        return reply.status

    async def send_tasks(
        self, workload_id: str, request_id: str, tasks: Sequence[tuple[str, str, str]]
    ) -> list[str]:
        """Sends (node, name, payload as JSON) in order; the same request id sends nothing twice."""
        request = pb.SendTasksRequest(
            workload_id=workload_id,
            request_id=request_id,
            tasks=[
                pb.NewTask(node=node, name=name, payload=payload) for node, name, payload in tasks
            ],
        )
        reply = await self._answer(
            self._stub.SendTasks(request, timeout=_DEADLINE, metadata=self._metadata)
        )
        return list(reply.task_ids)

    async def abort_tasks(
        self, workload_id: str, task_ids: Sequence[str], reason: str
    ) -> list[str]:
        """Gives up tasks that have no result yet; returns which had none."""
        request = pb.AbortTasksRequest(workload_id=workload_id, task_ids=task_ids, reason=reason)
        reply = await self._answer(
            self._stub.AbortTasks(request, timeout=_DEADLINE, metadata=self._metadata)
        )
        return list(reply.aborted)

    async def list_tasks(self, workload_id: str, seen: int = 0) -> list[pb.SentTask]:
        """The tasks that have no result among the first `seen`, but for the cancelled ones."""
        request = pb.ListTasksRequest(workload_id=workload_id, seen=seen)
        call = self._stub.ListTasks(request, timeout=_DEADLINE, metadata=self._metadata)
        try:
            return [task async for reply in call for task in reply.tasks]
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None

    async def acknowledge(self, workload_id: str, seen: int) -> None:
        """The first `seen` results will not be asked for again; their data is dropped."""
        request = pb.AcknowledgeRequest(workload_id=workload_id, seen=seen)
        await self._answer(
            self._stub.Acknowledge(request, timeout=_DEADLINE, metadata=self._metadata)
        )

    async def close_workload(self, workload_id: str) -> None:
        """No more tasks will be sent; it is done when the last has its result."""
        request = pb.CloseWorkloadRequest(workload_id=workload_id)
        await self._answer(
            self._stub.CloseWorkload(request, timeout=_DEADLINE, metadata=self._metadata)
        )

    async def nodes(self) -> list[pb.Node]:
        reply = await self._answer(
            self._stub.ListNodes(pb.ListNodesRequest(), timeout=_DEADLINE, metadata=self._metadata)
        )
        return list(reply.nodes)

    async def workloads(self) -> list[pb.Workload]:
        reply = await self._answer(
            self._stub.ListWorkloads(
                pb.ListWorkloadsRequest(), timeout=_DEADLINE, metadata=self._metadata
            )
        )
        return list(reply.workloads)

    async def workload(self, workload_id: str) -> pb.Workload:
        request = pb.GetWorkloadRequest(workload_id=workload_id)
        return await self._answer(
            self._stub.GetWorkload(request, timeout=_DEADLINE, metadata=self._metadata)
        )

    async def find(self, workload_id: str) -> pb.Workload:
        """The same; when there is none of that id, the error knows the nearest one."""
        try:
            return await self.workload(workload_id)
        except NotFound as error:
            known = [workload.workload_id for workload in await self.workloads()]
            if near := difflib.get_close_matches(workload_id, known, n=1, cutoff=0.5):
                error.hint = f"did you mean '{near[0]}'? all of them: p2pdo ls"
            else:
                error.hint = "see which there are: p2pdo ls" if known else "there are none yet"
            raise

    async def state(self, workload_id: str, node: str) -> bytes:
        """A returned state: the bytes of a safetensors file with the array x."""
        request = pb.FetchStateRequest(workload_id=workload_id, node=node)
        call = self._stub.FetchState(request, metadata=self._metadata)
        try:
            return b"".join([chunk.data async for chunk in call])
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None
