"""The links of one node process: one bidirectional gRPC stream per peer process.

All workloads and edges between two nodes share the stream; frames are packed once per turn of the
loop, because a gRPC operation costs the same whatever it carries. Streams carry raw bytes (generic
handlers, no serializer).

Whichever end can dial, dials. To save the race the node with the smaller name dials at once, the
other only after `DIAL_DELAY` without a link; if both did all the same, the smaller name's stream
is kept. A broken stream is dialled again for as long as a workload needs the peer; the sessions
above see to it that nothing is lost or repeated. A peer without a link for `grace` seconds is
given up, and its workloads are told.

The first frame of each direction says who speaks. Nothing else is read before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, Self

import grpc
import grpc.aio

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Frame
from p2pdo.transports import rpc
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.codec import Decoder, Link, Message_, encode, pack_frames

METHOD = "/p2pdo.v1.Peer/Link"
DIAL_DELAY = 1.0
REDIAL_PAUSE = 0.2
GRACE = 8.0

_log = logging.getLogger(__name__)


class Port(Protocol):
    """A workload, as the transport sees it: `runtime.exchange.Exchanger`."""

    def link_up(self, peer: NodeId) -> None: ...
    def link_down(self, peer: NodeId) -> None: ...
    def lost(self, peer: NodeId, reason: str) -> None: ...
    def receive(self, peer: NodeId, frame: Frame) -> None: ...


class PeerLinks:
    """One node's links; use as a context manager, which owns all their tasks."""

    def __init__(
        self, node: NodeId, boot_id: str, token: str | None, *, grace: float = GRACE
    ) -> None:
        self.node = node
        self.hello = Link(node, boot_id)
        self.token = token
        self.grace = grace
        self._peers: dict[NodeId, _Peer] = {}
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._group is not None, "entered"
        for peer in self._peers.values():
            peer.end()
        await self._group.__aexit__(None, None, None)

    def register(self, server: grpc.aio.Server) -> None:
        """Lets peers dial us by this server."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._accept
        )
        service, method = METHOD.strip("/").split("/")
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )

    def open(
        self, workload: WorkloadId, port: Port, addresses: Mapping[NodeId, str]
    ) -> WorkloadWire:
        """Joins a workload to its peers; links come up as they can, and are told to `port`."""
        for name, address in addresses.items():
            self._peer(name).add(workload, port, address)
        return WorkloadWire(self, workload)

    def close(self, workload: WorkloadId) -> None:
        """Leaves a workload; a stream that no workload needs is closed."""
        for name, peer in list(self._peers.items()):
            peer.remove(workload)
            if not peer.ports and peer.stream is None:
                del self._peers[name]

    def send(self, workload: WorkloadId, peer: NodeId, frame: Frame) -> None:
        link = self._peers[peer]
        if link.stream is not None:
            link.stream.send((workload, frame))

    def _peer(self, name: NodeId) -> _Peer:
        if name not in self._peers:
            self._peers[name] = _Peer(self, name)
        return self._peers[name]

    def spawn(self, work: Callable[[], Any], name: str) -> asyncio.Task[None]:
        assert self._group is not None, "links are used inside their context"
        return self._group.create_task(work(), name=name)

    async def _accept(
        self,
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, bytes],
    ) -> None:
        """Serves a peer that dialled us."""
        stream = _Stream(requests, context.write, dialled_by_us=False)
        stream.send(self.hello)
        try:
            await self.serve(stream, None)
        except RemoteProtocolError as error:
            _log.warning("a link was refused: %s", error.message)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)

    async def serve(self, stream: _Stream, expected: NodeId | None) -> None:
        """Runs a stream to its end.

        Raises:
            RemoteProtocolError: the other end broke a rule.
        """
        link = await stream.greeting()
        name = NodeId(link.node)
        if name == self.node or (expected is not None and name != expected):
            raise RemoteProtocolError(
                f"{expected or 'a peer'} was dialled, '{name}' answered",
                hint="do two nodes have one name, or was an address given to another node?",
            )
        await self._peer(name).run(stream)


class WorkloadWire:
    """One workload's way out; `runtime.exchange.Wire`."""

    def __init__(self, links: PeerLinks, workload: WorkloadId) -> None:
        self._links = links
        self._workload = workload

    def send(self, peer: NodeId, frame: Frame) -> None:
        self._links.send(self._workload, peer, frame)


