"""The coordinator over real gRPC on loopback, with nodes that this test plays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from p2pdo.coordinator.service import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotEnoughNodes,
    NotFound,
    P2pdoError,
    Unreachable,
)
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.transports import rpc
from p2pdo.wire.errors import decode_error
from p2pdo.wire.v1 import coordinator_pb2 as wire, coordinator_pb2_grpc as wire_grpc

PATIENT = Settings(lease_seconds=60, rejoin_grace=60)
HASTY = Settings(lease_seconds=60, rejoin_grace=0.01)
CONFIGURED = {"dimension": 3, "smoothness": 2.0}


class Client:
    """The service's calls; a refusal is raised as the error that it carries."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self.channel = rpc.make_channel(address)
        self.stub: Any = wire_grpc.CoordinatorStub(self.channel)
        self.metadata = rpc.metadata(token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self.stub, method)(request, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            raise decode_error(error, self.address) from None

    async def submit(self, spec: dict[str, Any], request_id: str = "r1") -> str:
        request = wire.SubmitRequest(request_id=request_id, spec=json.dumps(spec))
        return (await self.call("Submit", request)).workload_id

    async def get(self, workload: str) -> wire.Workload:
        return await self.call("GetWorkload", wire.GetWorkloadRequest(workload_id=workload))

    async def send(self, workload: str, request_id: str, *tasks: tuple[str, Any]) -> list[str]:
        new = [wire.NewTask(node=n, name="echo", payload=json.dumps(p)) for n, p in tasks]
        request = wire.SendTasksRequest(workload_id=workload, request_id=request_id, tasks=new)
        return list((await self.call("SendTasks", request)).task_ids)

    async def finished(self, workload: str) -> wire.Workload:
        """Watches until the end; the last status."""
        return [e async for e in self.watch(workload) if e.HasField("status")][-1].status

    async def watch(self, workload: str) -> AsyncIterator[wire.WorkloadEvent]:
        async for event in self.stub.Watch(
            wire.WatchRequest(workload_id=workload), metadata=self.metadata
        ):
            yield event


class FakeNode:
    """A node: what it is sent is in `tasks` and `ends`, in order of arrival."""

    def __init__(
        self, client: Client, name: str, boot_id: str = "b1", *, return_states: bool = True
    ) -> None:
        self.client, self.name, self.boot_id = client, name, boot_id
        self.return_states = return_states
        self.call: Any = None

    async def join(self) -> wire.JoinReply:
        return await self.client.call(
            "Join",
            wire.JoinRequest(
                node=self.name,
                boot_id=self.boot_id,
                address=f"127.0.0.1:{10000 + len(self.name)}",
                version="1",
                return_states=self.return_states,
            ),
        )

    async def heartbeat(self) -> bool:
        request = wire.HeartbeatRequest(node=self.name, boot_id=self.boot_id)
        return (await self.client.call("Heartbeat", request)).known

    async def open(self, credit: dict[str, int] | None = None, default: int = 100) -> None:
        self.call = self.client.stub.Tasks(metadata=self.client.metadata)
        await self.grant(credit or {}, default)
        await self.call.initial_metadata()  # the coordinator has it

    async def grant(self, credit: dict[str, int], default: int = 100) -> None:
        await self.call.write(self.request(credit, default))

    def request(self, credit: dict[str, int], default: int) -> wire.TasksRequest:
        return wire.TasksRequest(
            node=self.name, boot_id=self.boot_id, credit=credit, default_credit=default
        )

    async def orders(self) -> wire.NodeOrders:
        orders = await self.call.read()
        assert orders is not grpc.aio.EOF, "the stream has ended"
        return orders

    async def tasks(self, count: int = 1) -> list[wire.Task]:
        """The next tasks, exactly so many."""
        tasks: list[wire.Task] = []
        while len(tasks) < count:
            tasks += (await self.orders()).tasks
        assert len(tasks) == count
        return tasks

    async def ends(self) -> dict[str, str]:
        while not (orders := await self.orders()).ends:
            pass
        return {end.workload_id: end.reason for end in orders.ends}

    async def report(
        self, *tasks: wire.Task, result: Any = None, ok: bool = True, attempt: int = 0
    ) -> list[str]:
        results = [
            wire.TaskResult(
                task_id=task.task_id,
                workload_id=task.workload_id,
                attempt=attempt or task.attempt,
                ok=ok,
                payload=json.dumps(result),
            )
            for task in tasks
        ]
        request = wire.ReportRequest(node=self.name, boot_id=self.boot_id, results=results)
        reply = await self.client.call("Report", request)
        return [wire.ReportReply.Verdict.Name(verdict) for verdict in reply.verdicts]

    async def metrics(self, workload: str, *points: tuple[int, float, int, int]) -> None:
        await self.client.call(
            "PushMetrics",
            wire.PushMetricsRequest(
                node=self.name,
                boot_id=self.boot_id,
                workload_id=workload,
                points=[
                    wire.MetricPoint(iteration=k, seconds=s, bytes_sent=b, messages_sent=m)
                    for k, s, b, m in points
                ],
            ),
        )

    async def push_state(self, workload: str, data: bytes, chunk: int = 1000) -> None:
        async def chunks() -> AsyncIterator[wire.StateChunk]:
            for start in range(0, len(data), chunk):
                yield wire.StateChunk(
                    node=self.name,
                    boot_id=self.boot_id,
                    workload_id=workload,
                    data=data[start : start + chunk],
                )

        await self.client.call("PushState", chunks())

    async def leave(self) -> None:
        request = wire.LeaveRequest(node=self.name, boot_id=self.boot_id)
        await self.client.call("Leave", request)

    def cut(self) -> None:
        """The connection breaks without a word."""
        self.call.cancel()

    async def hang_up(self) -> None:
        """Ends the stream in order, but not the membership; the coordinator has seen it."""
        await self.call.done_writing()
        while not await self.is_cut():
            pass

    async def is_cut(self) -> bool:
        """Waits for the stream's end."""
        return await self.call.read() is grpc.aio.EOF


@contextlib.asynccontextmanager
async def coordinator(
    folder: Path, settings: Settings = PATIENT, token: str | None = None
) -> AsyncIterator[Client]:
    async with (
        serving(folder, "127.0.0.1:0", settings=settings, token=token, grace=0.1) as address,
        Client(address, token) as client,
    ):
        yield client


async def up(client: Client, *names: str, **options: Any) -> list[FakeNode]:
    """Nodes that have joined and have a stream."""
    nodes = [FakeNode(client, name, **options) for name in names]
    for node in nodes:
        await node.join()
        await node.open()
    return nodes


def optimization(**changes: Any) -> dict[str, Any]:
    spec = {
        "problem": {"name": "site-data"},
        "algorithm": {"name": "gradient-tracking"},
        "nodes": 3,
        "rounds": 20,
    }
    return spec | changes


def tasks_spec(*nodes: str) -> dict[str, Any]:
    return {"kind": "tasks", "executor": "echo", "nodes": list(nodes)}


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
        ({"topology": "rong"}, "unknown topology"),
        ({"topology": {"edges": [[0, 1]]}}, "not connected"),
        ({"topology": "directed-ring", "weights": "metropolis"}, "undirected"),
        ({"nodes": ["a", "a"]}, "each named once"),
        ({"nodes": 0}, "at least one node"),
        ({"tol": 1e-6}, "distributed stopping is not available"),
        ({"problem": {"name": "x", "parts": "runs/x"}}, "code never travels"),
        ({"algorithm": {"name": "x", "where": "m:C"}}, "code never travels"),
        ({"observer": "127.0.0.1:1"}, "observer is refused"),
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


# ---- tasks ----


@pytest.mark.asyncio
async def test_tasks_come_in_order_and_only_against_credit(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        node = FakeNode(client, "a")
        await node.join()
        await node.open(default=2)
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", *(("a", i) for i in range(5)))
        assert [task.number for task in await node.tasks(2)] == [0, 1]
        await node.grant({workload: 3}, 2)
        assert [task.number for task in await node.tasks(1)] == [2]
        await node.grant({workload: 10}, 2)
        assert [json.loads(task.payload) for task in await node.tasks(2)] == [3, 4]


@pytest.mark.asyncio
async def test_a_poll_gets_what_a_stream_would(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        node = FakeNode(client, "a")
        await node.join()
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", ("a", 1), ("a", 2))
        for _ in range(2):  # a lost reply is sent again
            orders = await client.call("Poll", node.request({}, 10))
            assert [task.number for task in orders.tasks] == [0, 1]
        await node.report(*orders.tasks)
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        orders = await client.call("Poll", node.request({}, 10))
        assert not orders.tasks
        assert [end.reason for end in orders.ends] == ["done"]


@pytest.mark.asyncio
async def test_a_reopened_stream_gets_unreported_tasks_again(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", ("a", 0), ("a", 1))
        first, second = await node.tasks(2)
        await node.report(first)
        node.cut()
        await node.open()
        (again,) = await node.tasks(1)
        assert (again.task_id, again.attempt) == (second.task_id, 1)


@pytest.mark.asyncio
async def test_a_reopened_stream_carries_more_than_fits_into_a_message(tmp_path: Path) -> None:
    """In order of number, and what another workload has to send does not wait for it."""
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        large, small = (
            await client.submit(tasks_spec("a")),
            await client.submit(tasks_spec("a"), "2"),
        )
        for i in range(12):
            await client.send(large, f"s{i}", ("a", "x" * 1_000_000))
        await node.tasks(12)
        node.cut()
        await client.send(small, "s", ("a", 0))
        await node.open()
        again = await node.tasks(13)
        assert [task.number for task in again if task.workload_id == large] == list(range(12))
        assert small in [task.workload_id for task in again[:5]]


@pytest.mark.asyncio
async def test_a_poll_gets_new_tasks_beside_large_unreported_ones(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        node = FakeNode(client, "a")
        await node.join()
        large, small = (
            await client.submit(tasks_spec("a")),
            await client.submit(tasks_spec("a"), "2"),
        )
        for i in range(4):
            await client.send(large, f"s{i}", ("a", "x" * 1_000_000))
        for _ in range(4):
            await client.call("Poll", node.request({}, 10))
        await client.send(small, "s", ("a", 0))
        orders = await client.call("Poll", node.request({}, 10))
        assert small in [task.workload_id for task in orders.tasks]


@pytest.mark.asyncio
async def test_many_large_answers_leave_room_to_list_and_to_watch(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b", "c")
        workload = await client.submit(tasks_spec("a", "b", "c"))
        await client.send(workload, "s", *((node.name, 0) for node in nodes))
        for node in nodes:
            await node.report(*await node.tasks(1), result="y" * 4_000_000)
        assert (await client.get(workload)).members[0].state == "succeeded"
        listed = await client.call("ListWorkloads", wire.ListWorkloadsRequest())
        assert [w.workload_id for w in listed.workloads] == [workload]
        sizes = []
        async for event in client.watch(workload):
            if event.HasField("result"):
                sizes.append(len(event.result.payload))
            if len(sizes) == 3:
                break
        assert sizes == [4_000_002] * 3


@pytest.mark.asyncio
async def test_a_list_is_brief_and_has_the_latest_workloads(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        sent = [
            await client.submit(tasks_spec("a") | {"executor": "e" * 1_000_000}, f"r{i}")
            for i in range(9)
        ]
        graph = {"weights": [[1.0]], "nodes": 1}
        sent.append(await client.submit(optimization(nodes=1, topology=graph), "last"))
        listed = (await client.call("ListWorkloads", wire.ListWorkloadsRequest())).workloads
        assert [w.workload_id for w in listed] == sent[-5:]
        assert "topology" not in json.loads(listed[-1].spec)
        assert json.loads((await client.get(sent[-1])).spec)["topology"] == graph


@pytest.mark.asyncio
async def test_counters_that_nothing_reaches_are_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        with pytest.raises(ConfigError, match="node a tells counters"):
            await node.metrics(workload, (1, 0.5, 2**64 - 1, 0))
        await node.metrics(workload, (1, 0.5, 10, 2))
        async for event in client.watch(workload):
            if event.HasField("metric"):
                assert event.metric.bytes_sent == 10
                break


@pytest.mark.asyncio
async def test_metrics_that_cannot_be_kept_do_not_fail_a_run(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        (tmp_path / "workloads").write_text("in the way")
        await node.metrics(workload, (1, 0.5, 10, 2))
        assert (await client.get(workload)).members[0].iteration == 1


@pytest.mark.asyncio
async def test_words_that_cannot_be_encoded_do_not_cut_a_node_off(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        error = {"message": "no file \udcff" + "x" * 2_000_000}
        await node.report(*await node.tasks(1), ok=False, result=error)
        ends = await node.ends()
        assert ends[workload].startswith("failed: no file ?xxx")
        assert (await client.finished(workload)).status == "failed"


@pytest.mark.asyncio
async def test_a_restarted_node_is_offered_its_tasks_under_a_new_attempt(tmp_path: Path) -> None:
    async with coordinator(tmp_path, HASTY) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", *(("a", i) for i in range(4)))
        done = await node.tasks(4)
        await node.report(*done[:3])
        await node.hang_up()
        again = FakeNode(client, "a", "b2")
        await again.join()
        await again.open(default=1)  # one task from the first that it is offered, not number 0
        (task,) = await again.tasks(1)
        assert (task.number, task.attempt) == (3, 2)
        assert await node.report(done[3]) == ["STALE_ATTEMPT"]
        assert await again.report(task) == ["RECORDED"]


@pytest.mark.asyncio
async def test_every_verdict_is_in_the_order_of_the_results(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", ("a", 0), ("a", 1))
        first, second = await node.tasks(2)
        unknown = wire.Task(task_id="nobody", workload_id=workload, attempt=1)
        assert await node.report(unknown, first, first, second, result=1) == [
            "UNKNOWN_TASK",
            "RECORDED",
            "ALREADY_RECORDED",
            "RECORDED",
        ]
        assert await node.report(first, result=2) == ["CONFLICT"]
        stranger = FakeNode(client, "z")
        assert await stranger.report(first, result=1) == ["UNKNOWN_TASK"]


@pytest.mark.asyncio
async def test_sending_is_idempotent_and_checked(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        ids = await client.send(workload, "s1", ("a", 0), ("a", 1))
        assert await client.send(workload, "s1", ("a", 0), ("a", 1)) == ids
        assert [task.task_id for task in await node.tasks(2)] == ids
        with pytest.raises(NotFound, match="no member"):
            await client.send(workload, "s2", ("b", 0))
        run = await client.submit(optimization(nodes=1), "r2")
        with pytest.raises(ConfigError, match="makes its own tasks"):
            await client.send(run, "s3", ("a", 0))
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        with pytest.raises(Conflict, match="is closed"):
            await client.send(workload, "s4", ("a", 0))


@pytest.mark.asyncio
async def test_a_closed_queue_is_done_when_its_last_task_is(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s1", ("a", 0), ("a", 1))
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        first, second = await node.tasks(2)
        await node.report(first, ok=False, result={"message": "no"})
        assert (await client.get(workload)).status == "running"
        await node.report(second, result="yes")
        events = [event async for event in client.watch(workload)]
        assert events[0].status.status == "done"
        assert [(e.result.ok, json.loads(e.result.payload)) for e in events[1:]] == [
            (False, {"message": "no"}),
            (True, "yes"),
        ]


@pytest.mark.asyncio
async def test_what_is_no_task_is_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        for payload, words in (("{", "not JSON"), ('"' + "x" * 5_000_000 + '"', "5000002 bytes")):
            tasks = [wire.NewTask(node="a", name="echo", payload=payload)]
            request = wire.SendTasksRequest(workload_id=workload, request_id="s", tasks=tasks)
            with pytest.raises(ConfigError, match=words):
                await client.call("SendTasks", request)
        run = await client.submit(optimization(nodes=1), "r2")
        with pytest.raises(ConfigError, match="ends by itself"):
            await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=run))
        for request_id in ("", "x" * 257):
            with pytest.raises(ConfigError, match="a request id has"):
                await client.submit(tasks_spec("a"), request_id)
        for spec in ("{", "[" * 100_000):
            with pytest.raises(ConfigError, match="not JSON"):
                await client.call("Submit", wire.SubmitRequest(request_id="r3", spec=spec))
        spec = json.dumps(optimization(topology="x" * (4 << 20)))
        with pytest.raises(ConfigError, match="the specification has"):
            await client.call("Submit", wire.SubmitRequest(request_id="r3", spec=spec))


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", ["{", "[" * 100_000])
async def test_an_answer_that_is_no_json_fails_an_optimization(tmp_path: Path, answer: str) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        (task,) = await node.tasks()
        result = wire.TaskResult(task_id=task.task_id, attempt=1, ok=True, payload=answer)
        await client.call("Report", wire.ReportRequest(node="a", boot_id="b1", results=[result]))
        final = await client.finished(workload)
        assert json.loads(final.error)["message"] == "node a answered config with no JSON"


# ---- watching ----


@pytest.mark.asyncio
async def test_a_watcher_sees_statuses_metrics_and_the_end(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        events = client.watch(workload)
        assert (await anext(events)).status.status == "configuring"
        for node in nodes:
            await node.report(*await node.tasks(), result=CONFIGURED)
        assert (await anext(events)).status.status == "running"
        await nodes[0].metrics(workload, (0, 0.1, 0, 0), (10, 0.5, 100, 10))
        await nodes[1].metrics(workload, (0, 0.2, 0, 0))
        assert (await anext(events)).metric.iteration == 0
        await nodes[1].metrics(workload, (10, 0.4, 90, 9))
        metric = (await anext(events)).metric
        assert (metric.iteration, metric.bytes_sent, metric.messages_sent) == (10, 190, 19)
        assert (metric.seconds, metric.nodes_alive) == (0.5, 2)
        assert [member.iteration for member in (await client.get(workload)).members] == [10, 10]
        for node in nodes:
            await node.report(*await node.tasks(), result={})
        assert [event.status.status async for event in events] == ["done"]
    lines = (tmp_path / "workloads" / workload / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [0, 10, 0, 10]


@pytest.mark.asyncio
async def test_results_of_tasks_are_watched_as_they_come(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        events = client.watch(workload)
        assert (await anext(events)).status.status == "running"
        for number in range(3):
            await client.send(workload, f"s{number}", ("a", number))
            await node.report(*await node.tasks(), result=number)
            assert json.loads((await anext(events)).result.payload) == number
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        assert [event.status.status async for event in events] == ["done"]


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
async def test_a_state_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
        with pytest.raises(ConfigError, match="does not return states"):
            await node.push_state(workload, b"x")


# ---- a restart of the coordinator ----


@pytest.mark.asyncio
async def test_a_restarted_coordinator_goes_on_where_it_was(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        run = await client.submit(optimization(nodes=2))
        queue = await client.submit(tasks_spec("a"), "r2")
        await client.send(queue, "s1", ("a", 0))
        for node in nodes:
            tasks = await node.tasks(2 if node.name == "a" else 1)
            config = next(task for task in tasks if task.name == "config")
            if node.name == "a":
                await node.report(config, result=CONFIGURED)
    async with coordinator(tmp_path) as client:
        nodes = [FakeNode(client, name) for name in "ab"]
        assert not await nodes[0].heartbeat()  # join again
        for node in nodes:
            assert (await node.join()).coordinator_epoch == 2
            await node.open()
        assert await client.submit(optimization(nodes=2)) == run
        assert len(await client.send(queue, "s1", ("a", 0))) == 1
        (echo,) = await nodes[0].tasks()
        assert echo.workload_id == queue
        (config,) = await nodes[1].tasks()
        assert (config.name, config.attempt) == ("config", 1)
        await nodes[1].report(config, result=CONFIGURED)
        for node in nodes:
            (task,) = await node.tasks()
            assert task.name == "run_algorithm"
            if node.name == "a":
                await node.metrics(run, (20, 0.1, 5, 1))
            await node.report(task, result={"at": node.name})
        assert (await client.finished(run)).status == "done"
    async with coordinator(tmp_path) as client:
        kept = await client.get(run)
        assert kept.status == "done"
        assert [json.loads(member.result) for member in kept.members] == [{"at": "a"}, {"at": "b"}]
        assert (await client.get(queue)).status == "running"
        assert [member.iteration for member in kept.members] == [20, 0]
        (node,) = await up(client, "a")
        assert (await node.orders()).ends[0].workload_id == run  # it may have missed it
        with pytest.raises(P2pdoError):
            await client.get("nothere1")


@pytest.mark.asyncio
async def test_a_node_that_does_not_come_back_after_a_restart_is_lost(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        workload = await client.submit(optimization(nodes=1))
    async with coordinator(tmp_path, Settings(lease_seconds=0.05)) as client:
        final = await client.finished(workload)
        assert final.status == "failed"
        assert "node a was lost" in json.loads(final.error)["message"]


@pytest.mark.asyncio
async def test_a_second_coordinator_on_the_same_state_is_refused(tmp_path: Path) -> None:
    async with coordinator(tmp_path):
        with pytest.raises(Conflict, match="another coordinator"):
            async with coordinator(tmp_path):
                pass
    async with coordinator(tmp_path):
        pass


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
