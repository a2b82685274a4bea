"""Two nodes with links over real gRPC, and a TCP proxy between them that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from p2pdo.effects import Row, freeze
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports import rpc
from p2pdo.transports.peers import PeerLinks
from p2pdo.types import NodeId, Value, WorkloadId

WORK = WorkloadId("w")

TOKEN = "the run's token"  # noqa: S105

LIMIT = 30.0


@dataclass
class Node:
    """A server with links, one member of the pair (a, b)."""

    name: NodeId
    links: PeerLinks
    address: str
    exchanger: Exchanger = field(init=False)

    def join(self, others_address: str, workload: WorkloadId = WORK) -> Exchanger:
        index = "ab".index(self.name)
        other = NodeId("ba"[index])
        place = Place(index, self.name, (1 - index,), (1 - index,), Row(((0, 0.5), (1, 0.5))))
        self.exchanger = Exchanger(place, {1 - index: other}, b"topology")
        wire = self.links.open(workload, self.exchanger, {other: others_address})
        self.exchanger.connect(wire)
        return self.exchanger


@contextlib.asynccontextmanager
async def node(name: str, **options: Any) -> AsyncIterator[Node]:
    server = rpc.make_server(TOKEN)
    try:
        async with PeerLinks(NodeId(name), f"boot of {name}", TOKEN, **options) as links:
            links.register(server)
            address = rpc.bind(server, "127.0.0.1:0")
            await server.start()
            yield Node(NodeId(name), links, address)
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[Node, Node]]:
    async with asyncio.timeout(LIMIT), node("a", **options) as a, node("b", **options) as b:
        yield a, b


def value_of(node: int, k: int, size: int = 3) -> Value:
    return freeze(np.full(size, 1000.0 * node + k))


async def converse(
    *members: Exchanger, rounds: int, size: int = 3, start: int = 0
) -> list[list[float]]:
    """All members exchange; what each got, in order, by the first entry of the array."""

    async def member(exchanger: Exchanger) -> list[float]:
        me = exchanger._place.node
        got = []
        for k in range(start, start + rounds):
            outgoing = Outgoing(Tag(k, 0, EffectKind.EXCHANGE), value_of(me, k, size))
            inbox: Any = await exchanger.exchange(outgoing)
            got.append(float(inbox[1 - me][0]))
            assert np.array_equal(inbox[1 - me], value_of(1 - me, k, size))
        return got

    return list(await asyncio.gather(*map(member, members)))


async def eventually(holds: Callable[[], bool]) -> None:
    """Looks again and again: the other end is another stack, which has no event for us."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Proxy:
    """Passes bytes on; cuts all connections when told to, or after so many bytes."""

    def __init__(self, target: str) -> None:
        self._host, self._port = rpc.split_address(target)
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut_at: list[int] = []  # in bytes passed on, ascending
        self.passed = 0
        self.cuts = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        for writers in list(self._connections):
            self.cuts += 1
            for writer in writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await asyncio.open_connection(self._host, self._port)
        self._connections.add((writer, back))
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._connections.discard((writer, back))
            writer.close()
            back.close()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                self.passed += len(data)
                if self.cut_at and self.passed >= self.cut_at[0]:
                    del self.cut_at[0]
                    self.cut()
                    return
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
