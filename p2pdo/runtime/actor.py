"""Actors: a bounded inbox, one message at a time, a block to live in.

Theory of operation. An `Actor` owns its state; everybody else holds an `ActorRef` and can only
send. `tell` puts a message into the inbox and waits while it is full: that waiting is the
back-pressure. `try_tell` never waits. `ask` also waits for what `receive` returns.

Who learns of an error:

- An exception in an `ask` goes to the asker; the actor lives on.
- An exception in a `tell` is nobody else's: it is the actor's own failure. The actor ends and its
  failure is raised by the block that runs it, or handed to its supervisor.
- What is left in the inbox at the end is answered with `ActorDead`; so is whoever waits for room
  in it, or sends later.

    async with Counter().running() as counter:    # lives as long as this block
        await counter.tell(Add(3))
        total = await counter.ask(Total())

Leaving the block ends the actor also in the middle of a message; ask for something first if the
earlier messages must have been received.

Two traps are closed here. A task that is cancelled before its first step never enters its
coroutine, so no `finally` in it runs: the owner closes the inbox too. And a `CancelledError` that
nobody asked for, raised inside `receive` by a cancelled future, would end the actor's task in
silence: it is turned into a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeAlias, TypeVar

from p2pdo.errors import LocalProtocolError, P2pdoError
from p2pdo.runtime.foreign import is_being_cancelled
from p2pdo.runtime.groups import task_group

M = TypeVar("M")

_Reply: TypeAlias = "asyncio.Future[Any] | None"


class ActorDead(P2pdoError):
    """The actor has ended and will receive no more."""

    code = "actor-dead"


class InboxFull(P2pdoError):
    """`try_tell` found no room."""

    code = "inbox-full"


class Actor(ABC, Generic[M]):
    """Receives messages of type M, one at a time.

    The order of events: `on_start`, then `receive` for each message, then `on_stop`, which also
    runs after a failure and when the actor is cancelled, but not when `on_start` failed.
    Messages sent before the actor runs wait in its inbox.
    """

    def __init__(self, name: str, *, inbox: int = 64) -> None:
        self.name = name
        self._inbox: _Inbox[M] = _Inbox(name, inbox)

    @abstractmethod
    async def receive(self, message: M) -> object:
        """Handles one message; what it returns answers an `ask`."""

    async def on_start(self) -> None:
        """Runs before the first message."""

    async def on_stop(self) -> None:
        """Runs after the last message."""

    @property
    def ref(self) -> ActorRef[M]:
        return ActorRef(self._inbox)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ActorRef[M]]:
        """Runs the actor while the block runs; its failure cancels the block and is raised."""
        try:
            async with task_group() as group:
                life = group.create_task(self.run(), name=self.name)
                try:
                    yield self.ref
                finally:
                    life.cancel()
        finally:
            self.close()

    async def run(self) -> None:
        """The actor's life: until it fails or is cancelled. Who runs it must `close` it after."""
        try:
            await self.on_start()
        except BaseException as error:
            self.close(error)
            raise
        inbox = self._inbox
        try:
            while True:
                message, reply = inbox.take() or await inbox.get()
                if reply is None:
                    await self.receive(message)
                else:
                    await self._answer(message, reply)
        except asyncio.CancelledError as error:
            self.close(error)
            if not is_being_cancelled():
                raise LocalProtocolError(
                    f"{self.name}: something that it waited for was cancelled",
                    hint="catch CancelledError where a future of your own is awaited",
                ) from None
            raise
        except BaseException as error:
            self.close(error)
            raise
        finally:
            await self.on_stop()

    def close(self, reason: BaseException | None = None) -> None:
        """Answers what is left in the inbox, and whoever sends later, with `ActorDead`."""
        self._inbox.close(reason)

    async def _answer(self, message: M, reply: asyncio.Future[Any]) -> None:
        try:
            answer = await self.receive(message)
        except Exception as error:  # noqa: BLE001 - it is the asker's
            if not reply.done():
                reply.set_exception(error)
        except BaseException:
            if not reply.done():
                reply.set_exception(self._inbox.dead())
            raise
        else:
            if not reply.done():
                reply.set_result(answer)


