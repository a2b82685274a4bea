"""The links of one node process: one bidirectional gRPC stream per peer process.

All workloads and edges between two nodes share the stream; frames are packed once per turn of the
loop, because a gRPC operation costs the same whatever it carries. Streams carry raw bytes (generic
handlers, no serializer).

Whichever end can dial, dials. To save the race the node with the smaller name dials at once, the
other only after `DIAL_DELAY` without a link; if both did all the same, the smaller name's stream
is kept. A broken stream is dialled again for as long as a workload needs the peer, at once if it
had held for a moment: all of a network waits for one broken link. The sessions above see to it
that nothing is lost or repeated. A peer without a link for `grace` seconds is
given up, and so is one that broke the rules `BREACHES` times; its workloads are told.

A stream ends from its own end, see `peer_streams`; so the links have to be left before their server
is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
import grpc.aio

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Frame
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.transports.peer_streams import CLOSING, Stream
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.codec import Encoder, Link, Message_

METHOD = "/p2pdo.v1.Peer/Link"
DIAL_DELAY = 1.0
REDIAL_PAUSE = 0.2
"""Seconds from one attempt's beginning to the next one's, at least."""
GRACE = 8.0
BREACHES = 3
BACKLOG = 4096
BACKLOG_EACH = 64
"""Messages, and of each workload, that may wait to be written while the peer goes on talking.

