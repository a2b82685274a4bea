"""Sending tasks to nodes and waiting for what they come to.

    async with net.driver(nodes=["a", "b", "c"]) as tasks:
        result = await tasks.send_and_wait("train", {"rate": 0.1}, to="a", deadline=60)

        async for result in await tasks.broadcast("train", {"rate": 0.1}):
            print(result.node, result.status, result.value)     # as they come

        results = await tasks.broadcast_and_wait("train", min_responses=2, deadline=60)
        value = await tasks.relay_and_wait("add", 0, to=["a", "b", "c"])

A driver is one workload of the coordinator: the tasks of two drivers have clients of their own at
every node, so neither waits for the other, and closing one ends nothing of another. Within a
driver a node does its tasks one after another, in the order in which they were sent.

One reader follows the workload's results and wakes whoever waits for one; see `waiting`. When the
coordinator goes away it is asked again for the results behind those that are here; see `patience`:
none is lost, and none comes twice. What has come is acknowledged, and the coordinator drops it; see
`acknowledging`. A deadline that passes aborts its task, also where the node is lost or frozen: what
the driver gets is then a result of status "aborted".

A workload with `keep` outlives a driver that was killed, and `AttachedTasks` takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Any, Self

from p2pdo.driving.acknowledging import Acknowledging
from p2pdo.driving.broadcast import Broadcast, check_enough
from p2pdo.driving.client import Client
from p2pdo.driving.members import find_members
from p2pdo.driving.patience import follow, persist
from p2pdo.driving.results import TaskResult, read_result, results_in
from p2pdo.driving.sending import Order, batches_of, encode_payload
from p2pdo.driving.submitting import submit
from p2pdo.driving.waiting import Waiting, fail_all
from p2pdo.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    P2pdoError,
    Unreachable,
    WorkloadStopped,
    from_plain,
)
from p2pdo.runtime.groups import task_group
from p2pdo.types import TaskId
from p2pdo.wire.v1 import coordinator_pb2 as pb

log = logging.getLogger(__name__)

SITE = "site"
_LAST_WORDS = 5.0  # seconds for the goodbye of a driver whose coordinator is away

Targets = str | Iterable[str] | None
PassOn = Callable[[Any, TaskResult], Any]


class Tasks:
    """A driver of tasks: one workload, from `async with` to its end."""

    def __init__(
        self,
        client: Client,
        nodes: Sequence[str] | None = None,
        *,
        executor: str = SITE,
        roles: Mapping[str, Mapping[str, Any]] | None = None,
        workload_id: str = "",
        keep: bool = False,
        request_id: str = "",
    ) -> None:
        """Of all nodes that are up where none are named; `workload_id` is one that exists.

        With `keep` the coordinator does not end the workload of a driver that was killed. A
        `request_id` that has made a workload finds it again.
        """
        self.client = client
        self.workload_id = workload_id
        self.nodes: list[str] = list(nodes or ())
        self._executor = executor
        self._roles = {name: dict(role) for name, role in (roles or {}).items()}
        self._is_ours = not workload_id
        self._keep = keep
        self._request_id = request_id
        self._acknowledging = Acknowledging(client, by_itself=not keep)
        self._waiting = Waiting()
        self._shown = 0  # the place of the last result that `results` has given out
        self._block = contextlib.AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self._helpers: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._open()
        self._group = await self._block.enter_async_context(task_group())
        self._start(self._read(), f"results {self.workload_id}")
        acknowledging = self._acknowledging.keep_sending(self.workload_id)
        self._start(acknowledging, f"acknowledging {self.workload_id}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops what is still open; a driver that leaves has no use for it."""
        is_open = self._is_ours and self._waiting.failure is None
        is_idle = self._waiting.is_idle
        self.fail(WorkloadStopped("its driver was closed", workload=self.workload_id))
        try:
            if self._keep:
                await self._acknowledge_at_last()
            if is_open:
                await self._end(is_idle=is_idle)
        finally:
            for task in [*self._helpers]:
                task.cancel()
            await self._block.__aexit__(None, None, None)

    async def _open(self) -> None:
        if self._is_ours:
            await self._submit()

    async def _submit(self) -> None:
        self.nodes = await find_members(self.client, self.nodes, self._roles)
        spec: dict[str, Any] = {"kind": "tasks", "executor": self._executor, "nodes": self.nodes}
        if self._roles:
            spec["roles"] = self._roles
        if self._keep:
            spec["keep"] = True
        request_id = self._request_id or self.client.host.fresh_id()
        self.workload_id = await submit(self.client, spec, request_id)
        if self._request_id:  # it may be one that an earlier driver has made, and has results
            found = await persist(self.client, lambda: self.client.find(self.workload_id))
            self._acknowledging.begin(found.acknowledged, found.acknowledged)

    async def _acknowledge_at_last(self) -> None:
        with contextlib.suppress(P2pdoError, TimeoutError):  # it is told again when he is back
            async with asyncio.timeout(_LAST_WORDS):
                await self._acknowledging.send(self.workload_id, at_last=True)

    async def _end(self, *, is_idle: bool) -> None:
        """Tells the coordinator, which would keep the workload for ever."""

        def leave() -> Awaitable[object]:
            if is_idle:
                return self.client.close_workload(self.workload_id)
            return self.client.stop(self.workload_id, "its driver was closed")

        try:
            await persist(self.client, leave, _LAST_WORDS)
        except (Unreachable, DeadlineExceeded) as error:
            log.warning(
                "workload %s stays open at the coordinator, which is away: %s; when it is back: "
                "p2pdo stop %s",
                *(self.workload_id, error.message, self.workload_id),
            )

    def detach(self) -> None:
        """Has the workload go on when the block is left, for another driver to attach to.

        Raises:
            ConfigError: nobody keeps it: the coordinator would end it a minute later.
        """
        if not self._keep:
            raise ConfigError(
                f"workload {self.workload_id} was not opened to be kept",
                hint="net.driver(keep=True)",
                workload=self.workload_id,
            )
        self._is_ours = False

    async def ended(self) -> None:
        """Returns when the workload is over, however it ended."""
        await self._over.wait()

    def role(self, name: str) -> list[str]:
        """The nodes of a role.

        Raises:
            ConfigError: there is no such role.
        """
        if name not in self._roles:
            raise ConfigError(
                f"there is no role '{name}'", hint=f"known: {', '.join(self._roles) or 'none'}"
            )
        return list(self._roles[name]["nodes"])

    # ---- sending ----

    async def send(
        self, name: str, payload: Any = None, *, to: str, deadline: float | None = None
    ) -> asyncio.Future[TaskResult]:
        """Sends a task to one node; await what this returns for its result.

        Raises:
            ConfigError: no such node in this workload, or data that cannot travel.
        """
        if not isinstance(to, str):
            raise ConfigError(
                f"'{name}' is sent to one node, and {to!r} is not a node's name",
                hint="to several nodes at once: broadcast(…, to=[…]); one after another: relay",
                workload=self.workload_id,
            )
        (future,) = await self._send(name, [to], payload, deadline)
        return future

    async def send_and_wait(
        self, name: str, payload: Any = None, *, to: str, deadline: float | None = None
    ) -> TaskResult:
        """The result of a task at one node; of status "aborted" after `deadline` seconds."""
        return await (await self.send(name, payload, to=to, deadline=deadline))

    async def broadcast(
        self, name: str, payload: Any = None, *, to: Targets = None, deadline: float | None = None
    ) -> Broadcast:
        """Sends a task to some nodes, or to all."""
        futures = await self._send(name, self._targets(to), payload, deadline)
        return Broadcast(name, self.workload_id, futures, self.abort)

    async def broadcast_and_wait(
        self,
        name: str,
        payload: Any = None,
        *,
        to: Targets = None,
        min_responses: int | None = None,
        grace: float = 0.0,
        deadline: float | None = None,
    ) -> list[TaskResult]:
        """The results of a task at some nodes, or at all; see `Broadcast.wait`."""
        targets = self._targets(to)
        if min_responses is not None:
            check_enough(name, len(targets), min_responses)  # before anybody has begun
        broadcast = await self.broadcast(name, payload, to=targets, deadline=deadline)
        return await broadcast.wait(min_responses, grace)

    async def relay(
        self,
        name: str,
        payload: Any = None,
        *,
        to: Targets = None,
        deadline: float | None = None,
        pass_on: PassOn = lambda _payload, result: result.value,
    ) -> AsyncIterator[TaskResult]:
        """One node after another; each is sent what `pass_on` makes of the result before it.

        Ends after the first result that is not ok. `deadline` is for each node.
        """
        for node in self._targets(to):
            result = await self.send_and_wait(name, payload, to=node, deadline=deadline)
            yield result
            if not result.is_ok:
                return
            payload = pass_on(payload, result)

    async def relay_and_wait(self, name: str, payload: Any = None, **how: Any) -> list[TaskResult]:
        """Every result of a relay, in its order; see `relay`."""
        return [result async for result in self.relay(name, payload, **how)]

    async def results(self) -> AsyncIterator[TaskResult]:
        """Every result that is not acknowledged, in their order, until no task is without one.

        Coming back for the next one acknowledges those before: they are not told again, not even to
        a later driver of this workload. The one in hand is, if this program dies.

        Raises:
            ConfigError: the workload is not kept, so its driver cannot miss any.
            P2pdoError: the workload ended, and some tasks will have no result.
        """
        if self._acknowledging.by_itself:
            raise ConfigError(
                "a driver without keep=True acknowledges its results as they come",
                hint="iterate over what broadcast returns, or open it with keep=True",
                workload=self.workload_id,
            )
        seen = self._acknowledging.safe
        events = follow(self.client, self.workload_id, seen)
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            while waiting := await self._sent_behind(seen):
                async for result in results_in(events):
                    self._shown = max(self._shown, result.place)
                    yield result
                    seen = result.place
                    self._acknowledging.note_safe(seen)
                    waiting.discard(result.task_id)
                    if not waiting:
                        break
                else:
                    raise self._waiting.failure or WorkloadStopped(
                        f"it ended with {len(waiting)} tasks unanswered", workload=self.workload_id
                    )

    async def acknowledge(self, place: int) -> None:
        """The results up to that place (`TaskResult.place`) are not told again, to nobody.

        Drivers with `keep` do so for what they have stored; all others need not. The coordinator
        hears of it as soon as this driver's own reader has come as far.

        Raises:
            Conflict: so many were never told.
        """
        told = max(self._acknowledging.told, self._shown)
        if place > told:
            raise Conflict(
                f"{told} results were told, and {place} are said to be stored",
                hint="acknowledge the place of a result",
                workload=self.workload_id,
            )
        self._acknowledging.note_safe(place)
        await self._acknowledging.send(self.workload_id)

    async def _sent_behind(self, seen: int) -> set[TaskId]:
        sent = await persist(self.client, lambda: self.client.list_tasks(self.workload_id, seen))
        return {TaskId(task.task_id) for task in sent}

    async def abort(
        self, futures: Iterable[asyncio.Future[TaskResult]], reason: str = "its driver gave it up"
    ) -> None:
        """Aborts tasks that have no result yet; their futures get one that says so."""
        ids = self._waiting.ids_of(futures)
        if ids:
            await persist(
                self.client, lambda: self.client.abort_tasks(self.workload_id, ids, reason)
            )

    # ---- inside ----

    def _targets(self, to: Targets) -> list[str]:
        if to is None:
            return self.nodes
        return [to] if isinstance(to, str) else list(to)

    async def _send(
        self, name: str, nodes: Sequence[str], payload: Any, deadline: float | None
    ) -> list[asyncio.Future[TaskResult]]:
        text = await encode_payload(payload)
        if self._waiting.failure is not None:
            raise self._waiting.failure
        futures: list[asyncio.Future[TaskResult]] = []
        with self._waiting.sending():
            for batch in batches_of([(node, name, text) for node in nodes]):
                futures += await self._send_batch(batch)
        if futures and deadline is not None and self._waiting.failure is None:
            self._start(self._watch_deadline(futures, name, deadline), f"deadline of {name}")
        return futures

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Has something run until it is done or the driver leaves."""
        assert self._group is not None, "a driver is used inside its block"
        task = self._group.create_task(work, name=name)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    async def _send_batch(self, batch: Sequence[Order]) -> list[asyncio.Future[TaskResult]]:
        request_id = self.client.host.fresh_id()
        ids = await persist(
            self.client, lambda: self.client.send_tasks(self.workload_id, request_id, batch)
        )
        return [self._waiting.future_of(TaskId(task_id)) for task_id in ids]

    async def _watch_deadline(
        self, futures: Sequence[asyncio.Future[TaskResult]], name: str, seconds: float
    ) -> None:
        _, late = await asyncio.wait(futures, timeout=seconds)
        if late:
            try:
                await self.abort(late, f"'{name}' had no result after {seconds:g} s")
            except P2pdoError as error:
                fail_all(late, error)

    # ---- results ----

    async def _read(self) -> None:
        try:
            await self._follow()
        finally:
            self._over.set()

    async def _follow(self) -> None:
        """Takes the results, to the workload's end."""
        end: pb.Workload | None = None
        try:
            async for event in follow(self.client, self.workload_id, self._acknowledging.told):
                if event.HasField("result"):
                    self._waiting.take(await read_result(event.result))
                    self._acknowledging.note_told(event.result.place, len(event.result.payload))
                elif event.HasField("status"):
                    end = event.status
        except P2pdoError as error:
            self.fail(error)
        else:
            assert end is not None, "nothing ends without a status"
            self.fail(_end_of(end))

    def fail(self, error: P2pdoError) -> None:
        """Tells everybody who waits, and whoever sends later."""
        self._waiting.fail(error)


def _end_of(told: pb.Workload) -> P2pdoError:
    """What those hear who still wait when the workload is over."""
    if told.error:
        return from_plain(json.loads(told.error))
    return WorkloadStopped("the workload was closed", workload=told.workload_id)
