"""Monitored runs, with nodes that this test plays: the coordinator adds what they hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from played_nodes import CONFIGURED, Client, FakeNode, coordinator, optimization, up

from p2pdo.errors import ConfigError, InvariantBroken, from_plain
from p2pdo.protocol.masking import Masks

NAMES = ["mean y = mean g"]
ANSWER = CONFIGURED | {"invariants": NAMES}
SECRET = b"agreed on between the two of them"


class Pair:
    """Nodes a and b of a run, their tasks, and what they hide."""

    def __init__(self, workload: str, nodes: list[FakeNode], tasks: list[Any]) -> None:
        self.workload, self.nodes, self.tasks = workload, nodes, tasks

    async def hide(self, node: int, *told: tuple[int, float]) -> None:
        """(iteration, the node's part); each with the scale 1e-10."""
        masks = Masks(node, {1 - node: SECRET})
        numbers = [(k, masks.hide(k, [part, 1e-10])) for k, part in told]
        await self.nodes[node].hide(self.workload, *numbers)

    async def finish(self) -> None:
        for node, task in zip(self.nodes, self.tasks, strict=True):
            await node.report(task, result={})


async def running(client: Client, **changes: Any) -> Pair:
    nodes = await up(client, "a", "b")
    workload = await client.submit(optimization(nodes=2, monitor=5, **changes))
    for node in nodes:
        (config,) = await node.tasks()
        assert json.loads(config.payload)["monitor"] == 5
        await node.report(config, result=ANSWER)
    return Pair(workload, nodes, [(await node.tasks())[0] for node in nodes])


@pytest.mark.asyncio
async def test_a_breach_fails_the_run_with_invariant_iteration_and_size(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        pair = await running(client)
        await pair.hide(0, (5, 1e6), (10, 1.5), (15, 2.0))
        await pair.hide(1, (5, -1e6))
        assert (await client.get(pair.workload)).status == "running"
        await pair.hide(1, (10, -1.0), (15, -2.0))
        final = await client.finished(pair.workload)
        assert final.status == "failed"
        told = from_plain(json.loads(final.error))
        assert isinstance(told, InvariantBroken)
        assert (told.iteration, told.node, told.workload) == (10, None, pair.workload)
        assert told.message == (
            "the invariant 'mean y = mean g' is broken: over the 2 nodes it is off by 0.5, "
            "where rounding explains 2e-09"
        )
        for node in pair.nodes:
            assert (await node.ends())[pair.workload].startswith("failed: the invariant")
        assert json.loads(final.resolved)["monitor"] == {"looked_at": 2, "passed_over": 0}
        await pair.hide(0, (20, 1.0))  # it had not heard of the end yet


@pytest.mark.asyncio
async def test_a_report_that_comes_twice_counts_once_and_a_lost_one_is_told(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        pair = await running(client)
        for _ in range(2):
            await pair.hide(0, (5, 1.0), (10, 2.0), (15, 3.0))
        await pair.hide(1, (5, -1.0), (15, -3.0))
        live = json.loads((await client.get(pair.workload)).resolved)
        assert live["monitor"] == {"looked_at": 2, "passed_over": 1}
        await pair.finish()
        final = await client.finished(pair.workload)
        assert final.status == "done"
        assert json.loads(final.resolved)["monitor"] == {"looked_at": 2, "passed_over": 1}


@pytest.mark.asyncio
async def test_a_restarted_coordinator_passes_over_what_it_forgot_and_looks_on(
    tmp_path: Path,
) -> None:
    async with coordinator(tmp_path) as client:
        pair = await running(client)
        await pair.hide(0, (5, 1.0))
    async with coordinator(tmp_path) as client:
        nodes = [FakeNode(client, name) for name in "ab"]
        for node in nodes:
            await node.join()
            await node.open()
        pair = Pair(pair.workload, nodes, [(await node.tasks())[0] for node in nodes])
        await pair.hide(1, (5, -1.0), (10, -2.0))
        await pair.hide(0, (10, 2.0))
        await pair.finish()
        assert (await client.finished(pair.workload)).status == "done"
    async with coordinator(tmp_path) as client:
        kept = json.loads((await client.get(pair.workload)).resolved)
        assert kept["monitor"] == {"looked_at": 1, "passed_over": 1}
        assert kept["invariants"] == NAMES


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "told",
    [(7, bytes(544)), (0, bytes(544)), (5, bytes(543)), (5, b""), (5, bytes(816)), (1 << 60, b"")],
    ids=["between", "zeroth", "short", "empty", "too many", "never"],
)
async def test_what_is_no_report_is_refused(tmp_path: Path, told: tuple[int, bytes]) -> None:
    async with coordinator(tmp_path) as client:
        pair = await running(client)
        with pytest.raises(ConfigError, match="to the monitor") as caught:
            await pair.nodes[1].hide(pair.workload, told)
        assert caught.value.node == "b"
        assert (await client.get(pair.workload)).status == "running"


@pytest.mark.asyncio
async def test_nodes_that_keep_different_things_are_told_apart(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2, monitor="every"))
        for node, names in zip(nodes, (NAMES, ["mean c = 0"]), strict=True):
            await node.report(*await node.tasks(), result=CONFIGURED | {"invariants": names})
        error = json.loads((await client.finished(workload)).error)
        assert "do not agree on what gradient-tracking keeps" in error["message"]


@pytest.mark.asyncio
async def test_a_run_that_is_not_monitored_takes_no_reports(tmp_path: Path) -> None:
    async with coordinator(tmp_path) as client:
        nodes = await up(client, "a", "b")
        workload = await client.submit(optimization(nodes=2))
        (config,) = await nodes[0].tasks()
        assert json.loads(config.payload)["monitor"] is None
        with pytest.raises(ConfigError, match="is not monitored"):
            await nodes[0].hide(workload, (50, bytes(544)))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nodes": 1, "monitor": "observed"}, "of one node is its own part"),
        ({"nodes": 2, "monitor": 3, "algorithm": {"name": "dgd"}}, "dgd does not say what"),
        (
            {"nodes": 2, "monitor": "every", "algorithm": {"name": "asynchronous-consensus"}},
            "sends no running sums",
        ),
        ({"nodes": 2, "monitor": 0}, "monitor"),
        ({"nodes": 2, "monitor": "often"}, "monitor"),
        ({"nodes": 2, "monitor": True}, "monitor"),
    ],
)
async def test_a_monitor_that_cannot_be_is_refused_at_submit(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    async with coordinator(tmp_path) as client:
        await up(client, "a", "b")
        with pytest.raises(ConfigError, match=says):
            await client.submit(optimization(**changes))
