"""Tasks from a user to the nodes and back, with nodes that this test plays."""

from __future__ import annotations

import json
from pathlib import Path

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

from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotFound,
)
from p2pdo.wire.v1 import coordinator_pb2 as wire

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
