"""One gRPC stream between two nodes: greeted, then frames both ways, until either end closes it.

The first frame of each direction says who speaks. Nothing else is read before it, and whoever does
not say it within `GREETING` seconds is cut off.

A stream ends from its own end, never by cancelling the call under it: who dialled half-closes and
who was dialled returns, after what was still to be said.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import Any

from p2pdo.errors import RemoteProtocolError
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.types import WorkloadId
from p2pdo.wire.codec import Decoder, Encoder, Link, Message_, pack_frames

GREETING = 5.0  # seconds
CLOSING = 1.0
"""Seconds for the other end to end a stream that this end has closed."""
TURN = 256
"""Messages of one write that are handled in one turn of the loop."""


class Stream:
    """One gRPC stream, seen the same from either end."""

    def __init__(
        self,
        encoder: Encoder,
        reads: AsyncIterable[bytes],
        write: Callable[[bytes], Awaitable[Any]],
        half_close: Callable[[], Awaitable[None]] | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        """Who dialled gives `half_close`; who was dialled closes by returning."""
        self.dialled_by_us = half_close is not None
        self._encoder = encoder
        self._reads = reads
        self._write = write
        self._half_close = half_close
        self._decoder = Decoder(lambda _: False, limit)  # no value comes before the greeting
        self._outbox: list[Message_] = []
        self._pending: asyncio.Event = asyncio.Event()
        self._early: list[Message_] = []  # came in one write with the greeting
        self._greeting: asyncio.Timeout | None = None  # while it is waited for
        self._is_closed = False

    def send(self, message: Message_) -> None:
        self._outbox.append(message)
        self._pending.set()

    @property
    def waiting(self) -> int:
        """Messages that wait for what is being written."""
        return len(self._outbox)

    def close(self) -> None:
        """Ends the stream after what is in the outbox."""
        self._is_closed = True
        self._pending.set()
        if self._greeting is not None:
            self._greeting.reschedule(asyncio.get_running_loop().time())

    async def greeting(self) -> Link:
        """Who is at the other end. Our own greeting is on its way meanwhile."""
        try:
            async with asyncio.timeout(GREETING) as self._greeting:
                await self._flush()
                async for data in self._reads:
                    messages = list(self._decoder.feed(data))
                    if not messages or not isinstance(messages[0], Link):
                        break
                    self._early = messages[1:]
                    return messages[0]
        except TimeoutError:
            pass
        finally:
            self._greeting = None
        raise RemoteProtocolError("the other end did not say who it is")

    async def run(
        self, receive: Callable[[Message_], None], wants: Callable[[WorkloadId], bool]
    ) -> None:
        """Carries frames both ways until either end closes it or it breaks.

        Raises:
            RemoteProtocolError: the other end broke a rule.
        """
        self._decoder.wants = wants
        for message in self._early:
            receive(message)
        async with task_group() as group:
            reader = group.create_task(self._read_all(receive), name="reader")
            writer = group.create_task(self._write_all(), name="writer")
            reader.add_done_callback(lambda _: self._end_writing(writer))
            writer.add_done_callback(lambda _: reader.cancel())

    def _end_writing(self, writer: asyncio.Task[None]) -> None:
        """Nothing more will be read. A call that was served ends after what is being written.

        gRPC loses the end of a call whose handler returns in the middle of a write.
        """
        if self._half_close is not None:
            writer.cancel()
            return
        self.close()
        asyncio.get_running_loop().call_later(CLOSING, writer.cancel)

    async def _read_all(self, receive: Callable[[Message_], None]) -> None:
        with contextlib.suppress(*rpc.BROKEN):
            async for data in self._reads:
                messages = self._decoder.feed(data)
                while _hand_over(messages, receive):  # noqa: ASYNC110 - nobody waits: a turn
                    await asyncio.sleep(0)

    async def _write_all(self) -> None:
        with contextlib.suppress(*rpc.BROKEN):
            while self._outbox or not self._is_closed:
                await self._pending.wait()
                self._pending.clear()
                await self._flush()
            if self._half_close is not None:
                await self._half_close()
                await asyncio.sleep(CLOSING)  # till the other end has ended it, and the reader us

    async def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        frames = itertools.chain.from_iterable(map(self._encoder.encode, messages))
        for write in pack_frames(frames):
            await self._write(write)


def _hand_over(messages: Iterator[Message_], receive: Callable[[Message_], None]) -> bool:
    """Hands over what may be handled in one turn; whether there may be more.

    A function of its own, so that a reader that waits keeps no value.
    """
    handled = 0
    for message in itertools.islice(messages, TURN):
        receive(message)
        handled += 1
    return handled == TURN
