"""A coordinator that is started again, with nodes that this test plays."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from played_nodes import (
    CONFIGURED,
    FakeNode,
    coordinator,
    optimization,
    tasks_spec,
    up,
)

from p2pdo.coordinator.settings import Settings
from p2pdo.errors import ConfigError, Conflict, P2pdoError, render


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


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE tasks SET state = 'cancelle'", "is damaged: ValueError"),
        ("UPDATE workloads SET progress = '{'", "is damaged: JSONDecodeError"),
        ("UPDATE tasks SET workload = 'another'", "is damaged: KeyError"),
        ("UPDATE workloads SET spec = replace(spec, '-tracking', '-trucking')", "install again"),
    ],
)
async def test_a_row_that_makes_no_sense_is_told(tmp_path: Path, change: str, told: str) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a")
        await client.submit(optimization(nodes=1))
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        assert db.execute(change).rowcount == 1
        db.commit()
    with pytest.raises(ConfigError) as caught:
        async with coordinator(tmp_path):
            pass
    assert told in render(caught.value)
