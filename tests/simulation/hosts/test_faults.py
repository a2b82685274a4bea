"""Whole workloads of the daemons under seeded faults: what the protocol promises holds in each.

One seed is one story: kills and restarts of coordinator and nodes, cuts, partitions, slow links,
losses, calls that are made twice. A failing one is played again by

    python -c 'from hosts_scenarios import *; print(play(SEED, Path("state")))'

with tests/helpers on the path; its trace is in `lines`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts_scenarios import NODES, TASKS, Faults, Outcome, Played, play

import p2pdo
from p2pdo.driving.results import TaskStatus

SEEDS = range(30)
FOUND = {
    44: "a driver that keeps its workload could not go on behind a broken connection",
    85: "a peer's link that came up when its last workload had left stayed for ever",
    95: "the same, after a partition",
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
