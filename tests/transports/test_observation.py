from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from p2pdo.errors import RemoteProtocolError, Unreachable
from p2pdo.protocol.judging import Judgement, Report
from p2pdo.transports import rpc
from p2pdo.transports.observation import METHOD, ObserverClient, ObserverServer
from p2pdo.wire.codec import encode

TOKEN = "the run's token"  # noqa: S105
LIMIT = 20.0

pytestmark = pytest.mark.asyncio


def report(iteration: int, size: int = 4, node: int = 0) -> Report:
    return Report(node, iteration, np.full(size, float(iteration)), 10 * iteration, iteration)


def judgement(iteration: int, *, stop: bool = False) -> Judgement:
    return Judgement(iteration, 0.0, 0.0, 0.0, 0, 0, stop)


@contextlib.asynccontextmanager
async def launcher(receive: Callable[[Report], None]) -> AsyncIterator[tuple[ObserverServer, str]]:
    async with asyncio.timeout(LIMIT):
        observer = ObserverServer(receive)
        server = rpc.make_server(TOKEN)
        observer.register(server)
        address = rpc.bind(server, "127.0.0.1:0")
        await server.start()
        try:
            yield observer, address
        finally:
            await server.stop(None)


async def test_states_go_out_and_verdicts_come_back_in_order() -> None:
    got: list[Report] = []
    heard: list[tuple[int, bool]] = []
    last = asyncio.Event()

    def receive(report: Report) -> None:
        got.append(report)
        observer.tell(judgement(report.iteration, stop=report.iteration == 49))

    def judge(iteration: int, stop: bool) -> None:
        heard.append((iteration, stop))
        if stop:
            last.set()

    async with launcher(receive) as (observer, address), asyncio.TaskGroup() as group:
        client = ObserverClient(address, TOKEN)
        group.create_task(client.run(judge))
        for k in range(50):
            client.observe(report(k))
        await last.wait()
        client.finish()
    assert heard == [(k, k == 49) for k in range(50)]
    assert [r.iteration for r in got] == list(range(50))
    assert (got[7].bytes_sent, got[7].messages_sent, got[7].x.tolist()) == (70, 7, [7.0] * 4)


async def test_a_run_that_was_finished_ends_when_the_launcher_has_read_all() -> None:
    for _ in range(5):
        got: list[int] = []
        async with launcher(lambda r, got=got: got.append(r.iteration)) as (_, address):  # type: ignore[misc]
            client = ObserverClient(address, TOKEN)
            for k in range(6):
                client.observe(report(k, size=500_000))
            client.finish()
            await client.run(lambda *_: None)
            assert got == list(range(6))


async def test_verdicts_that_are_under_way_do_not_swallow_the_end() -> None:
    def receive(report: Report) -> None:
        observer.tell(judgement(report.iteration))

    async with launcher(receive) as (observer, address):
        for _ in range(20):
            heard: list[int] = []
            client = ObserverClient(address, TOKEN)
            client.observe(report(0))
            client.finish()
            await client.run(lambda iteration, _, heard=heard: heard.append(iteration))  # type: ignore[misc]
            assert heard == [0]


async def test_a_launcher_that_goes_away_is_told() -> None:
    async with launcher(lambda _: None) as (_, address):
        client = ObserverClient(address, TOKEN)
        running = asyncio.create_task(client.run(lambda *_: None))
        client.observe(report(0))
        await asyncio.sleep(0)
    with pytest.raises((grpc.aio.AioRpcError, Unreachable)):
        await running


async def test_a_launcher_that_is_not_there_is_told() -> None:
    client = ObserverClient("127.0.0.1:1", TOKEN)
    client.observe(report(0))
    with pytest.raises(grpc.aio.AioRpcError):
        await client.run(lambda *_: None)


async def test_without_the_token_no_state_is_taken() -> None:
    got: list[Report] = []
    async with launcher(got.append) as (_, address):
        client = ObserverClient(address, "another")
        client.observe(report(0))
        with pytest.raises(grpc.aio.AioRpcError):
            await client.run(lambda *_: None)
    assert got == []


async def refusal(address: str, data: bytes) -> tuple[grpc.StatusCode, str]:
    async with rpc.make_channel(address) as channel:
        call: Any = channel.stream_stream(METHOD)(metadata=rpc.metadata(TOKEN))
        await call.write(data)
        with contextlib.suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        return await call.code(), await call.details()


async def test_who_says_something_else_is_refused_and_the_others_go_on() -> None:
    got: list[int] = []
    async with launcher(lambda r: got.append(r.iteration)) as (_, address):
        client = ObserverClient(address, TOKEN)
        running = asyncio.create_task(client.run(lambda *_: None))
        client.observe(report(1))
        code, _ = await refusal(address, b"garbage")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        client.observe(report(2))
        client.finish()
        await running
    assert got == [1, 2]


async def test_what_the_judge_refuses_is_told_to_its_sender() -> None:
    def receive(report: Report) -> None:
        raise RemoteProtocolError("a state came from node 99 of 8")

    async with launcher(receive) as (_, address):
        refused = await refusal(address, b"".join(encode(report(0, node=99))))
    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "a state came from node 99 of 8")


QUIET = """
    import asyncio, gc, sys
    sys.path.insert(0, {folder!r})
    import p2pdo.environment
    import test_observation as t
    {loop}

    async def main():
        arrived = asyncio.Event()
        async with t.launcher(lambda _: arrived.set()) as (observer, address):
            client = t.ObserverClient(address, t.TOKEN)
            running = asyncio.create_task(client.run(lambda *_: None))
            client.observe(t.report(0))
            await arrived.wait()
            observer.tell(t.judgement(0))
        await asyncio.gather(running, return_exceptions=True)
        left = asyncio.all_tasks() - {{asyncio.current_task()}}
        assert not left, left

    asyncio.run(main())
    gc.collect()
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["", "import uvloop; uvloop.install()"], ids=["asyncio", "uvloop"])
async def test_stopping_the_server_under_an_open_stream_says_nothing(loop: str) -> None:
    script = textwrap.dedent(QUIET).format(folder=__file__.rsplit("/", 1)[0], loop=loop)
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
