"""MB/s from one process to another: memory, a TCP socket, and the links between two nodes.

    python benchmarks/one_way.py --way memcpy|tcp|bare|grpc --megabytes 4 [--seconds 1]

Prints one line of JSON, {"mb_per_s": …}. The receiver says when the last byte is there, so what
waits in buffers does not count. Over the links (grpc) go whole frames of the values' stream, four
of them under way, as sessions send them. Bare is grpc.aio and nothing else: the same bytes object
again and again, in pieces of the same size, which nobody looks at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from p2pdo.environment import keep_memory
from p2pdo.protocol.frames import Ack, Data, EffectKind, Frame, Tag
from p2pdo.transports import rpc
from p2pdo.transports.peers import PeerLinks
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.codec import CHUNK

if TYPE_CHECKING:
    import grpc.aio

WORK = WorkloadId("one-way")
UNDER_WAY = 4
SENDER, RECEIVER = NodeId("a"), NodeId("b")


def timed(send: Callable[[int], None], size: int, seconds: float) -> float:
    """MB/s; `send(k)` returns when k values are at the other end."""
    send(2)
    count, taken = 1, 0.0
    while taken < seconds:
        count = max(count, min(10 * count, int(count * 1.2 * seconds / taken))) if taken else count
        began = time.perf_counter()
        send(count)
        taken = time.perf_counter() - began
    return count * size / taken / 1e6


def memcpy(size: int, seconds: float) -> float:
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)

    def send(count: int) -> None:
        for _ in range(count):
            np.copyto(target, source)

    return timed(send, size, seconds)


# ---- a socket ----


def tcp(size: int, seconds: float) -> float:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with receiving(_receive_tcp, theirs, size):
        end = socket.create_connection(ours.recv())
        data = np.ones(size, np.uint8)

        def send(count: int) -> None:
            ours.send(count)
            for _ in range(count):
                end.sendall(data)
            ours.recv()

        return timed(send, size, seconds)


def _receive_tcp(pipe: Connection, size: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname())
    end, _ = listener.accept()
    data = memoryview(np.empty(size, np.uint8))
    while True:
        for _ in range(pipe.recv()):
            view = data
            while view:
                view = view[end.recv_into(view) :]
        pipe.send(None)


class receiving:  # noqa: N801 - reads as a with-statement
    """The other process, for as long as the block lasts."""

    def __init__(
        self, work: Callable[[Connection, int], None], pipe: Connection, size: int
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(target=work, args=(pipe, size), daemon=True)

    def __enter__(self) -> None:
        self._process.start()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


# ---- the links ----


class Sender:
    """Sends values as the receiver has taken them; it answers each with its number."""

    def __init__(self, size: int) -> None:
        self.up = asyncio.Event()
        self.links: PeerLinks | None = None
        self._value = np.ones(size // 4, np.float32)
        self._value.setflags(write=False)
        self._sent = self._taken = 0
        self._moved = asyncio.Event()

    def link_up(self, _peer: NodeId) -> None:
        self.up.set()

    def link_down(self, peer: NodeId) -> None:
        """At the end; before it, `lost` follows."""

    def lost(self, peer: NodeId, reason: str) -> None:
        raise RuntimeError(f"{peer} is lost: {reason}")

    def receive(self, _peer: NodeId, frame: Frame) -> None:
        assert isinstance(frame, Ack)
        self._taken = frame.receive_next
        self._moved.set()

    async def send(self, count: int) -> None:
        assert self.links is not None
        last = self._sent + count
        while self._taken < last:
            while self._sent < min(last, self._taken + UNDER_WAY):
                tag = Tag(self._sent, 0, EffectKind.MIX)
                self.links.send(WORK, RECEIVER, Data(self._sent, tag, self._value))
                self._sent += 1
            self._moved.clear()
            await self._moved.wait()


class Receiver(Sender):
    def receive(self, _peer: NodeId, frame: Frame) -> None:
        assert isinstance(frame, Data)
        assert self.links is not None
        self.links.send(WORK, SENDER, Ack(frame.seq + 1, frame.seq + 1 + UNDER_WAY))


async def _receive_links(pipe: Connection) -> None:
    server = rpc.make_server(None)
    address = rpc.bind(server, "127.0.0.1:0")
    async with PeerLinks(RECEIVER, "boot-b", None) as links:
        links.register(server)
        await server.start()
        port = Receiver(0)
        port.links = links
        links.open(WORK, port, {SENDER: "127.0.0.1:9"})  # the sender dials
        pipe.send(address)
        await asyncio.Event().wait()


def _receive_grpc(pipe: Connection, _size: int) -> None:
    import uvloop

    keep_memory()
    uvloop.run(_receive_links(pipe))


def links(size: int, seconds: float) -> float:
    return on_a_loop(_receive_grpc, _over_links, size, seconds)


def on_a_loop(
    receive: Callable[[Connection, int], None],
    over: Callable[[str, int, float], Coroutine[Any, Any, float]],
    size: int,
    seconds: float,
) -> float:
    """As a node does: on uvloop, with malloc told to keep what is freed."""
    import uvloop

    keep_memory()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with (
        receiving(receive, theirs, size),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(over(ours.recv(), size, seconds))


async def _over_links(address: str, size: int, seconds: float) -> float:
    async with PeerLinks(SENDER, "boot-a", None) as links:
        port = Sender(size)
        port.links = links
        links.open(WORK, port, {RECEIVER: address})
        await port.up.wait()
        return await timed_on_a_loop(port.send, size, seconds)


async def timed_on_a_loop(
    send: Callable[[int], Awaitable[None]], size: int, seconds: float
) -> float:
    """`timed`, of a send that is awaited."""
    await send(2)
    count, taken = 1, 0.0
    while taken < seconds:
        if taken:
            count = max(count, min(10 * count, int(count * 1.2 * seconds / taken)))
        began = time.perf_counter()
        await send(count)
        taken = time.perf_counter() - began
    return count * size / taken / 1e6


# ---- grpc.aio alone ----

METHOD = "/bare/way"


async def _receive_all(pipe: Connection, size: int) -> None:
    import grpc

    async def answer(
        requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        came = 0
        async for piece in requests:
            came += len(piece)
            if came == size:
                came = 0
                await context.write(b"1")

    server = rpc.make_server(None)
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(answer)
    service, method = METHOD.strip("/").split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    pipe.send(rpc.bind(server, "127.0.0.1:0"))
    await server.start()
    await asyncio.Event().wait()


def _receive_bare(pipe: Connection, size: int) -> None:
    import uvloop

    keep_memory()
    uvloop.run(_receive_all(pipe, size))


def bare(size: int, seconds: float) -> float:
    return on_a_loop(_receive_bare, _over_grpc, size, seconds)


async def _over_grpc(address: str, size: int, seconds: float) -> float:
    pieces = [bytes(min(CHUNK, size - at)) for at in range(0, size, CHUNK)]
    async with rpc.make_channel(address) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()

        async def write(count: int, room: asyncio.Semaphore) -> None:
            for _ in range(count):
                await room.acquire()
                for piece in pieces:
                    await call.write(piece)

        async def send(count: int) -> None:
            room = asyncio.Semaphore(UNDER_WAY)
            writing = asyncio.create_task(write(count, room))
            for _ in range(count):
                await call.read()
                room.release()
            await writing

        rate = await timed_on_a_loop(send, size, seconds)
        call.cancel()
        return rate


WAYS = {"memcpy": memcpy, "tcp": tcp, "bare": bare, "grpc": links}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--megabytes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    rate = WAYS[options.way](options.megabytes * 1_000_000, options.seconds)
    print(json.dumps({"mb_per_s": rate}))


if __name__ == "__main__":
    main()
