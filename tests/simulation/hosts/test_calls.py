"""One conversation over gRPC and over the simulated network: what both ends see is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from p2pdo.simulation.hosts.deployment import run_hosts
from p2pdo.simulation.hosts.endpoints import Ports
from p2pdo.simulation.hosts.machine import SimulatedHost
from p2pdo.simulation.hosts.network import HostNetwork
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host

TOKEN = "t" * 32


class Talk:
    """A service of all four shapes, and what its handlers have met."""

    def __init__(self) -> None:
        self.met: list[str] = []
        self.was_cancelled = asyncio.Event()

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
            "Refuse": grpc.unary_unary_rpc_method_handler(self._refuse),
            "Break": grpc.unary_unary_rpc_method_handler(self._break),
            "Hold": grpc.unary_unary_rpc_method_handler(self._hold),
            "Count": grpc.unary_stream_rpc_method_handler(self._count),
            "Sum": grpc.stream_unary_rpc_method_handler(self._sum),
            "Talk": grpc.stream_stream_rpc_method_handler(self._talk),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))

    async def _echo(self, request: bytes, _context: Any) -> bytes:
        return request

    async def _refuse(self, _request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        raise AssertionError("unreachable")

    async def _break(self, _request: bytes, _context: Any) -> bytes:
        raise KeyError("a bug")

    async def _hold(self, _request: bytes, _context: Any) -> bytes:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        raise AssertionError("unreachable")

    async def _count(self, request: bytes, context: Any) -> None:
        for i in range(int(request)):
            await context.write(b"%d" % i)

    async def _sum(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        return b"%d" % sum([int(request) async for request in requests])

    async def _talk(self, requests: AsyncIterator[bytes], context: Any) -> None:
        try:
            async for request in requests:
                await context.write(request[::-1])
            await context.write(b"bye")
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


Conversation = Callable[[grpc.aio.Channel, Talk, grpc.aio.Server], Awaitable[object]]
SHOWN = rpc.metadata(TOKEN)


async def status_of(call: Any) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code(), failure.value.details()


async def answers(channel: grpc.aio.Channel, _talk: Talk, _server: grpc.aio.Server) -> object:
    async def some() -> AsyncIterator[bytes]:
        for number in (b"1", b"2", b"39"):
            yield number

    return [
        await channel.unary_unary("/t.T/Echo")(b"hello", metadata=SHOWN),
        [m async for m in channel.unary_stream("/t.T/Count")(b"3", metadata=SHOWN)],
        await channel.stream_unary("/t.T/Sum")(some(), metadata=SHOWN),
    ]


async def both_ways(channel: grpc.aio.Channel, _talk: Talk, _server: grpc.aio.Server) -> object:
    call: Any = channel.stream_stream("/t.T/Talk")(metadata=SHOWN)
    await call.wait_for_connection()
    heard = []
    for word in (b"abc", b"def"):
        await call.write(word)
        heard.append(await call.read())
    await call.done_writing()
    heard.append(await call.read())
    ended = await call.read() is grpc.aio.EOF
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(b"too late")
    return heard, ended


async def refusals(channel: grpc.aio.Channel, _talk: Talk, _server: grpc.aio.Server) -> object:
    unary = channel.unary_unary
    bug, _ = await status_of(unary("/t.T/Break")(b"", metadata=SHOWN))
    nothing, _ = await status_of(unary("/t.T/Nothing")(b"", metadata=SHOWN))
    return [
        await status_of(unary("/t.T/Refuse")(b"", metadata=SHOWN)),
        bug,
        nothing,
        await status_of(unary("/t.T/Echo")(b"")),
        await status_of(unary("/t.T/Echo")(b"", metadata=rpc.metadata("another"))),
    ]


async def a_deadline(channel: grpc.aio.Channel, talk: Talk, _server: grpc.aio.Server) -> object:
    code, _ = await status_of(channel.unary_unary("/t.T/Hold")(b"", timeout=0.2, metadata=SHOWN))
    await talk.was_cancelled.wait()
    return code


async def a_cancelled_caller(
    channel: grpc.aio.Channel, talk: Talk, _server: grpc.aio.Server
) -> object:
    call: Any = channel.stream_stream("/t.T/Talk")(metadata=SHOWN)
    await call.write(b"abc")
    assert await call.read() == b"cba"
    reading = asyncio.ensure_future(call.read())
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await talk.was_cancelled.wait()
    return call.done()


async def a_stopped_server(
    channel: grpc.aio.Channel, talk: Talk, server: grpc.aio.Server
) -> object:
    call: Any = channel.stream_stream("/t.T/Talk")(metadata=SHOWN)
    await call.wait_for_connection()
    await call.write(b"abc")
    assert await call.read() == b"cba"
    await server.stop(None)
    await talk.was_cancelled.wait()
    broken, _ = await status_of(call.read())
    after, _ = await status_of(channel.unary_unary("/t.T/Echo")(b"", metadata=SHOWN))
    return broken in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), after


async def a_closed_channel(
    channel: grpc.aio.Channel, talk: Talk, _server: grpc.aio.Server
) -> object:
    call: Any = channel.stream_stream("/t.T/Talk")(metadata=SHOWN)
    await call.wait_for_connection()
    await channel.close()
    await talk.was_cancelled.wait()
    with pytest.raises(grpc.aio.UsageError):
        await channel.unary_unary("/t.T/Echo")(b"", metadata=SHOWN)
    return call.done()


async def held(host: Host, peer: Host, conversation: Conversation) -> object:
    talk = Talk()
    server = host.server(TOKEN)
    talk.register(server)
    address = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    try:
        async with asyncio.timeout(20), peer.channel(address) as channel:
            return await conversation(channel, talk, server)
    finally:
        await server.stop(None)


def simulated(conversation: Conversation) -> object:
    async def main() -> object:
        network, ports = HostNetwork(seed=1), Ports()
        hosts = [SimulatedHost(network, ports, name) for name in ("server", "client")]
        return await held(*hosts, conversation)

    return run_hosts(1, main)


@pytest.mark.parametrize(
    "conversation",
    [
        answers,
        both_ways,
        refusals,
        a_deadline,
        a_cancelled_caller,
        a_stopped_server,
        a_closed_channel,
    ],
)
def test_a_simulated_call_is_seen_as_one_of_grpc(conversation: Conversation) -> None:
    real = asyncio.run(held(THIS_HOST, THIS_HOST, conversation))
    assert simulated(conversation) == real


def test_two_servers_on_one_port_are_an_error() -> None:
    async def main() -> None:
        host = SimulatedHost(HostNetwork(1), Ports(), "a")
        address = rpc.bind(host.server(None), "127.0.0.1:0")
        with pytest.raises(Exception, match="the port is in use"):
            rpc.bind(host.server(None), address)

    run_hosts(1, main)


def test_nobody_listens() -> None:
    async def main() -> tuple[grpc.StatusCode, str | None]:
        host = SimulatedHost(HostNetwork(1), Ports(), "a")
        async with host.channel("127.0.0.1:9") as channel:
            return await status_of(channel.unary_unary("/t.T/Echo")(b""))

    assert run_hosts(1, main)[0] is grpc.StatusCode.UNAVAILABLE