class _Stream:
    """One gRPC stream, seen the same from either end."""

    def __init__(
        self,
        reads: AsyncIterable[bytes],
        write: Callable[[bytes], Awaitable[Any]],
        *,
        dialled_by_us: bool,
    ) -> None:
        self.dialled_by_us = dialled_by_us
        self._reads = aiter(reads)
        self._write = write
        self._decoder = Decoder()
        self._outbox: list[Message_] = []
        self._pending: asyncio.Event = asyncio.Event()
        self._early: list[Message_] = []  # came in one write with the greeting
        self._closed = False

    def send(self, message: Message_) -> None:
        self._outbox.append(message)
        self._pending.set()

    def close(self) -> None:
        """Ends the stream after what is in the outbox."""
        self._closed = True
        self._pending.set()

    async def greeting(self) -> Link:
        """Who is at the other end. Our own greeting is on its way meanwhile."""
        await self._flush()
        async for data in self._reads:
            messages = list(self._decoder.feed(data))
            if not messages or not isinstance(messages[0], Link):
                break
            self._early = messages[1:]
            return messages[0]
        raise RemoteProtocolError("the other end did not say who it is")

    async def run(self, receive: Callable[[Message_], None]) -> None:
        """Carries frames both ways until either end closes or breaks."""
        for message in self._early:
            receive(message)
        writer = asyncio.create_task(self._write_all())
        reader = asyncio.create_task(self._read_all(receive))
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.cancel()
            reader.cancel()
            results = await asyncio.gather(writer, reader, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, grpc.aio.AioRpcError):
                raise result

    async def _read_all(self, receive: Callable[[Message_], None]) -> None:
        async for data in self._reads:
            for message in self._decoder.feed(data):
                receive(message)

    async def _write_all(self) -> None:
        while not (self._closed and not self._outbox):
            await self._pending.wait()
            self._pending.clear()
            await self._flush()

    async def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        for write in pack_frames(frame for message in messages for frame in encode(message)):
            await self._write(write)


class _Peer:
    """One peer process: the stream to it, if any, and the workloads that need it."""

    def __init__(self, links: PeerLinks, name: NodeId) -> None:
        self.name = name
        self.ports: dict[WorkloadId, Port] = {}
        self.stream: _Stream | None = None
        self._links = links
        self._address = ""
        self._changed = asyncio.Event()  # set at each change of stream or ports
        self._dialler: asyncio.Task[None] | None = None
        self._ended = False

    # ---- workloads ----

    def add(self, workload: WorkloadId, port: Port, address: str) -> None:
        self.ports[workload] = port
        self._address = address
        if self.stream is not None:
            asyncio.get_running_loop().call_soon(self._greet, workload)
        if self._dialler is None or self._dialler.done():
            self._dialler = self._links.spawn(self._keep_link, f"link to {self.name}")

    def _greet(self, workload: WorkloadId) -> None:
        port = self.ports.get(workload)
        if port is not None and self.stream is not None:
            port.link_up(self.name)

    def remove(self, workload: WorkloadId) -> None:
        self.ports.pop(workload, None)
        if not self.ports and self.stream is not None and self.stream.dialled_by_us:
            self.stream.close()
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        if self.stream is not None:
            self.stream.close()
        if self._dialler is not None:
            self._dialler.cancel()

    # ---- the stream ----

    async def run(self, stream: _Stream) -> None:
        """Makes `stream` the link, unless there is a better one, and runs it to its end."""
        if not self._is_better(stream):
            return
        if self.stream is not None:
            self.stream.close()
            self._drop(self.stream)
        self.stream = stream
        self._changed.set()
        for workload in list(self.ports):
            self._greet(workload)
        try:
            await stream.run(self._receive)
        finally:
            self._drop(stream)

    def _is_better(self, stream: _Stream) -> bool:
        """Of two streams the one dialled by the smaller name is kept; a later one replaces."""
        if self._ended:
            return False
        if self.stream is None or self.stream.dialled_by_us == stream.dialled_by_us:
            return True
        ours_is_first = self._links.node < self.name
        return stream.dialled_by_us == ours_is_first

    def _drop(self, stream: _Stream) -> None:
        if self.stream is not stream:
            return
        self.stream = None
        self._changed.set()
        for port in list(self.ports.values()):
            port.link_down(self.name)

    def _receive(self, message: Message_) -> None:
        if not isinstance(message, tuple):
            raise RemoteProtocolError(f"{self.name} sent {type(message).__name__} on a peer link")
        workload, frame = message
        port = self.ports.get(workload)
        if port is not None:  # else it is not configured here yet, or over: sessions know
            port.receive(self.name, frame)

    # ---- dialling ----

    async def _keep_link(self) -> None:
        """Keeps a link up while a workload needs the peer; tells them when it is given up."""
        loop = asyncio.get_running_loop()
        down_since = loop.time()
        reason = "it never answered"
        while self.ports and not self._ended:
            if self.stream is not None:
                await self._change(None)
                down_since = loop.time()
                reason = "the link broke and the peer does not answer"
                continue
            if loop.time() - down_since > self._links.grace:
                for port in list(self.ports.values()):
                    port.lost(self.name, f"{reason} at {self._address}")
                return
            if self._links.node > self.name and loop.time() - down_since < DIAL_DELAY:
                await self._change(DIAL_DELAY)
                continue
            await self._dial()
            await self._change(REDIAL_PAUSE)

    async def _change(self, at_most: float | None) -> None:
        """Waits for a change of stream or ports, or so many seconds."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self._changed.wait()

    async def _dial(self) -> None:
        """One attempt; returns when the stream has ended."""
        async with rpc.make_channel(self._address) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(
                metadata=rpc.metadata(self._links.token)
            )
            stream = _Stream(call, call.write, dialled_by_us=True)
            stream.send(self._links.hello)
            try:
                async with asyncio.timeout(self._links.grace):
                    await call.wait_for_connection()
                await self._links.serve(stream, self.name)
            except (grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
                _log.debug("no link to %s at %s: %r", self.name, self._address, error)
            except RemoteProtocolError as error:
                _log.warning("link to %s at %s: %s", self.name, self._address, error.message)
            finally:
                call.cancel()
