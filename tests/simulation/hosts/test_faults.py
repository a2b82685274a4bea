"""Whole workloads of the daemons under seeded faults: what the protocol promises holds in each.

One seed is one story: kills and restarts of coordinator and nodes, cuts, partitions, slow links,
losses, calls that are made twice. A failing one is played again by

    python -c 'from hosts_scenarios import *; print(play(SEED, Path("state")))'

with tests/helpers on the path; its trace is in `lines`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hosts_scenarios import (
    NODES,
    RUN,
    TASKS,
    Faults,
    Outcome,
    Played,
    deployment,
    play,
    run_to_the_end,
)

import p2pdo
from p2pdo.driving.patience import follow
from p2pdo.driving.results import TaskStatus
from p2pdo.simulation.hosts.deployment import COORDINATOR, run_hosts
from p2pdo.wire.v1 import coordinator_pb2 as pb

SEEDS = range(30)
FOUND = {
    44: "a driver that keeps its workload could not go on behind a broken connection",
    85: "a peer's link that came up when its last workload had left stayed for ever",
    95: "the same, after a partition",
    302: "who is second to dial waited for a rest of time that was too small to add, without end",
}
"""Seeds that found something; what it was."""


@pytest.fixture(scope="module")
def clean() -> str:
    """The digest of the run that nothing happens to."""
    run = p2pdo.run(
        "quadratic", "gradient-tracking", nodes=4, topology="ring", on="dense", rounds=30, seed=1
    )
    return str(run.summary.state_sha256)


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND])
def test_every_workload_ends_as_promised(seed: int, clean: str, tmp_path: Path) -> None:
    played = play(seed, tmp_path)
    told = f"seed {seed}: {Faults(seed)}\n{played.run}"
    assert played.late == [], told
    assert not played.bugs, told
    check_run(played.run, clean, told)
    check_driver(played, told)
    assert played.after is not None
    assert played.after.status == "done", (told, played.after.error)
    assert not played.left, told


def check_run(run: Outcome | None, clean: str, told: str) -> None:
    """A result with the bits of the clean run, or one failure that names who or what it was."""
    assert run is not None
    if run.status == "done":
        assert run.digest == clean, told
        return
    assert run.status in ("failed", "unknown"), told
    words = str(run.error["message"])
    if run.status == "unknown":
        assert any(what in words for what in ("coordinator", "nodes are asked for")), told
    else:
        assert run.error.get("node") in NODES, told
        assert any(f"{node} " in f"{words} " for node in NODES), told


def check_driver(played: Played, told: str) -> None:
    """Each result once and in order, the same by every way; or the driver says why it ended."""
    driven = played.driven
    assert driven is not None
    places = [result.place for result in driven.results]
    assert places == list(range(1, len(places) + 1)), told
    tasks = [result.task_id for result in driven.results]
    assert len(set(tasks)) == len(tasks), told
    for result in driven.results:
        if result.status is TaskStatus.OK:
            assert result.name in ("double", "slow"), told
            assert result.value in range(2 * TASKS), told
        else:
            assert result.status in (TaskStatus.FAILED, TaskStatus.ABORTED), told
    if driven.error is None:
        assert len(tasks) == driven.sent, told
        by_future = {result.task_id: (result.status, result.value) for result in driven.futures}
        assert by_future == {r.task_id: (r.status, r.value) for r in driven.results}, told
    else:
        assert "coordinator" in str(driven.error) or "nodes" in str(driven.error), told


@pytest.mark.parametrize("phase", ["configuring", "running", "iterating"])
@pytest.mark.parametrize("is_back", [False, True], ids=["for-good", "and-started-again"])
def test_a_node_that_is_killed_ends_its_run_by_its_name(
    phase: str, is_back: bool, tmp_path: Path
) -> None:
    """Before its config, before its first iteration, and in the midst; nothing resumes."""

    async def main() -> tuple[str, dict[str, Any], float]:
        async with deployment(7, tmp_path, computing=0.05).running() as network:
            async with network.client() as client:
                workload = await client.submit({**RUN, "observe_every": 1}, "r")
                killed_at = None
                async for event in follow(client, workload):
                    if killed_at is None and phase_of(event) == phase:
                        killed_at = asyncio.get_running_loop().time()
                        network.kill("b")
                        if is_back:
                            network.start_node("b")
                end = await client.workload(workload)
            assert killed_at is not None
            took = asyncio.get_running_loop().time() - killed_at
        assert not network.bugs
        return end.status, json.loads(end.error), took

    status, error, took = run_hosts(7, main)
    assert status == "failed"
    assert error["message"].startswith("node b was ")
    assert ("restarted" in error["message"]) == is_back
    assert error["node"] == "b"
    assert (error.get("iteration") is not None) == (phase == "iterating")
    assert took < (1.0 if is_back else 6.0)


def phase_of(event: pb.WorkloadEvent) -> str:
    if event.HasField("metric"):
        return "iterating" if event.metric.iteration >= 5 else ""
    return str(event.status.status)


def test_a_killed_coordinator_costs_a_run_nothing_while_it_iterates(tmp_path: Path) -> None:
    """The values do not pass it; the results wait until it is back, and the bits are the same."""

    async def main() -> tuple[Outcome, float]:
        async with deployment(8, tmp_path, computing=0.05).running() as network:
            going = asyncio.create_task(run_to_the_end(network, "r"))
            await asyncio.sleep(1.0)
            network.kill(COORDINATOR)
            await asyncio.sleep(20.0)  # the run is long done
            network.start_coordinator()
            began = asyncio.get_running_loop().time()
            outcome = await going
            return outcome, asyncio.get_running_loop().time() - began

    outcome, took = run_hosts(8, main)
    assert outcome.status == "done", outcome.error
    assert took < 10.0
