"""Optimizations and participants to their ends, with nodes that this test plays."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from played_nodes import (
    CONFIGURED,
    HASTY,
    FakeNode,
    coordinator,
    optimization,
    tasks_spec,
    up,
)

from p2pdo.coordinator.settings import Settings
from p2pdo.errors import (
    ConfigError,
    NotFound,
    P2pdoError,
)
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as wire

# ---- an optimization ----


@pytest.mark.asyncio
async def test_an_optimization_goes_from_configuring_to_done(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "b", "a", "c")
        workload = await client.submit(optimization())
        digests = set()
        for node in nodes:
            (config,) = await node.tasks()
            payload = json.loads(config.payload)
            assert (config.executor, config.name) == ("optimization", "config")
            assert payload["name"] == node.name
            assert payload["index"] == "abc".index(node.name)
            assert len(payload["neighbors"]) == 2
            digests.add(payload["digest"])
            smoothness = {"a": 1.0, "b": 4.0, "c": 2.0}[node.name]
            await node.report(config, result={"dimension": 3, "smoothness": smoothness})
        assert len(digests) == 1
        for node in nodes:
            assert (await client.get(workload)).status == "running"
            (run,) = await node.tasks()
            assert run.name == "run_algorithm"
            assert json.loads(run.payload)["parameters"]["step_size"] > 0
            await node.report(run, result={"iterations": 20})
        final = await client.finished(workload)
        assert final.status == "done"
        assert [json.loads(member.result) for member in final.members] == [{"iterations": 20}] * 3
        assert json.loads(final.resolved)["smoothness"] == 4.0
        for node in nodes:
            assert await node.ends() == {workload: "done"}


@pytest.mark.asyncio
async def test_a_parameter_that_the_network_tells_is_the_same_at_every_node(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b", "c", "d")
        ring = optimization(algorithm={"name": "fastmix", "parameters": {}}, nodes=4)
        await client.submit(ring)
        for node in nodes:
            (config,) = await node.tasks()
            await node.report(config, result={"dimension": 3, "smoothness": 1.0})
        for node in nodes:
            (run,) = await node.tasks()
            slem = json.loads(run.payload)["parameters"]["slem"]
            assert slem == pytest.approx(1 / 3), "Metropolis weights on a ring of four"


@pytest.mark.asyncio
async def test_a_member_tells_in_plain_words_where_its_task_is(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        a, _ = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        (task,) = await a.tasks()
        assert (await client.get(workload)).members[0].state == "at the node"
        await a.report(task, result=CONFIGURED)
        assert (await client.get(workload)).members[0].state == "succeeded"


@pytest.mark.asyncio
async def test_no_node_is_told_the_end_before_the_slowest_is_done(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        a, b = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        for node in (a, b):
            await node.report(*await node.tasks(), result=CONFIGURED)
        await a.report(*await a.tasks(), result={})
        other = await client.submit(tasks_spec("a"), "r2")
        await client.send(other, "s1", ("a", 1))
        orders = await a.orders()  # the next word after its own end is about another workload
        assert not orders.ends
        assert orders.tasks[0].workload_id == other
        await b.report(*await b.tasks(), result={})
        assert await a.ends() == {workload: "done"}


@pytest.mark.asyncio
async def test_a_failing_task_fails_the_workload_with_its_node_and_iteration(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        for node in nodes:
            await node.report(*await node.tasks(), result=CONFIGURED)
        error = {"code": "task-failed", "message": "ValueError: x", "iteration": 7}
        (run,) = await nodes[1].tasks()
        await nodes[1].report(run, ok=False, result=error | {"traceback": "T"})
        final = await client.finished(workload)
        told = json.loads(final.error)
        assert final.status == "failed"
        assert (told["node"], told["iteration"], told["traceback"]) == ("b", 7, "T")
        (run,) = await nodes[0].tasks()
        assert await nodes[0].ends() == {workload: "failed: ValueError: x"}
        assert await nodes[0].report(run, result={}) == ["STALE_ATTEMPT"]


@pytest.mark.asyncio
async def test_different_dimensions_fail_the_workload(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        for dimension, node in enumerate(nodes, start=3):
            await node.report(*await node.tasks(), result=CONFIGURED | {"dimension": dimension})
        final = await client.finished(workload)
        assert "3 at a, 4 at b" in json.loads(final.error)["message"]


@pytest.mark.asyncio
async def test_a_node_whose_connection_breaks_fails_its_workload_by_name(tmp_path: Path) -> None:
    async with coordinator(tmp_path, HASTY) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        for node in nodes:
            await node.report(*await node.tasks(), result=CONFIGURED)
        await nodes[1].metrics(workload, (10, 0.1, 5, 1))
        nodes[1].cut()
        final = await client.finished(workload)
        told = json.loads(final.error)
        assert told["message"].startswith("node b was lost: its connection broke")
        assert (told["node"], told["iteration"]) == ("b", 10)
        assert (await nodes[0].ends())[workload].startswith("failed: node b was lost")


@pytest.mark.asyncio
async def test_a_silent_node_is_lost_when_its_lease_is_over(tmp_path: Path) -> None:
    async with coordinator(tmp_path, Settings(lease_seconds=0.2)) as client:
        await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        final = await client.finished(workload)
        message = json.loads(final.error)["message"]
        assert message == "node a was lost: no sign of life for 0.2 s"
        nodes = (await client.call("ListNodes", wire.ListNodesRequest())).nodes
        assert [node.state for node in nodes] == ["lost"]


@pytest.mark.asyncio
async def test_a_restarted_node_fails_its_optimization(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        await nodes[1].hang_up()
        again = FakeNode(client, "b", "b2")
        await again.join()
        assert "node b was restarted" in (await client.finished(workload)).error


@pytest.mark.asyncio
async def test_a_node_that_leaves_fails_its_optimization(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        await nodes[0].leave()
        assert json.loads((await client.finished(workload)).error)["message"] == "node a left"


@pytest.mark.asyncio
async def test_stop_ends_a_workload_at_once_and_only_once(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        request = wire.StopRequest(workload_id=workload, reason="enough")
        assert (await client.call("Stop", request)).status == "stopped"
        assert (await client.call("Stop", request)).status == "stopped"
        assert await node.ends() == {workload: "stopped: enough"}
        assert json.loads((await client.get(workload)).error)["code"] == "workload-stopped"
        with pytest.raises(NotFound):
            await client.call("Stop", wire.StopRequest(workload_id="nothere1"))


@pytest.mark.asyncio
async def test_of_the_lanes_that_a_node_tells_those_to_members_are_shown_while_it_runs(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b", "c")
        workload = await client.submit(optimization(nodes=2))
        told = {"b": "grpc", "c": "grpc", "nobody": "shared-memory"}
        for lanes in ({}, {**told, "b": "a tale"}, told, told):  # with each batch
            await client.call(
                "PushMetrics",
                wire.PushMetricsRequest(
                    node="a", boot_id=nodes[0].boot_id, workload_id=workload, lanes=lanes
                ),
            )
        shown = {member.node: dict(member.lanes) for member in (await client.get(workload)).members}
        assert shown == {"a": {"b": "grpc"}, "b": {}}
        (brief,) = (await client.call("ListWorkloads", wire.ListWorkloadsRequest())).workloads
        assert not any(member.lanes for member in brief.members)


# ---- participants ----


def logged_point(node: FakeNode, workload: str, iteration: int, logged: str) -> Any:
    point = wire.MetricPoint(iteration=iteration, seconds=0.5, logged=logged)
    return node.client.call(
        "PushMetrics",
        wire.PushMetricsRequest(
            node=node.name, boot_id=node.boot_id, workload_id=workload, points=[point]
        ),
    )


PARTICIPANT = {
    "kind": "participant",
    "participant": {"name": "train", "parameters": {"lr": 0.5}},
    "nodes": 2,
    "rounds": 7,
}


@pytest.mark.asyncio
async def test_a_participant_lives_the_life_of_an_optimization_also_over_a_restart(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(PARTICIPANT)
        for node in nodes:
            (config,) = await node.tasks()
            payload = json.loads(config.payload)
            assert (config.executor, config.name) == ("participant", "config")
            assert payload["participant"] == {**PARTICIPANT["participant"], "where": None}
            assert (payload["rounds"], payload["record"], payload["nodes"]) == (7, [], 2)
            await node.report(config, result={})
        for node in nodes:
            (run,) = await node.tasks()
            assert (run.executor, run.name) == ("participant", "run_participant")
            assert json.loads(run.payload) == {"parameters": {"lr": 0.5}}
            await logged_point(node, workload, 1, json.dumps({"loss": 0.25, "odd": None}))
    async with coordinator(tmp_path) as client:
        nodes = [FakeNode(client, name) for name in "ab"]
        for node in nodes:
            await node.join()
            await node.open()
        events = client.watch(workload)
        assert (await anext(events)).status.status == "running"
        metric = (await anext(events)).metric
        assert json.loads(metric.logged) == {
            "loss": {"a": 0.25, "b": 0.25},
            "odd": {"a": None, "b": None},
        }
        for node in nodes:
            (run,) = await node.tasks()
            await node.report(run, result={"result": {"accuracy": 1.0}})
        final = await client.finished(workload)
        assert final.status == "done"
        assert [json.loads(m.result)["result"] for m in final.members] == [{"accuracy": 1.0}] * 2


@pytest.mark.asyncio
@pytest.mark.parametrize("logged", ["[1]", '{"a": "b"}', "{", json.dumps({"a" * 20_000: 1})])
async def test_what_is_no_number_by_name_is_not_logged(tmp_path: Path, logged: str) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(PARTICIPANT | {"nodes": 1})
        with pytest.raises(P2pdoError, match="not numbers by name"):
            await logged_point(node, workload, 1, logged)


# ---- states ----


@pytest.mark.asyncio
async def test_a_state_comes_back_as_it_was_pushed(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1, return_states=True))
        data = bytes(range(256)) * 3000
        await node.push_state(workload, data, chunk=100_000)
        request = wire.FetchStateRequest(workload_id=workload, node="a")
        chunks = [c.data async for c in client.stub.FetchState(request)]
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) == 256 * 1024
        call = client.stub.FetchState(wire.FetchStateRequest(workload_id=workload, node="../a"))
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await call.read()
        assert isinstance(decode_error(missing.value), NotFound)
    assert os.listdir(tmp_path / "workloads" / workload / "states") == ["a.safetensors"]  # noqa: PTH208


@pytest.mark.asyncio
async def test_a_state_that_the_disk_does_not_take_is_told(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1, return_states=True))
        (tmp_path / "workloads").mkdir()
        (tmp_path / "workloads" / workload).write_text("in the way")
        with pytest.raises(
            P2pdoError, match="cannot keep the final state at the coordinator"
        ) as caught:
            await node.push_state(workload, b"x")
        assert "--return-states" in str(caught.value.hint)
        assert (caught.value.node, caught.value.workload) == ("a", workload)


@pytest.mark.asyncio
async def test_a_state_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        with pytest.raises(ConfigError, match="does not return states"):
            await node.push_state(workload, b"x")
