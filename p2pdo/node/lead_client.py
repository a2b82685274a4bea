"""The Lead Client: performs what the routing machine decides.

One per node. Orders come in by `take_orders`, results go out by the `Outbox`; between them one
`ClientActor` per workload, supervised. Every event is handled at once and in place: routing is
`put_nowait` into an inbox that has room, so no workload waits for another, and the creation of a
client waits for nobody.

The outbox sends whatever results are ready as one report and keeps them until the coordinator has
acknowledged them, however long it is away. Its memory is bounded by the credit, which stops at
`routing.UNREPORTED` unacknowledged results of a workload.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import assert_never

from p2pdo.errors import P2pdoError, WorkloadStopped
from p2pdo.node.client import ClientActor
from p2pdo.node.failures import failure
from p2pdo.node.workplace import Workplace
from p2pdo.protocol.handed import Result, Task
from p2pdo.protocol.routing import Routing
from p2pdo.protocol.routing_words import (
    AbortTask,
    Acknowledged,
    ClientFailed,
    ClientRestarted,
    CloseClient,
    CreateClient,
    Deliver,
    DrainAsked,
    Effect,
    EndArrived,
    Event,
    GrantCredit,
    MemberAsked,
    Report,
    StopAsked,
    StreamOpened,
    TasksArrived,
)
from p2pdo.runtime.actor import ActorRef
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.runtime.groups import task_group
from p2pdo.runtime.supervisor import Supervisor
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import WorkloadId

log = logging.getLogger(__name__)

INBOX = 32
_REPORT_RESULTS = 1024  # results in one report
_REPORT_BYTES = 1024 * 1024  # of payload in one report, about; gRPC's limit is 8 MiB

SendReport = Callable[[Sequence[Result]], Awaitable[Sequence[Result]]]
"""Sends results; returns those that need not be sent again. Raises where it failed."""

Grant = Callable[[Mapping[WorkloadId, int]], None]


class LeadClient:
    """Routes between the coordinator and this node's clients.

    Attributes:
        grant: called with absolute credits, to be told to the coordinator.
    """

    def __init__(
        self,
        node: str,
        workplace: Workplace,
        *,
        grant: Grant,
        report: SendReport,
        inbox: int = INBOX,
        host: Host = THIS_HOST,
    ) -> None:
        self._node = node
        self._host = host
        self._workplace = workplace
        self._grant = grant
        self._inbox = inbox
        self._routing = Routing(node, workplace.names, capacity=inbox)
        self._outbox = Outbox(report, self._acknowledged, host)
        self._clients: dict[WorkloadId, ActorRef[Task]] = {}
        self._actors: dict[WorkloadId, ClientActor] = {}  # the latest of each
        self._settled = asyncio.Event()  # set at each change that may complete a drain
        self._supervisor: Supervisor[WorkloadId, Task] = Supervisor(
            restarted=self._restarted, gave_up=self._gave_up
        )

    @property
    def default_credit(self) -> int:
        return self._routing.default_credit

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[LeadClient]:
        """Clients and the outbox live inside this block."""
        await asyncio.to_thread(limit_blas_threads)  # its imports, before the first task waits
        async with task_group() as group:
            sending = group.create_task(self._outbox.run(), name="outbox")
            try:
                async with self._supervisor.running():
                    with self._answering():
                        yield self
            finally:
                sending.cancel()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """What members ask may begin a workload here."""
        room = self._workplace.messages
        with contextlib.nullcontext() if room is None else room.begun_by(self._asked):
            yield

    def _asked(self, workload: WorkloadId, executor: str) -> bool:
        self._receive(MemberAsked(workload, executor))
        return workload in self._clients

    def take_orders(
        self, tasks: Sequence[Task], ends: Sequence[tuple[WorkloadId, str]] = ()
    ) -> None:
        if tasks:
            self._receive(TasksArrived(tasks))
        for workload, reason in ends:
            self._receive(EndArrived(workload, reason))

    def stream_opened(self) -> None:
        self._receive(StreamOpened())

    async def drain(self) -> None:
        """Takes no new work; returns when nobody needs this node any more."""
        self._receive(DrainAsked())
        while self._is_needed():
            self._settled.clear()
            await self._settled.wait()

    def stop(self, reason: str) -> None:
        """Answers everything that is open with this reason, now."""
        self._receive(StopAsked(WorkloadStopped(reason, node=self._node).to_plain()))

    async def flushed(self) -> None:
        """Returns when the coordinator has acknowledged every result."""
        while not self._outbox.is_empty:
            self._settled.clear()
            await self._settled.wait()

    def _is_needed(self) -> bool:
        return (
            not self._outbox.is_empty
            or any(self._routing.open_tasks(workload) for workload in self._routing.workloads)
            or any(actor.needed_until_end for actor in self._actors.values())
        )

    def _receive(self, event: Event) -> None:
        self._perform(self._routing.receive(event))
        self._settled.set()

    def _took(self, workload: WorkloadId) -> None:
        if effects := self._routing.take(workload):
            self._perform(effects)

    def _finished(self, result: Result) -> None:
        finished = self._routing.finish(result)
        if finished is not None:
            self._outbox.put(finished)

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(workload, tasks):
                    client = self._clients[workload]
                    if client.is_alive:  # else its supervisor is about to have them sent again
                        client.try_tell(*tasks)
                case Report(result):
                    self._outbox.put(result)
                case GrantCredit(credits):
                    self._grant(credits)
                case CreateClient(workload, executor):
                    self._create(workload, executor)
                case AbortTask(workload, task_id, reason):
                    if workload in self._actors:
                        self._actors[workload].abort_task(task_id, reason)
                case CloseClient(workload):
                    self._close(workload)
                case _:
                    assert_never(effect)

    def _create(self, workload: WorkloadId, executor: str) -> None:
        def make_client() -> ClientActor:
            actor = self._actors[workload] = ClientActor(
                self._node,
                workload,
                executor,
                self._workplace,
                took=self._took,
                finished=self._finished,
                inbox=self._inbox,
                host=self._host,
            )
            return actor

        self._clients[workload] = self._supervisor.add(workload, make_client)

    def _close(self, workload: WorkloadId) -> None:
        del self._clients[workload], self._actors[workload]
        self._supervisor.remove(workload)

    def _restarted(self, workload: WorkloadId, ref: ActorRef[Task], error: Exception) -> None:
        log.warning("%s failed and is started again", ref.name, exc_info=error)
        self._clients[workload] = ref
        self._receive(ClientRestarted(workload))

    def _gave_up(self, workload: WorkloadId, error: Exception) -> None:
        log.error("client %s failed too often and is given up", workload, exc_info=error)
        del self._clients[workload], self._actors[workload]
        told = failure(error, node=self._node, workload=workload, redacted=self._workplace.redacts)
        self._receive(ClientFailed(workload, told))

    def _acknowledged(self, results: Sequence[Result]) -> None:
        self._receive(Acknowledged(results))


class Outbox:
    """Results on their way to the coordinator, sent in batches until acknowledged."""

    def __init__(
        self,
        send: SendReport,
        acknowledged: Callable[[Sequence[Result]], None],
        host: Host = THIS_HOST,
    ) -> None:
        self._send = send
        self._host = host
        self._acknowledged = acknowledged
        self._results: deque[Result] = deque()
        self._under_way: list[Result] = []
        self._ready = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._results and not self._under_way

    def put(self, result: Result) -> None:
        self._results.append(result)
        self._ready.set()

    async def run(self) -> None:
        while True:
            await self._ready.wait()
            self._under_way = self._next_batch()
            acknowledged = await self._send_until_answered(self._under_way)
            self._under_way = []
            if not self._results:
                self._ready.clear()
            self._acknowledged(acknowledged)

    def _next_batch(self) -> list[Result]:
        batch: list[Result] = []
        size = 0
        while self._results and len(batch) < _REPORT_RESULTS and size < _REPORT_BYTES:
            result = self._results.popleft()
            size += len(result.payload)
            batch.append(result)
        return batch

    async def _send_until_answered(self, batch: Sequence[Result]) -> Sequence[Result]:
        backoff = self._host.backoff()
        while True:
            try:
                return await self._send(batch)
            except P2pdoError as error:
                log.debug("%d results wait for the coordinator: %s", len(batch), error)
                await backoff.wait()
