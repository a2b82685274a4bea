"""gRPC's calls over a simulated network: what a client holds, and what a handler is given.

Of `grpc.aio` there is what p2pdo uses, with its rules: a call begins when it is made, not when it
is awaited; whoever is cancelled while it waits for a call cancels the call; a handler is cancelled
when its client is gone; a call that breaks is UNAVAILABLE at the client. Messages are bytes on the
way, made by the serializers that gRPC would use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, NoReturn

import grpc
import grpc.aio

from p2pdo.simulation.hosts.network import HostNetwork, Way

Serialize = Callable[[Any], bytes]
Deserialize = Callable[[bytes], Any]


class ClientCall:
    """A call at the end that made it; all four shapes of gRPC's."""

    def __init__(
        self,
        network: HostNetwork,
        ways: tuple[Way, Way],
        serialize: Serialize,
        deserialize: Deserialize,
    ) -> None:
        self.up, self.down = ways
        self.ends = frozenset((self.up.sender, self.up.receiver))
        self.began = asyncio.get_running_loop().time()
        self.served: ServedCall | None = None
        self._network = network
        self._serialize = serialize
        self._deserialize = deserialize
        self._responses: deque[bytes] = deque()
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._is_connected = False
        self._has_closed = False  # its own side
        self._changed = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self.feeding: asyncio.Task[None] | None = None
        network.add(self)

    # ---- what gRPC offers ----

    def cancel(self) -> bool:
        if self._status is not None:
            return False
        self._leave(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
        return True

    def done(self) -> bool:
        return self._status is not None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        await self._until(lambda: self._status is not None)
        self._raise_for_status()
        return self._deserialize(self._responses.popleft())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def read(self) -> Any:
        await self._until(lambda: bool(self._responses) or self._status is not None)
        if self._responses:
            return self._deserialize(self._responses.popleft())
        self._raise_for_status()
        return grpc.aio.EOF

    async def write(self, message: Any) -> None:
        self._require_open()
        self._send("data", self._serialize(message), lambda served, data: served.take(data))
        await self._moment()

    async def done_writing(self) -> None:
        if self._status is None and not self._has_closed:
            self._has_closed = True
            self._send("close", b"", lambda served, _: served.half_close())
            await self._moment()

    async def wait_for_connection(self) -> None:
        await self._until(lambda: self._is_connected or self._status is not None)
        self._raise_for_status()

    # ---- its life ----

    def end_after(self, seconds: float) -> None:
        """Gives it a deadline."""
        loop = asyncio.get_running_loop()
        late = (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._deadline = loop.call_later(seconds, self._leave, *late)

    def connected(self, _data: bytes) -> None:
        self._is_connected = True
        self._changed.set()

    def take(self, data: bytes) -> None:
        """A message has come."""
        self._responses.append(data)
        self._changed.set()

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """It is over; the first reason stays."""
        if self._status is not None:
            return
        self._status = (code, details)
        if self._deadline is not None:
            self._deadline.cancel()
        if self.feeding is not None:
            self.feeding.cancel()
        self._changed.set()

    def finished(self, code: grpc.StatusCode, details: str) -> None:
        """The other end has ended it: nothing of it is under way any more."""
        self._network.discard(self)
        self.end(code, details)

    def break_off(self, why: str) -> None:
        """The connection under it is gone, at both ends."""
        self._network.discard(self)
        self.up.pending.clear()
        self.down.pending.clear()
        self.end(grpc.StatusCode.UNAVAILABLE, why)
        if self.served is not None:
            self.served.client_is_gone()

    def _leave(self, code: grpc.StatusCode, details: str) -> None:
        """Ends it from here, and tells the other end; until then it can still be broken."""
        if self._status is None:
            self._network.carry(self.up, "cancel", b"", self._left)
            self.end(code, details)

    def _left(self, _data: bytes) -> None:
        self._network.discard(self)
        if self.served is not None:
            self.served.client_is_gone()

    def _send(self, what: str, data: bytes, act: Callable[[ServedCall, bytes], None]) -> None:
        def arrive(came: bytes) -> None:
            if self.served is not None:
                act(self.served, came)

        self._network.carry(self.up, what, data, arrive)

    def _require_open(self) -> None:
        if self._status is not None or self._has_closed:
            raise asyncio.InvalidStateError("RPC already finished.")

    def _raise_for_status(self) -> None:
        code, details = self._status or (grpc.StatusCode.OK, "")
        if code is not grpc.StatusCode.OK:
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(code, nothing, nothing, details=details)

    async def _until(self, met: Callable[[], bool]) -> None:
        try:
            while not met():
                self._changed.clear()
                await self._changed.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def _moment(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancel()
            raise


class ServedCall:
    """The same call at the end that serves it; also the handler's context."""

    def __init__(self, network: HostNetwork, client: ClientCall, *, is_echo: bool = False) -> None:
        """An echo is a call that was made twice: nobody waits for its answer."""
        self.task: asyncio.Task[None] | None = None
        self._network = network
        self._client = client
        self._is_echo = is_echo
        self._handler: Any = None
        self._requests: deque[bytes] = deque()
        self._is_complete = False  # the client sends no more
        self._is_over = False
        self._changed = asyncio.Event()

    # ---- what a handler may do ----

    async def send_initial_metadata(self, _metadata: object) -> None:
        await asyncio.sleep(0)

    async def write(self, message: Any) -> None:
        if self._is_over:
            raise grpc.aio.UsageError("RPC already finished.")
        serialize = self._handler.response_serializer or bytes
        self._tell("data", serialize(message), self._client.take)
        await asyncio.sleep(0)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        self.finish(code, details)
        raise grpc.aio.AbortError("Locally aborted.")

    # ---- what comes ----

    def take(self, data: bytes) -> None:
        self._requests.append(data)
        self._changed.set()

    def half_close(self) -> None:
        self._is_complete = True
        self._changed.set()

    def client_is_gone(self) -> None:
        self._is_over = True
        if self.task is not None:
            self.task.cancel()

    # ---- serving ----

    async def serve(self, handler: Any) -> None:
        """Runs the handler to its end and tells how it ended."""
        self._handler = handler
        asks = self._requests_in_turn() if handler.request_streaming else await self._request()
        if handler.response_streaming:
            behave = handler.stream_stream if handler.request_streaming else handler.unary_stream
            outcome = behave(asks, self)
            if hasattr(outcome, "__aiter__"):
                async for message in outcome:
                    await self.write(message)
            else:
                await outcome
        else:
            behave = handler.stream_unary if handler.request_streaming else handler.unary_unary
            await self.write(await behave(asks, self))
        self.finish(grpc.StatusCode.OK, "")

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        """Tells the client how it ended; the first reason stays."""
        if not self._is_over:
            self._is_over = True
            self._tell(
                code.name, details.encode(), lambda said: self._client.finished(code, said.decode())
            )

    async def _request(self) -> Any:
        while not self._requests:
            self._changed.clear()
            await self._changed.wait()
        return self._read()

    async def _requests_in_turn(self) -> AsyncIterator[Any]:
        while True:
            while self._requests:
                yield self._read()
            if self._is_complete:
                return
            self._changed.clear()
            await self._changed.wait()

    def _read(self) -> Any:
        deserialize = self._handler.request_deserializer or bytes
        return deserialize(self._requests.popleft())

    def _tell(self, what: str, data: bytes, arrive: Callable[[bytes], None]) -> None:
        if not self._is_echo:
            self._network.carry(self._client.down, what, data, arrive)

    def welcome(self) -> None:
        self._tell("connected", b"", self._client.connected)
