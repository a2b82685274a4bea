"""What is told for good takes no room any more, in memory and on disk; how it ended stays."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from played_nodes import PATIENT, Client, FakeNode, coordinator, tasks_spec, up

from p2pdo.errors import ConfigError, Conflict, NotFound
from p2pdo.protocol.tasks import result_digest
from p2pdo.wire.v1 import coordinator_pb2 as wire

pytestmark = pytest.mark.asyncio


async def acknowledge(client: Client, workload: str, seen: int) -> None:
    request = wire.AcknowledgeRequest(workload_id=workload, seen=seen)
    await client.call("Acknowledge", request)


async def answered(client: Client, node: FakeNode, workload: str, *values: str) -> None:
    await client.send(workload, f"send {values[0]}", *((node.name, "ask") for _ in values))
    for task, value in zip(await node.tasks(len(values)), values, strict=True):
        assert await node.report(task, result=value) == ["RECORDED"]


async def told(client: Client, workload: str, seen: int, count: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    async with contextlib.aclosing(client.watch(workload, seen)) as events:
        async for event in events:
            if event.HasField("result"):
                found.append((event.result.place, event.result.payload))
            if len(found) == count:
                break
    return found


async def listed(client: Client, workload: str, seen: int) -> set[str]:
    request = wire.ListTasksRequest(workload_id=workload, seen=seen)
    call = client.stub.ListTasks(request, metadata=client.metadata)
    return {task.task_id for reply in [r async for r in call] for task in reply.tasks}


def on_disk(folder: Path, columns: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as db:
        return db.execute(
            f"SELECT {columns} FROM "  # noqa: S608
            "(SELECT tasks.*, coalesce(payloads.text, '') AS payload, "
            "coalesce(results.text, '') AS result FROM tasks "
            "LEFT JOIN payloads ON payloads.task = id LEFT JOIN results ON results.task = id) "
            "ORDER BY number"
        ).fetchall()


async def test_the_data_of_a_task_that_is_answered_is_dropped_and_its_result_is_not(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s", ("a", "ask"), ("a", "ask"))
        first, _ = await node.tasks(2)
        assert on_disk(tmp_path, "payload, result") == [('"ask"', ""), ('"ask"', "")]
        await node.report(first, result="yes")
        assert on_disk(tmp_path, "payload, result") == [("", '"yes"'), ('"ask"', "")]


async def test_what_is_acknowledged_is_dropped_and_how_it_ended_stays(tmp_path: Path) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await answered(client, node, workload, "one", "two", "three")
        await acknowledge(client, workload, 2)
        assert [text for (text,) in on_disk(tmp_path, "result")] == ["", "", '"three"']
        assert on_disk(tmp_path, "state, digest")[0] == (
            "succeeded",
            result_digest(ok=True, payload='"one"'),
        )
        assert await told(client, workload, 2, 1) == [(3, '"three"')]
        with pytest.raises(NotFound, match=r"the first 2 results .* are acknowledged"):
            await told(client, workload, 1, 1)
        await acknowledge(client, workload, 1)  # late, and nothing new
        assert (await client.get(workload)).acknowledged == 2
        with pytest.raises(Conflict, match="3 results, and 4"):
            await acknowledge(client, workload, 4)


@pytest.mark.parametrize("size", [10, 3000, 30_000])
async def test_what_is_done_and_acknowledged_costs_as_much_however_much_it_carried(
    size: int, tmp_path: Path
) -> None:
    """Counted in pages that are in use: a row that shrinks leaves its page as empty as it is."""
    count = 100  # the node has given credit for so many
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        before = used_bytes(tmp_path)
        for number in range(count):
            await client.send(workload, f"send {number}", ("a", "x" * size))
            (task,) = await node.tasks(1)
            assert await node.report(task, result="y" * size) == ["RECORDED"]
            await acknowledge(client, workload, number + 1)
        assert used_bytes(tmp_path) - before < 500 * count


def used_bytes(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "state.sqlite")) as db:
        counts = [
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        ]
    return int(counts[0] * (counts[1] - counts[2]))


async def test_a_restart_remembers_what_was_acknowledged_and_tells_the_rest(tmp_path: Path) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await answered(client, node, workload, "one", "two", "three")
        await acknowledge(client, workload, 2)
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        shown = await client.get(workload)
        assert (shown.tasks, shown.results, shown.acknowledged) == (3, 3, 2)
        with pytest.raises(NotFound, match="acknowledged"):
            await told(client, workload, 0, 1)
        assert await told(client, workload, 2, 1) == [(3, '"three"')]
        await answered(client, node, workload, "four")
        assert await told(client, workload, 2, 2) == [(3, '"three"'), (4, '"four"')]
        await acknowledge(client, workload, 4)
        assert {text for (text,) in on_disk(tmp_path, "result")} == {""}


async def test_a_late_report_of_an_acknowledged_task_is_judged_by_its_digest(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await client.send(workload, "s", ("a", "ask"))
        (task,) = await node.tasks()
        await node.report(task, result="yes")
        await acknowledge(client, workload, 1)
        assert await node.report(task, result="yes") == ["ALREADY_RECORDED"]
        assert await node.report(task, result="no") == ["CONFLICT"]


async def test_a_node_is_told_why_a_task_is_aborted_though_its_result_is_acknowledged(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        (task_id,) = await client.send(workload, "s", ("a", "ask"))
        await node.tasks()
        request = wire.AbortTasksRequest(workload_id=workload, task_ids=[task_id], reason="late")
        await client.call("AbortTasks", request)
        await acknowledge(client, workload, 1)
        assert "late" in (await node.tasks())[0].aborted
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        (task,) = await node.tasks()
        assert "late" in task.aborted
        assert await node.report(task, ok=False) == ["CONFLICT"]


async def test_listed_are_the_tasks_without_a_result_among_those_seen(tmp_path: Path) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        (node,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        ids = await client.send(workload, "s", *(("a", "ask") for _ in range(1500)))
        first, second = (await node.tasks(100))[:2]
        await node.report(second, result=2)
        await node.report(first, result=1)
        assert await listed(client, workload, 0) == {*ids}  # more than one message
        assert await listed(client, workload, 1) == {*ids} - {second.task_id}
        assert await listed(client, workload, 2) == {*ids[2:]}


async def test_runs_have_nothing_to_acknowledge(tmp_path: Path) -> None:
    async with coordinator(tmp_path, PATIENT) as client:
        await up(client, "a")
        workload = await client.submit(
            {
                "problem": {"name": "quadratic"},
                "algorithm": {"name": "dgd"},
                "nodes": ["a"],
                "rounds": 5,
            }
        )
        with pytest.raises(ConfigError, match="makes its own tasks"):
            await acknowledge(client, workload, 0)