Sessions need no more than ten; who asks on and reads no answer would have us keep them all.
"""

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
        self,
        node: NodeId,
        boot_id: str,
        token: str | None,
        *,
        grace: float = GRACE,
        value_limit: int | None = None,
        host: Host = THIS_HOST,
    ) -> None:
        """No value of more than `value_limit` bytes is taken; see `wire.codec.VALUE_LIMIT`."""
        self.node = node
        self.hello = Link(node, boot_id)
        self.token = token
        self.grace = grace
        self.host = host
        self._peers: dict[NodeId, _Peer] = {}
        self._block = contextlib.AsyncExitStack()
        self._group: asyncio.TaskGroup | None = None
        self.value_limit = value_limit
        self.encoder = Encoder()  # of all streams: a value goes to many peers
        self._accepted: dict[Stream, asyncio.Event] = {}  # with the event of its end
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self._group = await self._block.enter_async_context(task_group())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        for peer in self._peers.values():
            peer.end()
        for stream in self._accepted:
            stream.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                for ended in list(self._accepted.values()):
                    await ended.wait()
        await self._block.__aexit__(kind, error, traceback)

    def register(self, server: grpc.aio.Server) -> None:
        """Lets peers dial us by this server."""
        rpc.add_method(server, METHOD, grpc.stream_stream_rpc_method_handler(self._accept))

    def open(
        self, workload: WorkloadId, port: Port, addresses: Mapping[NodeId, str]
    ) -> WorkloadWire:
        """Joins a workload to its peers; links come up as they can, and are told to `port`."""
        for name, address in addresses.items():
            self._peer(name).add(workload, port, address)
        return WorkloadWire(self, workload)

    def close(self, workload: WorkloadId) -> None:
        """Leaves a workload; a stream that no workload needs is closed."""
        for peer in list(self._peers.values()):
            peer.remove(workload)

    def send(self, workload: WorkloadId, peer: NodeId, frame: Frame) -> None:
        link = self._peers.get(peer)
        if link is not None and link.stream is not None:
            link.stream.send((workload, frame))

    def forget(self, name: NodeId) -> None:
        """Keeps nothing about a peer that no workload needs and no stream leads to."""
        self._peers.pop(name, None)

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
        if self._is_closed:
            return
        stream = Stream(self.encoder, requests, context.write, limit=self.value_limit)
        stream.send(self.hello)
        ended = self._accepted[stream] = asyncio.Event()
        try:
            await self.serve(stream, None)
        except RemoteProtocolError as error:
            if not self._is_closed:
                _log.warning("a link was refused: %s", error.message)
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        except rpc.BROKEN as error:
            _log.debug("a link broke: %r", error)
        finally:
            del self._accepted[stream]
            ended.set()

    async def serve(self, stream: Stream, expected: NodeId | None) -> None:
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


class _Peer:
    """One peer process: the stream to it, if any, and the workloads that need it."""

    def __init__(self, links: PeerLinks, name: NodeId) -> None:
        self.name = name
        self.ports: dict[WorkloadId, Port] = {}
        self.stream: Stream | None = None
        self._since = _now()  # when the stream came, or, where there is none, went
        self._reason = "it never answered"  # why there is no stream
        self._breaches = 0
        self._links = links
        self._address = ""
        self._changed = asyncio.Event()  # set at each change of stream or ports
        self._dialler: asyncio.Task[None] | None = None
        self._has_ended = False

    # ---- workloads ----

    def add(self, workload: WorkloadId, port: Port, address: str) -> None:
        self.ports[workload] = port
        self._address = address
        if self.stream is not None:
            asyncio.get_running_loop().call_soon(self._greet, workload)
        if self._dialler is None or self._dialler.done():
            self._since = _now()
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
        self._has_ended = True
        self._changed.set()
        if self.stream is not None:
            self.stream.close()
        elif self._dialler is not None:
            self._dialler.cancel()

    def _forget(self) -> None:
        """Leaves no trace where nobody needs one."""
        is_dialling = self._dialler is not None and not self._dialler.done()
        if not (self.ports or self.stream or is_dialling):
            self._links.forget(self.name)

    # ---- the stream ----

    async def run(self, stream: Stream) -> None:
        """Makes `stream` the link, unless there is a better one, and runs it to its end.

        Raises:
            RemoteProtocolError: the peer broke a rule.
        """
        if not self._is_better(stream):
            return
        if self.stream is not None:
            self.stream.close()
            self._drop(self.stream)
        self.stream = stream
        self._since = _now()
        self._changed.set()
        for workload in list(self.ports):
            self._greet(workload)
        if stream.dialled_by_us and not self.ports:
            stream.close()  # the last workload has left while we dialled
        try:
            await stream.run(
                lambda message: self._receive(stream, message), self.ports.__contains__
            )
        except RemoteProtocolError as error:
            self._drop(stream)
            self._reason = f"it broke a rule, {error.message}, and does not come back"
            self._breaches += 1
            if self._breaches >= BREACHES:
                self._give_up(f"it broke the rules {self._breaches} times: {error.message}")
            raise
        finally:
            self._drop(stream)
            self._forget()

    def _is_better(self, stream: Stream) -> bool:
        """Of two streams dialled at once the smaller name's is kept; otherwise the later one.

        Who dials has no link: a link that is not new, and that the peer dials in spite of, is one
        that only this end still believes in.
        """
        if self._has_ended:
            return False
        if self.stream is None or self.stream.dialled_by_us == stream.dialled_by_us:
            return True
        if self.stream.dialled_by_us and _now() - self._since > 2 * DIAL_DELAY:
            return True
        return stream.dialled_by_us == (self._links.node < self.name)

    def _drop(self, stream: Stream) -> None:
        if self.stream is not stream:
            return
        self.stream = None
        self._since = _now()
        self._reason = "the link broke and it does not answer"
        self._changed.set()
        for port in list(self.ports.values()):
            port.link_down(self.name)

    def _receive(self, stream: Stream, message: Message_) -> None:
        if not isinstance(message, tuple):
            raise RemoteProtocolError(f"{self.name} sent {type(message).__name__} on a peer link")
        workload, frame = message
        port = self.ports.get(workload)
        if port is None or self.stream is not stream:
            return  # not configured here yet, or over, or said on an earlier link: sessions know
        port.receive(self.name, frame)
        if stream.waiting > BACKLOG + BACKLOG_EACH * len(self.ports):
            raise RemoteProtocolError(f"{self.name} goes on asking and does not read the answers")

    def _give_up(self, reason: str) -> None:
        for port in list(self.ports.values()):
            port.lost(self.name, reason)

    # ---- dialling ----

    async def _keep_link(self) -> None:
        """Keeps a link up while a workload needs the peer; tells them when it is given up."""
        while self.ports and not self._has_ended:
            ours = self._since + (DIAL_DELAY if self._links.node > self.name else 0.0)
            if self.stream is not None:
                await self._change(None)
            elif _now() - self._since > self._links.grace:
                self._give_up(f"{self._reason} at {self._address}")
                return
            elif _now() < ours:  # a moment and not a rest of time: rests may be too small to add
                await self._change(ours)
            else:
                next_attempt = _now() + REDIAL_PAUSE
                await self._dial()
                if _now() < next_attempt and not self._has_ended:
                    await self._change(next_attempt)
        self._dialler = None
        self._forget()

    async def _change(self, until: float | None) -> None:
        """Waits for a change of stream or ports, or until then."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()

    async def _dial(self) -> None:
        """One attempt; returns when the stream has ended."""
        async with self._links.host.channel(self._address) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(
                metadata=rpc.metadata(self._links.token)
            )
            links = self._links
            stream = Stream(
                links.encoder, call, call.write, call.done_writing, limit=links.value_limit
            )
            stream.send(self._links.hello)
            try:
                async with asyncio.timeout_at(self._since + self._links.grace):
                    await call.wait_for_connection()
                await self._links.serve(stream, self.name)
            except (*rpc.BROKEN, TimeoutError) as error:
                _log.debug("no link to %s at %s: %r", self.name, self._address, error)
            except RemoteProtocolError as error:
                self._reason = error.message
                _log.warning("link to %s at %s: %s", self.name, self._address, error.message)
            finally:
                call.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
