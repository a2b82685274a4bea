"""The node's side of the coordinator's service: join, stay known, take orders, report.

Theory of operation. `joined` says who we are and raises where the coordinator does not want us.
Inside its block two loops run for ever, whatever happens to the coordinator: heartbeats, and the
orders, as a bidirectional stream or by polling. Credits are coalesced: however many change in one
turn of the loop, one message tells them, and each is absolute, so that a lost one does no harm.

The coordinator may be away for an hour and may come back not knowing us (`known` is false); then
we join again with the same boot id. Every wait before a new try is jittered. Only one thing ends
this: a `Conflict`, because another process bears our name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio

from p2pdo.errors import (
    Conflict,
    DeadlineExceeded,
    NotFound,
    P2pdoError,
    RemoteProtocolError,
    Unreachable,
)
from p2pdo.node.control_words import (
    HiddenPart,
    Identity,
    MetricPoint,
    Orders,
    Pull,
    chunks_of,
    decode_orders,
    read_orders,
)
from p2pdo.protocol.handed import Result
from p2pdo.runtime.backoff import Backoff
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import NodeId, WorkloadId
from p2pdo.version import VERSION
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as pb, coordinator_pb2_grpc as pb_grpc

T = TypeVar("T")

log = logging.getLogger(__name__)

_MEMBERS_DEADLINE = 10.0  # seconds


class Control:
    """Speaks with the coordinator at `coordinator` for this node."""

    def __init__(
        self,
        coordinator: str,
        identity: Identity,
        *,
        token: str | None = None,
        pull: Pull | None = None,
        host: Host = THIS_HOST,
    ) -> None:
        self.identity = identity
        self.host = host
        self._coordinator = coordinator
        self._metadata = rpc.metadata(token)
        self._pull = pull or Pull()
        self._channel = host.channel(coordinator)
        self._stub = pb_grpc.CoordinatorStub(self._channel)
        self._heartbeat_seconds = 1.0
        self._credits: dict[WorkloadId, int] = {}  # not told yet
        self._credits_changed = asyncio.Event()

    # ---- life ----

    @contextlib.asynccontextmanager
    async def joined(self, *, timeout: float) -> AsyncIterator[Control]:  # noqa: ASYNC109 - tries until then
        """Joins within `timeout` seconds; the channel is open inside the block.

        Raises:
            Unreachable: nobody answered in time.
            Conflict: another process bears our name.
        """
        try:
            await self._join_within(timeout)
            yield self
        finally:
            await self._channel.close()

    async def serve(self, orders: Orders) -> None:
        """Heartbeats and orders, for ever.

        Raises:
            Conflict: on joining again, another process bore our name.
        """
        pull = self._stream if self._pull.mode == "stream" else self._poll
        try:
            async with task_group() as group:
                group.create_task(self._heartbeat(), name="heartbeat")
                group.create_task(self._for_ever(lambda b: pull(orders, b)), name="orders")
        except* Conflict as conflicts:
            raise conflicts.exceptions[0] from None

    async def leave(self, *, timeout: float) -> None:  # noqa: ASYNC109 - gRPC's deadline
        """Says goodbye; a coordinator that is away will notice by itself."""
        request = pb.LeaveRequest(node=self.identity.node, boot_id=self.identity.boot_id)
        with contextlib.suppress(P2pdoError):
            await self._call(self._stub.Leave(request, timeout=timeout, metadata=self._metadata))

    async def _join_within(self, seconds: float) -> None:
        backoff = self.host.backoff()
        reason: P2pdoError | None = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._join(seconds)
                    except (Unreachable, DeadlineExceeded) as error:
                        reason = error
                        await backoff.wait()
        except TimeoutError:
            reason = reason or Unreachable(f"no coordinator answers at {self._coordinator}")
            raise Unreachable(
                f"{reason.message} (tried for {seconds:g} s)",
                hint=reason.hint or "start p2pdo-coordinator there, or correct --coordinator",
                node=self.identity.node,
            ) from None

    async def _join(self, seconds: float) -> None:
        request = pb.JoinRequest(
            node=self.identity.node,
            boot_id=self.identity.boot_id,
            address=self.identity.address,
            version=VERSION,
            return_states=self.identity.return_states,
        )
        reply = await self._call(self._stub.Join(request, timeout=seconds, metadata=self._metadata))
        self._heartbeat_seconds = reply.heartbeat_seconds

    async def _heartbeat(self) -> None:
        request = pb.HeartbeatRequest(node=self.identity.node, boot_id=self.identity.boot_id)
        is_away = False
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                reply = await self._call(
                    self._stub.Heartbeat(
                        request, timeout=self._heartbeat_seconds, metadata=self._metadata
                    )
                )
            except P2pdoError as error:
                if not is_away:  # a night without it is one line
                    log.warning("%s; this node goes on and tries again", error)
                is_away = True
                continue
            if is_away:
                log.warning("the coordinator is back")
            is_away = False
            if not reply.known:
                await self._join_again()

    async def _join_again(self) -> None:
        try:
            await self._join(self._heartbeat_seconds)
        except Conflict:
            raise
        except P2pdoError as error:
            log.debug("could not join again: %s", error)

    # ---- orders ----

    def grant(self, credits: Mapping[WorkloadId, int]) -> None:  # noqa: A002 - the protocol's word
        """Tells these absolute credits with the next message."""
        self._credits.update(credits)
        self._credits_changed.set()

    def credit_changed(self) -> None:
        """Tells the default credit with the next message."""
        self._credits_changed.set()

    async def _for_ever(self, pull: Callable[[Backoff], Awaitable[None]]) -> None:
        backoff = self.host.backoff()
        while True:
            try:
                await pull(backoff)
            except Conflict:
                raise
            except P2pdoError as error:
                log.debug("orders are interrupted: %s", error)
                is_forgotten = isinstance(error, NotFound)
            else:
                is_forgotten = False
            await backoff.wait()
            if is_forgotten:
                await self._join_again()

    async def _stream(self, orders: Orders, backoff: Backoff) -> None:
        """One stream, until it breaks; the first message in either direction is ours."""
        self._credits.clear()
        orders.stream_opened()
        call = self._stub.Tasks(metadata=self._metadata)
        try:
            async with task_group() as group:
                writing = group.create_task(self._tell_credits(call, orders), name="credits")
                async for order in read_orders(call):
                    backoff.reset()
                    orders.take_orders(*await decode_orders(order))
                writing.cancel()
        except* grpc.aio.AioRpcError as errors:
            raise decode_error(errors.exceptions[0]) from None  # type: ignore[arg-type]
        except* P2pdoError as failures:
            raise failures.exceptions[0] from None
        finally:
            call.cancel()

    async def _tell_credits(self, call: Any, orders: Orders) -> None:
        """Writes whatever changed since the last write, at most once a turn of the loop."""
        while True:
            self._credits_changed.clear()
            request = self._next_request(orders)
            try:
                await call.write(request)
            except asyncio.InvalidStateError:  # it has ended; the reader is about to hear why
                return
            await self._credits_changed.wait()

    async def _poll(self, orders: Orders, backoff: Backoff) -> None:
        while True:
            orders.stream_opened()  # every poll tells every credit
            request = self._next_request(orders)
            timeout = self._heartbeat_seconds + self._pull.interval
            reply = await self._call(
                self._stub.Poll(request, timeout=timeout, metadata=self._metadata)
            )
            backoff.reset()
            orders.take_orders(*await decode_orders(reply))
            await asyncio.sleep(self._pull.interval)

    def _next_request(self, orders: Orders) -> pb.TasksRequest:
        """Tells every credit that was not told yet."""
        told, self._credits = self._credits, {}
        return pb.TasksRequest(
            node=self.identity.node,
            boot_id=self.identity.boot_id,
            credit={str(workload): credit for workload, credit in told.items()},
            default_credit=orders.default_credit,
        )

    # ---- results, metrics, states ----

    async def report(self, results: Sequence[Result]) -> Sequence[Result]:
        """Sends results; returns those that the coordinator does not want again.

        A result of a stale attempt is kept: its task was or will be offered under a newer one.

        Raises:
            P2pdoError: they may not have arrived.
        """
        request = pb.ReportRequest(
            node=self.identity.node,
            boot_id=self.identity.boot_id,
            results=[
                pb.TaskResult(
                    task_id=result.task_id,
                    workload_id=result.workload_id,
                    attempt=result.attempt,
                    ok=result.ok,
                    payload=result.payload,
                )
                for result in results
            ],
        )
        reply = await self._call(self._stub.Report(request, metadata=self._metadata))
        if len(reply.verdicts) != len(results):
            raise RemoteProtocolError("the coordinator judged another number of results than sent")
        return [
            result
            for result, verdict in zip(results, reply.verdicts, strict=True)
            if verdict != pb.ReportReply.STALE_ATTEMPT
        ]

    async def push_metrics(
        self,
        workload_id: WorkloadId,
        points: Sequence[MetricPoint],
        lanes: Mapping[str, str],
        hidden: Sequence[HiddenPart] = (),
    ) -> None:
        """Tells metrics, the lane to each neighbour, and what is for the monitor.

        It tries until they have arrived.

        Raises:
            P2pdoError: the coordinator refuses them for good.
        """
        request = pb.PushMetricsRequest(
            node=self.identity.node,
            boot_id=self.identity.boot_id,
            workload_id=workload_id,
            points=[
                pb.MetricPoint(
                    iteration=point.iteration,
                    seconds=point.seconds,
                    bytes_sent=point.bytes_sent,
                    messages_sent=point.messages_sent,
                    logged=json.dumps(point.logged) if point.logged else "",
                )
                for point in points
            ],
            hidden=[
                pb.HiddenPart(iteration=part.iteration, numbers=part.numbers) for part in hidden
            ],
            lanes=lanes,
        )
        await self._persist(lambda: self._stub.PushMetrics(request, metadata=self._metadata))

    async def push_state(self, workload_id: WorkloadId, state: Path | bytes) -> None:
        """Sends a final state, a safetensors file or its bytes; tries until it has arrived.

        Raises:
            P2pdoError: the coordinator refuses it for good.
        """

        async def chunks() -> AsyncIterator[pb.StateChunk]:
            is_first = True
            async for data in chunks_of(state):
                chunk = pb.StateChunk(data=data)
                if is_first:
                    chunk.node, chunk.boot_id = self.identity.node, self.identity.boot_id
                    chunk.workload_id = workload_id
                    is_first = False
                yield chunk

        await self._persist(lambda: self._stub.PushState(chunks(), metadata=self._metadata))

    async def members(self, workload_id: WorkloadId) -> dict[NodeId, str]:
        """Everybody who takes part in a workload, with the addresses, in index order.

        Raises:
            P2pdoError: this node does not, or the coordinator does not answer.
        """
        reply = await self._members_reply(workload_id)
        return {NodeId(member.node): member.address for member in reply.members}

    async def executor_of(self, workload_id: WorkloadId) -> str:
        """Which executor a workload's tasks name at this node; empty where the workload is over.

        Raises:
            P2pdoError: this node is no member, or the coordinator does not answer.
        """
        reply = await self._members_reply(workload_id)
        return str(reply.executor)

    async def _members_reply(self, workload_id: WorkloadId) -> pb.MembersReply:
        request = pb.MembersRequest(
            node=self.identity.node, boot_id=self.identity.boot_id, workload_id=workload_id
        )
        call = self._stub.Members(request, metadata=self._metadata, timeout=_MEMBERS_DEADLINE)
        reply: pb.MembersReply = await self._call(call)
        return reply

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Calls until the coordinator answers, however long it is away."""
        backoff = self.host.backoff()
        while True:
            try:
                return await self._call(call())
            except (Unreachable, DeadlineExceeded) as error:
                log.debug("the coordinator is away: %s", error)
                await backoff.wait()

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self._coordinator) from None
