"""Links over real gRPC on loopback, with a TCP proxy between the nodes that can be cut."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
from typing import Any

import grpc
import grpc.aio
import linked_nodes
import numpy as np
import pytest
from linked_nodes import LIMIT, WORK, Proxy, converse, eventually, node, pair

from p2pdo.errors import LinkLost
from p2pdo.transports import peer_streams, peers, rpc
from p2pdo.transports.peers import METHOD
from p2pdo.types import NodeId, WorkloadId

pytestmark = [pytest.mark.asyncio, pytest.mark.filterwarnings("error")]


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
    async with pair() as (a, b), Proxy(b.address) as to_b, Proxy(a.address) as to_a:
        to_b.cut_at = to_a.cut_at = [1_000_000, 5_000_000, 9_000_000]  # whoever dials meets them
        members = a.join(to_b.address), b.join(to_a.address)
        await converse(*members, rounds=2, size=1_000_000)
        assert to_b.cuts + to_a.cuts >= 3


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
    monkeypatch.setattr(peer_streams, "GREETING", 0.2)
    server = rpc.make_server(None)

    async def mute(requests: Any, context: Any) -> None:
        await context.send_initial_metadata(())
        async for _ in requests:
            pass

    rpc.add_method(server, METHOD, grpc.stream_stream_rpc_method_handler(mute))
    address = rpc.bind(server, "127.0.0.1:0")
    await server.start()
    async with pair(grace=0.5) as (a, _):
        with pytest.raises(LinkLost, match="did not say who it is"):
            await converse(a.join(address), rounds=1)
    await server.stop(None)


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


# ---- the end ----

QUIET = """
    import asyncio, gc, sys
    sys.path.insert(0, {folder!r})
    import p2pdo.environment
    import linked_nodes as t
    from p2pdo.transports.peers import METHOD
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
                call = channel.stream_stream(METHOD)(metadata=t.rpc.metadata(t.TOKEN))
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
    folder = linked_nodes.__file__.rsplit("/", 1)[0]
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
