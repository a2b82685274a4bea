"""The observer of a local run: nodes send it their observed states, it answers with verdicts.

One stream per node, straight to the launcher, never by the coordinator: no server sees a value.
The launcher owns all the data, so it may see the states; nobody else runs an observer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from p2pdo.errors import RemoteProtocolError, Unreachable
from p2pdo.protocol.judging import Judgement, Report
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.wire.codec import Decoder, Message_, Verdict, encode, pack_frames

METHOD = "/p2pdo.v1.Observer/Observe"


class ObserverServer:
    """The launcher's end: hands every report to `receive`, tells every node of judgements."""

    def __init__(self, receive: Callable[[Report], None]) -> None:
        self._receive = receive
        self._outboxes: set[_Outbox] = set()

    def register(self, server: grpc.aio.Server) -> None:
        rpc.add_method(server, METHOD, grpc.stream_stream_rpc_method_handler(self._serve))

    def tell(self, judgement: Judgement) -> None:
        for outbox in self._outboxes:
            outbox.put(Verdict(judgement.iteration, judgement.stop))

    async def _serve(
        self,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> None:
        """Reads to the node's end of the stream.

        The verdicts are written out and never cancelled: gRPC loses the end of a call whose
        handler returns while a write is under way, and the node would wait for it.
        """
        outbox = _Outbox()
        self._outboxes.add(outbox)
        refused: RemoteProtocolError | None = None
        async with task_group() as group:
            group.create_task(outbox.drain(context.write), name="verdicts")
            try:
                await self._read_all(requests)
            except RemoteProtocolError as error:
                refused = error
            finally:
                self._outboxes.discard(outbox)
                outbox.close()
        if refused is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, refused.message)

    async def _read_all(self, requests: AsyncIterator[bytes]) -> None:
        decoder = Decoder()
        async for data in requests:
            for message in decoder.feed(data):
                if isinstance(message, Report):
                    self._receive(message)


class ObserverClient:
    """A node's end; `runtime.driver.Observer`."""

    def __init__(self, address: str, token: str | None, host: Host = THIS_HOST) -> None:
        self._address = address
        self._token = token
        self._host = host
        self._outbox = _Outbox()

    def observe(self, report: Report) -> None:
        self._outbox.put(report)

    def finish(self) -> None:
        """Nothing more will be observed; `run` ends when the launcher has taken all of it."""
        self._outbox.close()

    async def run(self, judge: Callable[[int, bool], None]) -> None:
        """Carries reports and verdicts until `finish`, or the launcher is gone.

        `judge(iteration, stop)` is called with each verdict, in order.

        Raises:
            grpc.aio.AioRpcError: the launcher is gone, or refused us.
            Unreachable: it ended the stream before we did.
        """
        async with self._host.channel(self._address) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(
                metadata=rpc.metadata(self._token)
            )
            try:
                async with task_group() as group:
                    writer = group.create_task(self._write(call), name="reports")
                    decoder = Decoder()
                    async for data in call:
                        for message in decoder.feed(data):
                            if isinstance(message, Verdict):
                                judge(message.iteration, message.stop)
                    writer.cancel()
            finally:
                call.cancel()
        if not self._outbox.is_closed:
            raise Unreachable(
                f"the run's launcher at {self._address} has closed the stream of states",
                hint="look at what the launcher says",
            )

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        await self._outbox.drain(call.write)
        with contextlib.suppress(*rpc.BROKEN):
            await call.done_writing()  # the launcher reads to the end, then ends the call


class _Outbox:
    """Messages on their way to one stream; bounded by what the driver lets wait for judgement."""

    def __init__(self) -> None:
        self._messages: list[Message_] = []
        self._pending = asyncio.Event()
        self.is_closed = False

    def put(self, message: Message_) -> None:
        self._messages.append(message)
        self._pending.set()

    def close(self) -> None:
        self.is_closed = True
        self._pending.set()

    async def drain(self, write: Callable[[bytes], Awaitable[object]]) -> None:
        """Writes what is put in until it is closed and empty, or the stream has broken.

        That it has broken is for its reader to tell.
        """
        with contextlib.suppress(*rpc.BROKEN):
            while self._messages or not self.is_closed:
                await self._pending.wait()
                self._pending.clear()
                messages, self._messages = self._messages, []
                for data in pack_frames(frame for message in messages for frame in encode(message)):
                    await write(data)
