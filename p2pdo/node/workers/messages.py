"""Messages in a worker process: its questions go by its node, and its node hands it others'.

    ASK ▸ node … ▸ ANSWER        what a rank asks members of the workload; any rank may
    MESSAGE ▸ rank 0 ▸ REPLY     what members ask this node; rank 0 answers for all
    TOPIC ▸ node                 a topic that rank 0 has taken up at run time

As at the node, a plain handler runs on a thread for messages and a coroutine on the loop, both
beside whatever task is in hand; neither waits for the other.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeAlias

from p2pdo.errors import ConfigError, P2pdoError, TaskFailed, from_plain
from p2pdo.node.context import WorkloadContext
from p2pdo.node.failures import SiteFailure
from p2pdo.node.topics import Message, Reply, called, handlers_of, nobody_answers
from p2pdo.node.workers.failures import describe
from p2pdo.node.workers.frames import Kind, pack, unpack
from p2pdo.node.workers.loop import LoopThread, is_on_loop
from p2pdo.runtime.foreign import contained
from p2pdo.types import NodeId

Call: TypeAlias = tuple[int, Callable[..., Any], Message]


class WorkerMailbox:
    """The mailbox of a context in a worker; any thread may ask.

    Attributes:
        answered: called when a coroutine has answered: what it fired is to be heard.
        context: for handlers that want it.
    """

    def __init__(self, send: Callable[[bytes], None], loop: LoopThread) -> None:
        self.answered: Callable[[], None] = lambda: None
        self.context: WorkloadContext | None = None
        self._send = send
        self._loop = loop
        self._node = ""
        self._is_told = False  # the node has the topics: it is to hear of every further one
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        self._calls: queue.SimpleQueue[tuple[int, Callable[..., Any], Message]] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None  # for plain handlers; made for the first

    # ---- for the context ----

    async def members(self) -> Mapping[NodeId, str]:
        """Everybody who takes part, with their addresses."""
        members: Mapping[NodeId, str] = await asyncio.wrap_future(self._ask({}))
        return members

    async def request(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> dict[str, Reply]:
        """See `Mailbox.request`."""
        return await asyncio.wrap_future(self._request(targets, topic, value, seconds))

    def request_from_thread(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> Future[dict[str, Reply]]:
        """See `Mailbox.request_from_thread`."""
        if is_on_loop():
            raise ConfigError(
                "context.ask was called in a coroutine, which it would block",
                hint="replies = await context.request(…)",
            )
        return self._request(targets, topic, value, seconds)

    def handle(self, topic: str, handler: Callable[..., Any]) -> None:
        """Has a function answer a topic; the latest one does."""
        is_new = topic not in self._handlers
        self._handlers[topic] = handler
        if is_new and self._is_told:
            self._send(pack(Kind.TOPIC, topic))

    # ---- for the worker ----

    def open(self, things: Iterable[object], node: str) -> None:
        """Finds the marked methods of each."""
        self._node = node
        self._handlers.update(handlers_of(things))

    def tell_topics(self) -> list[str]:
        """What is answered here so far."""
        self._is_told = True
        return sorted(self._handlers)

    def take_answer(self, body: bytes) -> None:
        """What came of a question; one that nobody waits for any more is dropped."""
        said = unpack(body)
        future = self._asked.pop(said["number"])
        if not future.set_running_or_notify_cancel():
            return
        if "error" in said:
            future.set_exception(from_plain(said["error"]))
        else:
            future.set_result(said["value"])

    def take_message(self, body: bytes) -> None:
        """Has it answered, and returns at once."""
        said = unpack(body)
        message = Message(NodeId(said["sender"]), said["topic"], said["value"])
        handler = self._handlers.get(message.topic)
        if handler is None:
            error = nobody_answers(message.topic, self._handlers, self._node)
            self._reply(said["number"], error=error)
        elif inspect.iscoroutinefunction(handler):
            work = self._answer_on_loop(said["number"], handler, message)
            self._loop.submit(work)
        else:
            self._calls.put((said["number"], handler, message))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._answer_calls, name="messages", daemon=True
                )
                self._thread.start()

    # ---- inside ----

    def _request(
        self, targets: Iterable[str], topic: str, value: Any, seconds: float
    ) -> Future[dict[str, Reply]]:
        about = {"targets": list(targets), "topic": topic, "seconds": seconds}
        told = self._ask({**about, "value": value})
        replies: Future[dict[str, Reply]] = Future()

        def read(done: Future[Any]) -> None:
            if not replies.set_running_or_notify_cancel():
                return
            if (error := done.exception()) is not None:
                replies.set_exception(error)
            else:
                found = done.result()
                replies.set_result({name: _reply_of(name, told) for name, told in found.items()})

        told.add_done_callback(read)
        return replies

    def _ask(self, question: Mapping[str, Any]) -> Future[Any]:
        number = next(self._numbers)
        future = self._asked[number] = Future()
        try:
            frame = pack(Kind.ASK, {**question, "number": number})
        except ValueError as error:
            del self._asked[number]
            raise ConfigError(
                f"a message about '{question['topic']}' cannot travel as JSON: {error}",
                hint="send numbers, text, lists, dicts and numpy arrays",
            ) from None
        self._send(frame)
        return future

    def _answer_calls(self) -> None:
        while True:
            self._answer(*self._calls.get())

    def _answer(self, number: int, handler: Callable[..., Any], message: Message) -> None:
        try:
            self._reply(number, value=called(handler, message, self.context))
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the asker who hears it
            self._reply(number, error=error)

    async def _answer_on_loop(
        self, number: int, handler: Callable[..., Any], message: Message
    ) -> None:
        try:
            self._reply(number, value=await contained(called(handler, message, self.context)))
        except Exception as error:  # noqa: BLE001 - its author's; it is told whole
            self._reply(number, error=error)
        finally:
            self.answered()

    def _reply(self, number: int, value: Any = None, error: BaseException | None = None) -> None:
        if error is None:
            try:
                frame = pack(Kind.REPLY, {"number": number, "value": value})
            except ValueError as odd:
                error = TaskFailed(
                    f"the answer cannot travel as JSON: {odd}",
                    hint="return numbers, text, lists, dicts and numpy arrays",
                )
        if error is not None:
            frame = pack(Kind.REPLY, {"number": number, "error": describe(error)})
        self._send(frame)


def _reply_of(name: str, told: Mapping[str, Any]) -> Reply:
    if "error" in told:
        return Reply(NodeId(name), error=from_plain(told["error"]))
    return Reply(NodeId(name), told["value"])


def failure_of(plain: Mapping[str, Any]) -> P2pdoError:
    """What a handler in a worker raised, as if it had been raised at the node."""
    if "error" in plain:
        return from_plain(plain["error"])
    bare, words = str(plain["type"]), plain["words"]
    return SiteFailure(f"{bare}: {words}" if words else bare, bare=bare)
