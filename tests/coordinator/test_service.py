"""Who may join a coordinator, and what may be submitted to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from played_nodes import (
    Client,
    FakeNode,
    coordinator,
    optimization,
    up,
)

from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotEnoughNodes,
    NotFound,
    Unreachable,
)
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as wire

# ---- joining ----


@pytest.mark.asyncio
async def test_a_node_that_joins_is_told_its_lease_and_listed(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        reply = await FakeNode(client, "a").join()
        assert reply.lease_seconds == 60
        assert reply.coordinator_epoch == 1
        nodes = (await client.call("ListNodes", wire.ListNodesRequest())).nodes
        assert [(node.name, node.state) for node in nodes] == [("a", "up")]


@pytest.mark.asyncio
async def test_two_nodes_with_one_name_are_refused_while_the_first_lives(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        with pytest.raises(Conflict, match="two nodes with one name"):
            await FakeNode(client, "a", "other").join()


@pytest.mark.asyncio
async def test_a_name_is_free_again_once_its_node_has_left(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        await node.leave()
        assert await node.is_cut()
        assert not await node.heartbeat()
        await FakeNode(client, "a", "other").join()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "ä", "a\nb"])
async def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    async with coordinator(tmp_path) as client:
        with pytest.raises(ConfigError, match="is not a node's name"):
            await FakeNode(client, name).join()


@pytest.mark.asyncio
async def test_a_stream_without_joining_is_told_to_join(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        node = FakeNode(client, "a")
        await node.open()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await node.call.read()
        assert isinstance(decode_error(refused.value), NotFound)


@pytest.mark.asyncio
async def test_a_call_without_the_token_is_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path, token="secret") as client:  # noqa: S106
        await FakeNode(client, "a").join()
        async with Client(client.address) as stranger:
            with pytest.raises(Unreachable, match="token was not shown"):
                await FakeNode(stranger, "b").join()


@pytest.mark.asyncio
async def test_nobody_there_is_told_with_the_remedy() -> None:
    async with Client("127.0.0.1:9") as client:
        with pytest.raises(Unreachable, match="no coordinator answers") as told:
            await client.get("x")
        assert told.value.hint is not None
        assert "p2pdo-coordinator --listen 127.0.0.1:9" in told.value.hint


# ---- submitting ----


@pytest.mark.asyncio
async def test_the_same_request_makes_one_workload(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a", "b", "c")
        ids = await asyncio.gather(*(client.submit(optimization()) for _ in range(5)))
        assert set(ids) == {workload_id_of("r1")}
        listed = await client.call("ListWorkloads", wire.ListWorkloadsRequest())
        assert len(listed.workloads) == 1


@pytest.mark.asyncio
async def test_a_request_id_is_refused_for_another_specification(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a", "b", "c")
        first = await client.submit(optimization())
        turned = dict(reversed(optimization().items()))
        assert await client.submit(turned) == first, "the order of its keys says nothing"
        with pytest.raises(Conflict, match=f"has made workload {first}, of another") as told:
            await client.submit(optimization(rounds=21))
        assert told.value.workload == first
        listed = await client.call("ListWorkloads", wire.ListWorkloadsRequest())
        assert len(listed.workloads) == 1


@pytest.mark.asyncio
async def test_a_draining_node_is_listed_as_such_and_not_picked(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        a, *_ = await up(client, "a", "b", "c")
        await client.call("Poll", a.request({}, default=0))
        nodes = (await client.call("ListNodes", wire.ListNodesRequest())).nodes
        assert [node.state for node in nodes] == ["draining", "up", "up"]
        with pytest.raises(NotEnoughNodes, match="3 nodes are asked for, 2 are up"):
            await client.submit(optimization())
        with pytest.raises(NotEnoughNodes, match="'a' is draining"):
            await client.submit(optimization(nodes=["a", "b"]))
        workload = await client.get(await client.submit(optimization(nodes=2)))
        assert [member.node for member in workload.members] == ["b", "c"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": {"name": "gradient-trackin"}}, "unknown algorithm"),
        ({"algorithm": {"name": "dgd", "parameters": {"step": 1}}}, "no parameter 'step'"),
        ({"algorithm": {"name": "dgd", "parameters": {"step_size": -1}}}, "positive"),
        (
            {"problem": {"name": "quadratic", "parameters": {"dimension": 0}}},
            "dimension must be a whole number of at least 1, got 0",
        ),
        ({"problem": {"name": "quadratic", "parameters": {"size": 3}}}, "no parameter 'size'"),
        ({"partition": "ididd"}, "unknown partition"),
        (
            {"problem": {"name": "quadratic"}, "partition": "label-skew"},
            "no labels to skew",
        ),
        ({"topology": "rong"}, "unknown topology"),
        ({"topology": {"edges": [[0, 1]]}}, "not connected"),
        ({"topology": "directed-ring", "weights": "metropolis"}, "undirected"),
        ({"nodes": ["a", "a"]}, "each named once"),
        ({"nodes": 0}, "at least one node"),
        ({"tol": 1e-6}, "a tolerance is not available here"),
        ({"problem": {"name": "x", "parts": "runs/x"}}, "code never travels"),
        ({"algorithm": {"name": "x", "where": "m:C"}}, "code never travels"),
        ({"observer": "127.0.0.1:1"}, "observer is refused"),
        ({"timeline": 100}, "timeline is refused"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_specification_is_refused_at_once(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a", "b", "c")
        with pytest.raises(ConfigError, match=words):
            await client.submit(optimization(**changes))
        assert not (await client.call("ListWorkloads", wire.ListWorkloadsRequest())).workloads


@pytest.mark.asyncio
async def test_too_few_nodes_are_told_with_the_remedy(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        with pytest.raises(NotEnoughNodes, match="3 nodes are asked for, 1 are up"):
            await client.submit(optimization())
        with pytest.raises(NotEnoughNodes, match="'z' is not up"):
            await client.submit(optimization(nodes=["a", "z"]))


@pytest.mark.asyncio
async def test_states_are_not_asked_of_a_site_that_keeps_them(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a", "b")
        await up(client, "c", return_states=False)
        with pytest.raises(ConfigError, match="node c does not let states leave"):
            await client.submit(optimization(return_states=True))
