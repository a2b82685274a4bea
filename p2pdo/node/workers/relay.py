"""The node's side of its workers' messages: asks for them, and hands them what others ask.

A question of a rank becomes a request of the workload's mailbox; a message for this node goes to
rank 0, and its reply back to whoever asked. All of it ends with the processes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from p2pdo.errors import ConfigError, P2pdoError, TaskFailed
from p2pdo.node.context import Messages
from p2pdo.node.topics import Message, Reply
from p2pdo.node.workers.frames import Kind, pack, unpack
from p2pdo.node.workers.messages import failure_of
from p2pdo.wire.plain import LARGE, is_large

log = logging.getLogger(__name__)

Send = Callable[[bytes], None]


class Relay:
    """Between one executor's workers and the workload's mailbox."""

    def __init__(self, name: str, mailbox: Messages | None) -> None:
        self._name = name
        self._mailbox = mailbox
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self) -> None:
        """Ends every question; who waits for rank 0 is told that it is gone."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self.gone())
        self._waiting.clear()

    def gone(self) -> TaskFailed:
        return TaskFailed(
            f"the worker processes of executor '{self._name}' have ended",
            hint="its next task starts new ones",
        )

    # ---- what the ranks ask ----

    def take_question(self, body: bytes, send: Send) -> None:
        """Has it asked, and its answer sent back; not of processes that are being ended."""
        if not self._closed:
            self._begin(self._ask(body, send), "question")

    async def _ask(self, body: bytes, send: Send) -> None:
        question = await _off_loop(unpack, body, is_large=len(body) > LARGE)
        about = {"number": question["number"]}
        try:
            answer = {**about, "value": await self._answer_to(question)}
            frame = await _off_loop(pack, Kind.ANSWER, answer, is_large=is_large(answer["value"]))
        except P2pdoError as error:
            frame = pack(Kind.ANSWER, {**about, "error": error.to_plain()})
        except ValueError as error:  # many large replies
            told = TaskFailed(f"the replies cannot be handed over: {error}", hint="ask fewer nodes")
            frame = pack(Kind.ANSWER, {**about, "error": told.to_plain()})
        send(frame)

    async def _answer_to(self, question: Mapping[str, Any]) -> Any:
        if self._mailbox is None:
            raise ConfigError(
                "there are no messages here", hint="the node was made without a mailroom"
            )
        if "topic" not in question:
            return dict(await self._mailbox.members())
        about = (question["targets"], question["topic"], question["value"], question["seconds"])
        replies = await self._mailbox.request(*about)
        return {name: _plain(reply) for name, reply in replies.items()}

    # ---- what others ask ----

    async def ask(self, message: Message, send: Send) -> Any:
        """What rank 0 answers.

        Raises:
            P2pdoError: what went wrong there, or it is gone.
        """
        if self._closed:
            raise self.gone()
        number = next(self._numbers)
        about = {"number": number, "sender": message.sender, "topic": message.topic}
        large = is_large(message.value)
        said = {**about, "value": message.value}
        frame = await _off_loop(pack, Kind.MESSAGE, said, is_large=large)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            send(frame)
            return await future
        finally:
            self._waiting.pop(number, None)

    def take_reply(self, body: bytes) -> None:
        """Of rank 0; one that nobody waits for any more is dropped."""
        if not self._closed:
            self._begin(self._settle(body), "reply")

    async def _settle(self, body: bytes) -> None:
        said = await _off_loop(unpack, body, is_large=len(body) > LARGE)
        future = self._waiting.get(said["number"])
        if future is None or future.done():
            return
        if "error" in said:
            future.set_exception(failure_of(said["error"]))
        else:
            future.set_result(said["value"])

    def _begin(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(work, name=f"{what} of executor {self._name}")
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)


async def _off_loop(function: Callable[..., Any], /, *args: Any, is_large: bool) -> Any:
    return await asyncio.to_thread(function, *args) if is_large else function(*args)


def _plain(reply: Reply) -> dict[str, Any]:
    if reply.error is not None:
        return {"error": reply.error.to_plain()}
    return {"value": reply.value}
