"""Results of tasks: told once, in their order, from memory or from the disk, until pruned."""

from __future__ import annotations

import contextlib
import gc
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from played_nodes import Client, FakeNode, coordinator, tasks_spec, up

from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.settings import Settings
from p2pdo.errors import Conflict, NotFound
from p2pdo.runtime.batches import ThreadBatches
from p2pdo.wire.v1 import coordinator_pb2 as wire

pytestmark = pytest.mark.asyncio
FRUGAL = Settings(lease_seconds=60, rejoin_grace=60, result_characters=1000, kept_ended=1)


async def answered(client: Client, node: FakeNode, workload: str, *values: object) -> None:
    """Sends that many tasks, and has them answered in turn."""
    await client.send(workload, f"send {values[0]}", *((node.name, 0) for _ in values))
    for task, value in zip(await node.tasks(len(values)), values, strict=True):
        assert await node.report(task, result=value) == ["RECORDED"]


async def first(client: Client, workload: str, seen: int, count: int) -> list[object]:
    """The values of the first so many results behind those that were seen."""
    async with contextlib.aclosing(results(client, workload, seen)) as told:
        return [value async for value in aslice(told, count)]


async def aslice(values: AsyncIterator[object], count: int) -> AsyncIterator[object]:
    for _ in range(count):
        yield await anext(values)


async def results(client: Client, workload: str, seen: int) -> AsyncIterator[object]:
    async with contextlib.aclosing(client.watch(workload, seen)) as events:
        async for event in events:
            if event.HasField("result"):
                yield json.loads(event.result.payload)


def is_at_work(batches: Any) -> bool:
    """A store's writer that is a thread and has not ended; those of simulated hosts are none."""
    return isinstance(batches, ThreadBatches) and batches._thread.is_alive()


def texts_in_memory(workload: str) -> list[str]:
    (desk,) = [
        thing
        for thing in gc.get_objects()
        if type(thing) is Desk and is_at_work(thing._store._jobs)
    ]
    record = desk.find(workload)
    return [task.result for task in record.results if task.result]


async def test_a_watcher_is_told_what_it_has_not_seen(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        (a,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await answered(client, a, workload, "one", "two", "three")
        for seen in range(3):
            assert await first(client, workload, seen, 1) == [["one", "two", "three"][seen]]
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        assert [value async for value in results(client, workload, 3)] == []
        with pytest.raises(Conflict, match="has 3 results, and 4 are said to be seen"):
            await first(client, workload, 4, 1)


async def test_the_order_of_results_outlives_the_coordinator(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        a, b = await up(client, "a", "b")
        workload = await client.submit(tasks_spec("a", "b"))
        await answered(client, b, workload, "one")
        await answered(client, a, workload, "two", "three")
        assert await first(client, workload, 0, 2) == ["one", "two"]
    async with coordinator(tmp_path) as client:
        (b,) = await up(client, "b")
        await answered(client, b, workload, "four")
        assert await first(client, workload, 2, 2) == ["three", "four"]
        assert await first(client, workload, 0, 4) == ["one", "two", "three", "four"]


async def test_of_many_results_the_latest_are_in_memory_and_all_are_told(tmp_path: Path) -> None:
    values = [f"{number:03}" + "x" * 97 for number in range(300)]
    async with coordinator(tmp_path, FRUGAL) as client:
        (a,) = await up(client, "a")
        workload = await client.submit(tasks_spec("a"))
        await a.grant({}, len(values))
        for start in range(0, len(values), 100):
            await answered(client, a, workload, *values[start : start + 100])
        kept = texts_in_memory(workload)
        assert kept == [json.dumps(value) for value in values[-len(kept) :]]
        assert 0 < sum(map(len, kept)) <= FRUGAL.result_characters
        assert await first(client, workload, 0, 300) == values
        assert await first(client, workload, 290, 10) == values[290:]
        shown = (await client.get(workload)).members[0].result
        assert json.loads(shown) == values[-1]
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        assert texts_in_memory(workload) == []
        assert [value async for value in results(client, workload, 0)] == values
    async with coordinator(tmp_path, FRUGAL) as client:
        assert len(texts_in_memory(workload)) == 1, "the one that is shown"
        assert [value async for value in results(client, workload, 0)] == values


async def test_what_ended_long_ago_is_pruned_and_the_workload_is_still_known(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path, FRUGAL) as client:
        (a,) = await up(client, "a")
        workloads = [await client.submit(tasks_spec("a"), f"r{i}") for i in range(3)]
        for workload in workloads:
            await answered(client, a, workload, "one", "two")
            await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=workload))
        old, _, latest = workloads
        assert [value async for value in results(client, latest, 0)] == ["one", "two"]
        await require_pruned(client, old)
        late = wire.Task(task_id=f"{old}-0-0", workload_id=old, attempt=1)
        assert await a.report(late, result="one") == ["UNKNOWN_TASK"]
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        for table in ("tasks", "sends"):
            kept = db.execute(f"SELECT DISTINCT workload FROM {table}").fetchall()  # noqa: S608
            assert kept == [(latest,)]
    async with coordinator(tmp_path, FRUGAL) as client:
        await require_pruned(client, old)
        assert [value async for value in results(client, latest, 1)] == ["two"]


async def require_pruned(client: Client, workload: str) -> None:
    assert (await client.get(workload)).status == "done"
    assert [value async for value in results(client, workload, 2)] == []
    with pytest.raises(NotFound, match="no longer kept"):
        await first(client, workload, 1, 1)
