"""Peers that break the rules of a link cost their own links and nobody else's values."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from linked_nodes import LIMIT, TOKEN, WORK, Node, converse, eventually, pair

from p2pdo.errors import LinkLost, P2pdoError
from p2pdo.protocol.frames import Ack, Hello
from p2pdo.transports import peer_streams, peers, rpc
from p2pdo.transports.peers import METHOD
from p2pdo.wire.codec import Encoder, Link, Message_, Verdict, encode

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("error")]


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
    monkeypatch.setattr(peer_streams, "GREETING", 0.2)
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
        yield b"".join(encode((WORK, Ack(0, 0)))) * (10 * peer_streams.TURN)

    async def write(_: bytes) -> None:
        raise AssertionError("there is nothing to say")

    async def other() -> None:
        while len(received) < 10 * peer_streams.TURN:
            seen.add(len(received))
            await asyncio.sleep(0)

    going = asyncio.create_task(other())
    await peer_streams.Stream(Encoder(), reads(), write).run(received.append, lambda _: False)
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
