"""Messages between the members of a workload, outside the iterations: a question, its answers.

    class Auditor(Executor):
        @on_message("count")
        def count(self, message: Message) -> object:         # at every member that was asked
            return len(self._rows)

        @task("audit")
        async def audit(self, task: Task, context: Context) -> object:
            replies = await context.request(await context.members(), "count", timeout=5)
            return {node: reply.unwrap() for node, reply in replies.items()}

A request goes straight from node to node, never by the coordinator, which only tells the members
and their addresses. Each target answers by itself: with a value, or with what went wrong there; a
target that is unknown, silent or broken costs the others nothing.

What travels is JSON with arrays, of at most `LIMIT` bytes: data in bulk is for the exchange. A
member that has had no task yet begins with the first request, and so does the executor that
answers the topic. At the target a coroutine handler runs on the loop, and a plain one on a thread
for messages of this workload, not on that of its tasks: a node that computes for an hour still
answers. So such a handler and a task run at once, and what they share is theirs to guard.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import grpc
import grpc.aio

from p2pdo.errors import (
    ConfigError,
    DeadlineExceeded,
    NotFound,
    P2pdoError,
    TaskFailed,
    Unreachable,
    did_you_mean,
    from_plain,
)
from p2pdo.node.context import WorkloadContext
from p2pdo.node.control import Control
from p2pdo.node.failures import failure
from p2pdo.node.topics import (
    Message,
    Reply,
    called,
    handlers_of,
    nobody_answers,
    on_message,
)
from p2pdo.runtime.compute import Compute
from p2pdo.runtime.foreign import contained
from p2pdo.transports import rpc
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.plain import LARGE, decode_data, encode_bounded, is_large, parse_plain

log = logging.getLogger(__name__)

METHOD = "/p2pdo.v1.Peer/Request"
T = TypeVar("T")

Begin = Callable[[WorkloadId, str], bool]
"""Begins a workload here, with that executor, if it has not; whether it is here now."""

Summon = Callable[[str], Awaitable[None]]


class Mailroom:
    """One node's requests, in and out; use as a context manager."""

    def __init__(self, control: Control, token: str | None) -> None:
        self._control = control
        self._token = token
        self._boxes: dict[WorkloadId, Mailbox] = {}
        self._opened = asyncio.Event()  # set and replaced whenever a box is opened
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._begin: Begin | None = None

    @property
    def node(self) -> NodeId:
        return NodeId(self._control.identity.node)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Mailroom]:
        try:
            yield self
        finally:
            for channel in self._channels.values():
                await channel.close()

    @contextlib.contextmanager
    def begun_by(self, begin: Begin) -> Iterator[None]:
        """Inside the block, who asks about a workload of ours begins it here."""
        self._begin = begin
        try:
            yield
        finally:
            self._begin = None

    def register(self, server: grpc.aio.Server) -> None:
        """Lets members ask us by this server."""
        rpc.add_method(server, METHOD, grpc.unary_unary_rpc_method_handler(self._serve))

    def open(
        self,
        workload: WorkloadId,
        *,
        redacts: bool = False,
        handled: Callable[[], None] = lambda: None,
        summon: Summon | None = None,
    ) -> Mailbox:
        """A workload's box, from when it begins here to its end.

        `handled` is called on the loop when a coroutine has answered; `summon` makes whoever
        answers a topic that nobody has taken up yet, if there is somebody.
        """
        box = self._boxes[workload] = Mailbox(
            self, workload, redacts=redacts, handled=handled, summon=summon
        )
        opened, self._opened = self._opened, asyncio.Event()
        opened.set()
        return box

    def close(self, workload: WorkloadId) -> None:
        self._boxes.pop(workload, None)

    def compute(self, name: str) -> Compute:
        return self._control.host.compute(name)

    async def members(self, workload: WorkloadId) -> Mapping[NodeId, str]:
        return await self._control.members(workload)

    # ---- out ----

    async def ask(self, address: str, node: NodeId, request: bytes, seconds: float) -> Reply:
        """One target's reply; never raises what went wrong there."""
        if address not in self._channels:
            self._channels[address] = self._control.host.channel(address)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        call = self._channels[address].unary_unary(METHOD)
        try:
            answer = await call(request, timeout=seconds, metadata=rpc.metadata(self._token))
            return await _off_loop(_reply_of, node, bytes(answer), is_large=len(answer) > LARGE)
        except grpc.aio.AioRpcError as error:
            return Reply(node, error=_broken(error, node, seconds))
        except ValueError as error:
            wrong = TaskFailed(f"{node} answered with what cannot be read: {error}", node=node)
            return Reply(node, error=wrong)

    async def forget(self, address: str) -> None:
        """Nobody is there any more."""
        channel = self._channels.pop(address, None)
        if channel is not None:
            await channel.close()

    # ---- in ----

    async def _serve(
        self, request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        workload, redacts = "", False
        try:
            data = await _off_loop(_parse, request, is_large=len(request) > LARGE)
            workload = str(data["workload"])
            box = await self._box(WorkloadId(workload))
            redacts = box.redacts
            message = Message(NodeId(str(data["sender"])), str(data["topic"]), data["value"])
            return await box.answer(message)
        except Exception as error:
            level = logging.ERROR if redacts else logging.INFO  # else the asker is told all of it
            log.log(level, "a message of workload %s is not answered", workload, exc_info=True)
            told = failure(error, node=self.node, workload=workload, redacted=redacts)
            return json.dumps({"error": told}).encode()

    async def _box(self, workload: WorkloadId) -> Mailbox:
        """The workload's box; waits for it, for as long as the asker does.

        Raises:
            P2pdoError: the workload is over, or none of ours, or cannot begin here.
        """
        begin = self._begin
        if workload not in self._boxes and begin is not None:
            executor = await self._control.executor_of(workload)
            if not executor or not begin(workload, executor):
                raise NotFound(
                    f"{self.node} does not begin workload {workload}: it is over or has failed "
                    "there, or the node is about to stop",
                    hint="p2pdo show tells which",
                    node=self.node,
                )
        while workload not in self._boxes:
            await self._opened.wait()
        return self._boxes[workload]


class Mailbox:
    """One workload's requests at one node.

    Attributes:
        redacts: whether the words of a handler's exception stay here.
    """

    def __init__(
        self,
        room: Mailroom,
        workload: WorkloadId,
        *,
        redacts: bool = False,
        handled: Callable[[], None] = lambda: None,
        summon: Summon | None = None,
    ) -> None:
        self.redacts = redacts
        self.context: WorkloadContext | None = None  # for handlers that want it
        self._handled = handled
        self._summon = summon
        self._room = room
        self._workload = workload
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._compute = room.compute(f"messages {workload}")
        self._members: Mapping[NodeId, str] | None = None
        self._expected = 0  # blocks in which topics may be taken up
        self._changed = asyncio.Event()  # set and replaced at the end of each
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()

    def close(self) -> None:
        self._room.close(self._workload)
        self._compute.close()

    def add(self, things: Iterable[object]) -> None:
        """Finds the marked methods of each."""
        self._handlers.update(handlers_of(things))

    def handle(self, topic: str, handler: Callable[..., Any]) -> None:
        """Has a function answer a topic; the latest one does."""
        self._handlers[topic] = handler

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """Whoever asks about an unknown topic waits for the block's end, and is answered then."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def members(self) -> Mapping[NodeId, str]:
        """Everybody who takes part, this node included, with the addresses."""
        if self._members is None:
            self._members = await self._room.members(self._workload)
        return self._members

    async def request(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> dict[str, Reply]:
        """Every target's reply, in the order of the targets.

        Raises:
            ConfigError: the value cannot travel.
            P2pdoError: the coordinator does not tell who the members are.
        """
        request = await _off_loop(self._encode, topic, value, is_large=is_large(value))
        await self.members()  # once for all targets
        names = [NodeId(name) for name in targets]
        replies = await asyncio.gather(*(self._ask(name, request, seconds) for name in names))
        return dict(zip(names, replies, strict=True))

    def request_from_thread(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> Future[dict[str, Reply]]:
        """The same from a plain function: a future of its thread.

        Raises:
            ConfigError: it is called on the loop, which would wait for itself.
        """
        if threading.get_ident() == self._loop_thread:
            raise ConfigError(
                "context.ask was called in a coroutine, which it would block",
                hint="replies = await context.request(…)",
            )
        return asyncio.run_coroutine_threadsafe(
            self.request(targets, topic, value, seconds), self._loop
        )

    def _encode(self, topic: str, value: Any) -> bytes:
        about = {"workload": self._workload, "sender": self._room.node, "topic": topic}
        what = f"a message about '{topic}'"
        return encode_bounded({**about, "value": value}, what, ConfigError).encode()

    async def _ask(self, node: NodeId, request: bytes, seconds: float) -> Reply:
        members = await self.members()
        address = members.get(node)
        if address is None:
            hint = did_you_mean(node, [str(name) for name in members])
            stranger = NotFound(f"{node} takes no part in workload {self._workload}", hint=hint)
            return Reply(node, error=stranger)
        reply = await self._room.ask(address, node, request, seconds)
        if not isinstance(reply.error, Unreachable):
            return reply
        self._members = None
        now = (await self.members()).get(node, address)
        if now == address:
            return reply
        await self._room.forget(address)  # it was started again
        return await self._room.ask(now, node, request, seconds)

    async def answer(self, message: Message) -> bytes:
        """This node's answer, as it travels.

        Raises:
            NotFound: the sender takes no part, or nobody here answers this topic.
            TaskFailed: the answer cannot travel.
        """
        if message.sender not in await self.members():
            raise NotFound(
                f"{message.sender} takes no part in workload {self._workload}",
                hint="only its members may ask",
            )
        await self._until_expected(message.topic)
        if message.topic not in self._handlers and self._summon is not None:
            await self._summon(message.topic)
            await self._until_expected(message.topic)
        handler = self._handlers.get(message.topic)
        if handler is None:
            raise nobody_answers(message.topic, self._handlers, self._room.node)
        large = is_large(message.value)
        value = await _off_loop(decode_data, message.value, is_large=large)
        message = Message(message.sender, message.topic, value)
        if inspect.iscoroutinefunction(handler):
            try:
                value = await contained(called(handler, message, self.context))
            finally:
                self._handled()
        else:
            value = await self._compute.run(called, handler, message, self.context)
        large = is_large(value)
        return await _off_loop(_encode_answer, message.topic, value, is_large=large)

    async def _until_expected(self, topic: str) -> None:
        """Returns when somebody answers it, or nobody new is expected."""
        while topic not in self._handlers and self._expected:
            await self._changed.wait()


def _encode_answer(topic: str, value: Any) -> bytes:
    return encode_bounded({"value": value}, f"the answer to '{topic}'", TaskFailed).encode()


async def _off_loop(function: Callable[..., T], /, *args: Any, is_large: bool) -> T:
    """Calls it on some thread where its data are large, and here where they are not."""
    return await asyncio.to_thread(function, *args) if is_large else function(*args)


def _parse(message: bytes) -> Any:
    return parse_plain(message.decode())


def _reply_of(node: NodeId, answer: bytes) -> Reply:
    data = _parse(answer)
    if "error" in data:
        return Reply(node, error=from_plain(data["error"]))
    return Reply(node, decode_data(data["value"]))


def _broken(error: grpc.aio.AioRpcError, node: NodeId, seconds: float) -> P2pdoError:
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(
                f"{node} did not reply within {seconds:g} s",
                hint="a longer timeout, or look at that node",
                node=node,
            )
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(
                f"{node} cannot be reached: {error.details()}",
                hint="is its process alive?",
                node=node,
            )
        case code:
            return TaskFailed(
                f"asking {node} failed: {code.name}: {error.details()}",
                hint="look at that node's log",
                node=node,
            )


Handler = Callable[[Message], "object | Awaitable[object]"]

__all__ = ["Handler", "Mailbox", "Mailroom", "Message", "Reply", "on_message"]
