"""Links over real gRPC on loopback, with a TCP proxy between the nodes that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np
import pytest

from p2pdo.effects import Row, freeze
from p2pdo.errors import LinkLost, P2pdoError
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Ack, EffectKind, Hello, Tag
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports import peers, rpc
from p2pdo.transports.peers import METHOD, PeerLinks
from p2pdo.types import NodeId, Value, WorkloadId
from p2pdo.wire.codec import Encoder, Link, Message_, Verdict, encode

WORK = WorkloadId("w")
TOKEN = "the run's token"  # noqa: S105
LIMIT = 30.0

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("error")]


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


# ---- the ordinary course ----


async def test_values_cross_both_ways_small_and_twenty_megabytes() -> None:
    async with pair() as (a, b):
        members = a.join(b.address), b.join(a.address)
        got = await converse(*members, rounds=50)
        assert got[0] == [1000.0 + k for k in range(50)]
        await converse(*members, rounds=2, size=2_500_000, start=50)
        assert len(a.links._accepted) + len(b.links._accepted) == 1, "one stream for both ways"


async def test_two_workloads_share_one_stream_and_end_apart() -> None:
    async with pair() as (a, b):
        first = a.join(b.address), b.join(a.address)
        await converse(*first, rounds=3)
        second = a.join(b.address, WorkloadId("v")), b.join(a.address, WorkloadId("v"))
        await asyncio.gather(converse(*second, rounds=20), converse(*first, rounds=20, start=3))
        for end in (a, b):
            end.links.close(WORK)
        await converse(*second, rounds=5, start=20)
        assert len(a.links._accepted) + len(b.links._accepted) == 1
        for end in (a, b):
            end.links.close(WorkloadId("v"))
            end.links.close(WorkloadId("never opened"))
        await eventually(lambda: not a.links._peers and not b.links._peers)


async def test_a_workload_that_is_opened_late_loses_nothing() -> None:
    async with pair() as (a, b):
        early = a.join(b.address)
        sending = asyncio.create_task(converse(early, rounds=3))
        await eventually(lambda: a.links._peers[NodeId("b")].stream is not None)
        late = b.join(a.address)
        assert await converse(late, rounds=3) == [[0.0, 1.0, 2.0]]
        await sending


@pytest.mark.parametrize("seed", range(5))
async def test_both_ends_dial_and_one_link_remains(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(peers, "DIAL_DELAY", 0.0)
    async with pair() as (a, b):
        members = a.join(b.address), b.join(a.address)
        await converse(*members, rounds=100 * seed)
        await eventually(lambda: len(a.links._accepted) + len(b.links._accepted) == 1)
        await converse(*members, rounds=100, start=100 * seed)
        assert len(a.links._accepted) + len(b.links._accepted) == 1


# ---- broken links ----


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_a_broken_stream_is_dialled_again_and_nothing_is_lost_or_doubled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    async with pair() as (a, b), Proxy(b.address) as to_b, Proxy(a.address) as to_a:
        to_b.cut_at = sorted(rng.integers(500, 300_000, 6).tolist())
        members = a.join(to_b.address), b.join(to_a.address)
        got = await converse(*members, rounds=150, size=100)
        assert got[0] == [1000.0 + k for k in range(150)]
        assert got[1] == [float(k) for k in range(150)]
        assert to_b.cuts + to_a.cuts >= 3


@pytest.mark.slow
async def test_a_large_value_that_is_cut_in_the_middle_comes_whole() -> None:
    async with pair() as (a, b), Proxy(b.address) as proxy:
        proxy.cut_at = [1_000_000, 9_000_000, 30_000_000]
        members = a.join(proxy.address), b.join(a.address)
        await converse(*members, rounds=2, size=1_000_000)
        assert proxy.cuts >= 3


async def test_a_link_that_was_up_for_longer_than_the_grace_is_dialled_again() -> None:
    async with pair(grace=0.4) as (a, b), Proxy(b.address) as proxy:
        members = a.join(proxy.address), b.join(a.address)
        began, k = asyncio.get_running_loop().time(), 0
        while asyncio.get_running_loop().time() - began < 0.6:
            await converse(*members, rounds=10, start=k)
            k += 10
        proxy.cut()
        await converse(*members, rounds=10, start=k)


async def test_a_link_that_has_held_is_dialled_again_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All nodes of a network wait for one link: cuts every 0.3 s and a pause of 0.2 s leave little.
    monkeypatch.setattr(peers, "REDIAL_PAUSE", 0.1)
    pauses: list[float] = []  # of a, which dials
    change = peers._Peer._change

    async def seen(peer: Any, at_most: float | None) -> None:
        if peer.name == "b" and at_most is not None:
            pauses.append(at_most)
        await change(peer, at_most)

    monkeypatch.setattr(peers._Peer, "_change", seen)
    async with pair() as (a, b), Proxy(b.address) as proxy:
        members = a.join(proxy.address), b.join(a.address)
        await converse(*members, rounds=3)
        await asyncio.sleep(0.1)  # by then it has held
        monkeypatch.setattr(peers, "REDIAL_PAUSE", 3600.0)
        proxy.cut()
        await converse(*members, rounds=3, start=3)
        assert pauses == []
        proxy.cut()
        await eventually(lambda: bool(pauses))  # the new one has not held for long


async def test_who_has_lost_the_link_gets_a_new_one_from_an_end_that_still_believes_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # b hears of the break; a, whose name is smaller and who had dialled, does not.
    monkeypatch.setattr(peers, "DIAL_DELAY", 0.05)
    async with pair() as (a, b):
        members = a.join(b.address), b.join(a.address)
        await converse(*members, rounds=3)
        believed = a.links._peers[NodeId("b")]
        assert believed.stream is not None
        believed._since -= 1.0  # it has been up for a while
        monkeypatch.setattr(b.links._peers[NodeId("a")], "_has_ended", False)
        lost = b.links._peers[NodeId("a")]
        assert lost.stream is not None
        lost._drop(lost.stream)
        await converse(*members, rounds=3, start=3)


# ---- a peer that is not there ----


async def test_an_unreachable_peer_is_named_after_the_grace() -> None:
    async with pair(grace=0.5) as (a, _):
        with pytest.raises(LinkLost, match=r"a lost its neighbour b .* never answered at") as lost:
            await converse(a.join("127.0.0.1:1"), rounds=1)
        assert lost.value.node == "b"


async def test_a_port_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, nobody reads
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with pair(grace=0.5) as (a, _):
            with pytest.raises(LinkLost, match="b"):
                await converse(a.join(address), rounds=1)


async def test_a_server_that_never_greets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "GREETING", 0.2)
    server = rpc.make_server(None)

    async def mute(requests: Any, context: Any) -> None:
        await context.send_initial_metadata(())
        async for _ in requests:
            pass

    register(server, mute)
    address = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    async with pair(grace=0.5) as (a, _):
        with pytest.raises(LinkLost, match="did not say who it is"):
            await converse(a.join(address), rounds=1)
    await server.stop(None)


def register(server: grpc.aio.Server, handler: Any) -> None:
    service, method = METHOD.strip("/").split("/")
    made: Any = grpc.stream_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: made}),)
    )


async def test_another_node_at_the_address_is_not_taken_for_the_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pair(grace=0.5) as (a, _), node("c") as c:
        with pytest.raises(LinkLost, match="b was dialled, 'c' answered"):
            await converse(a.join(c.address), rounds=1)


async def test_a_peer_that_vanishes_is_named_after_the_grace() -> None:
    async with asyncio.timeout(LIMIT), node("a", grace=0.4) as a:
        async with node("b") as b:
            members = a.join(b.address), b.join(a.address)
            await converse(*members, rounds=5)
        with pytest.raises(LinkLost, match="the link broke and it does not answer") as lost:
            await converse(members[0], rounds=1, start=5)
        assert lost.value.iteration == 5


# ---- those who break the rules ----


@contextlib.asynccontextmanager
async def honest_pair_goes_on() -> AsyncIterator[tuple[Node, Node]]:
    """Both converse before, while and after the block does its worst."""
    async with pair() as (a, b):
        members = a.join(b.address), b.join(a.address)
        await converse(*members, rounds=3)
        going = asyncio.create_task(converse(*members, rounds=200, start=3))
        yield a, b
        await going
        await converse(*members, rounds=3, start=203)


@contextlib.asynccontextmanager
async def stream_to(address: str, token: str | None = TOKEN) -> AsyncIterator[Any]:
    async with rpc.make_channel(address) as channel:
        call: Any = channel.stream_stream(METHOD)(metadata=rpc.metadata(token))
        try:
            yield call
        finally:
            call.cancel()


async def ended_with(call: Any) -> grpc.StatusCode:
    async with asyncio.timeout(LIMIT):
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        return await call.code()


async def test_random_bytes_on_the_port_disturb_nobody() -> None:
    rng = np.random.default_rng(0)
    async with honest_pair_goes_on() as (_, b):
        host, port = rpc.split_address(b.address)
        for size in (1, 100, 10_000):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(rng.bytes(size))
            with contextlib.suppress(ConnectionError):
                if size == 1:
                    writer.write_eof()
                await reader.read(-1)
            writer.close()


@pytest.mark.parametrize("token", [None, "", "another", TOKEN + " "])
async def test_without_the_token_nothing_is_read(token: str | None) -> None:
    async with honest_pair_goes_on() as (_, b), stream_to(b.address, token) as call:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call.write(b"".join(encode(Link("a", "boot"))))
        # A write that crosses the refusal may hide its reason behind the reset of the stream.
        refusals = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL)
        assert await ended_with(call) in refusals
        assert len(b.links._accepted) <= 1, "the handler never saw it"


@pytest.mark.parametrize(
    "first",
    [
        b"garbage",
        b"",
        b"".join(encode(Verdict(1, True))),
        b"".join(encode(Link("b", "the name of the one who is dialled"))),
        b"".join(encode(Link("mallory", "boot"))) + b"garbage",
        b"".join(encode(Link("mallory", "boot"))) + b"".join(encode(Verdict(1, True))),
    ],
)
async def test_a_wrong_first_frame_is_refused(
    first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with honest_pair_goes_on() as (_, b), stream_to(b.address) as call:
        await call.write(first)
        assert await ended_with(call) is grpc.StatusCode.INVALID_ARGUMENT
        await eventually(lambda: "mallory" not in b.links._peers)


async def test_who_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "GREETING", 0.2)
    async with honest_pair_goes_on() as (_, b), stream_to(b.address) as call:
        assert await ended_with(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_impostor_who_then_talks_rubbish_costs_a_new_link_and_no_value() -> None:
    async with pair() as (a, b):
        members = a.join(b.address), b.join(a.address)
        await converse(*members, rounds=3)
        async with stream_to(b.address) as call:
            await call.write(b"".join(encode(Link("a", "not the real one"))))
            await call.read()
            await call.write(b"rubbish")
            assert await ended_with(call) is grpc.StatusCode.INVALID_ARGUMENT
        await converse(*members, rounds=3, start=3)


async def test_a_peer_that_breaks_the_rules_three_times_is_given_up() -> None:
    async with pair() as (_, b):
        waiting = asyncio.create_task(converse(b.join("127.0.0.1:1"), rounds=1))
        for _ in range(peers.BREACHES):
            async with stream_to(b.address) as call:
                await call.write(b"".join(encode(Link("a", "boot"))))
                await call.read()
                await call.write(b"rubbish")
                await ended_with(call)
        with pytest.raises(LinkLost, match=r"a .* broke the rules 3 times: a frame's lengths"):
            await waiting


async def test_a_peer_that_asks_on_and_does_not_read_the_answers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "BACKLOG", 10)
    monkeypatch.setattr(peers, "BACKLOG_EACH", 20)
    async with pair() as (_, b):
        b.join("127.0.0.1:1")
        async with stream_to(b.address) as call:
            await call.write(b"".join(encode(Link("a", "boot"))))
            await call.read()
            hello = b"".join(encode((WORK, Hello(b"topology", 0, 4, answer=False))))
            await call.write(hello * 40)
            assert await ended_with(call) is grpc.StatusCode.INVALID_ARGUMENT
            assert "a goes on asking and does not read the answers" in await call.details()


async def test_a_write_of_many_messages_leaves_the_loop_to_others() -> None:
    received: list[Message_] = []
    seen: set[int] = set()  # how far the reading was, whenever somebody else had a turn

    async def reads() -> AsyncIterator[bytes]:
        yield b"".join(encode((WORK, Ack(0, 0)))) * (10 * peers.TURN)

    async def write(_: bytes) -> None:
        raise AssertionError("there is nothing to say")

    async def other() -> None:
        while len(received) < 10 * peers.TURN:
            seen.add(len(received))
            await asyncio.sleep(0)

    going = asyncio.create_task(other())
    await peers._Stream(Encoder(), reads(), write).run(received.append, lambda _: False)
    await going
    assert len(seen) >= 10


async def test_a_value_beyond_the_limit_is_told_and_not_tried_for_ever() -> None:
    async with pair(value_limit=8000) as (a, b):
        members = a.join(b.address), b.join(a.address)
        await converse(*members, rounds=1, size=1000)
    async with pair(value_limit=7999) as (a, b):
        members = a.join(b.address), b.join(a.address)
        with pytest.raises(P2pdoError, match="a value of 8000 bytes is announced"):
            await converse(*members, rounds=1, size=1000)


# ---- the end ----

QUIET = """
    import asyncio, gc, sys
    sys.path.insert(0, {folder!r})
    import p2pdo.environment
    import test_peers as t
    {loop}

    async def main(how):
        asyncio.get_running_loop().slow_callback_duration = 60.0  # not what is asked here
        async with t.pair() as (a, b):
            members = a.join(b.address), b.join(a.address)
            await t.converse(*members, rounds=10)
            if how == "busy":
                talk = [t.converse(member, rounds=10**6, start=10) for member in members]
                going = [asyncio.create_task(talking) for talking in talk]
                await asyncio.sleep(0.2)
                for task in going:
                    task.cancel()
                await asyncio.gather(*going, return_exceptions=True)
            if how == "stranger":
                channel = t.rpc.make_channel(b.address)
                call = channel.stream_stream(t.METHOD)(metadata=t.rpc.metadata(t.TOKEN))
                await call.wait_for_connection()
            if how == "error":
                raise KeyError("on purpose")
        left = asyncio.all_tasks() - {{asyncio.current_task()}}
        assert how == "stranger" or not left, left

    try:
        asyncio.run(main({how!r}))
    except KeyError:
        assert {how!r} == "error"
    gc.collect()
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["", "import uvloop; uvloop.install()"], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["calm", "busy", "stranger", "error"])
async def test_leaving_the_links_leaves_no_task_and_says_nothing(loop: str, how: str) -> None:
    folder = __file__.rsplit("/", 1)[0]
    script = textwrap.dedent(QUIET).format(folder=folder, loop=loop, how=how)
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