class ActorRef(Generic[M]):
    """The only thing that others hold of an actor."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: _Inbox[M]) -> None:
        self._inbox = inbox

    @property
    def name(self) -> str:
        return self._inbox.name

    @property
    def is_alive(self) -> bool:
        return not self._inbox.closed

    async def tell(self, message: M) -> None:
        """Puts the message into the inbox; waits while that is full.

        Raises:
            ActorDead: the actor has ended, before or during the wait.
        """
        await self._inbox.put((message, None))

    def try_tell(self, *messages: M) -> None:
        """Puts the messages into the inbox now, in order.

        Raises:
            InboxFull: there is no room for all of them; none is put in.
            ActorDead: the actor has ended.
        """
        self._inbox.put_nowait(*[(message, None) for message in messages])

    async def ask(self, message: M) -> Any:
        """What the actor's `receive` returns for the message.

        Raises:
            ActorDead: the actor ended before it answered.
            Exception: whatever `receive` raised.
        """
        reply = asyncio.get_running_loop().create_future()
        await self._inbox.put((message, reply))
        return await reply


class _Inbox(Generic[M]):
    """A bounded queue for one reader that can be closed under those who wait on it."""

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 1:
            raise LocalProtocolError(f"{name}: an inbox holds at least one message")
        self.name = name
        self.closed = False
        self._capacity = capacity
        self._envelopes: deque[tuple[M, _Reply]] = deque()  # Invariant: at most `capacity`
        self._reader: asyncio.Future[None] | None = None
        self._writers: deque[asyncio.Future[None]] = deque()
        self._reason: BaseException | None = None

    def put_nowait(self, *envelopes: tuple[M, _Reply]) -> None:
        if self.closed:
            raise self.dead()
        if len(self._envelopes) + len(envelopes) > self._capacity:
            raise InboxFull(f"{self.name}: the inbox is full ({self._capacity} messages)")
        self._envelopes.extend(envelopes)
        _wake(self._reader)

    async def put(self, envelope: tuple[M, _Reply]) -> None:
        while not self.closed and len(self._envelopes) >= self._capacity:
            room = asyncio.get_running_loop().create_future()
            self._writers.append(room)
            try:
                await room
            except BaseException:
                if room.done() and not room.cancelled():
                    self._wake_a_writer()  # it was woken for a place that it will not take
                else:
                    self._writers.remove(room)
                raise
        self.put_nowait(envelope)

    def take(self) -> tuple[M, _Reply] | None:
        """The next message if there is one."""
        if not self._envelopes:
            return None
        envelope = self._envelopes.popleft()
        if self._writers:
            self._wake_a_writer()
        return envelope

    async def get(self) -> tuple[M, _Reply]:
        while (envelope := self.take()) is None:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return envelope

    def close(self, reason: BaseException | None) -> None:
        if self.closed:
            return
        self.closed = True
        if not isinstance(reason, asyncio.CancelledError):  # it tells nothing, and its traceback
            self._reason = reason  # would keep whatever the actor was working on
        for _, reply in self._envelopes:
            if reply is not None and not reply.done():
                reply.set_exception(self.dead())
        self._envelopes.clear()
        while self._writers:
            self._wake_a_writer()

    def dead(self) -> ActorDead:
        why = self._reason
        if why is None:
            return ActorDead(f"{self.name} has ended")
        dead = ActorDead(f"{self.name} has ended: {type(why).__name__}: {why}")
        dead.__cause__ = why
        return dead

    def _wake_a_writer(self) -> None:
        while self._writers:
            room = self._writers.popleft()
            if not room.done():
                room.set_result(None)
                return


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
