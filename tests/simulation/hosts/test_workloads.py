"""The daemons in one event loop: a run of theirs is any other run, and one seed is one trace."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hosts_scenarios import NODES, RUN, Driven, Outcome, deployment, drive_tasks, run_to_the_end

import p2pdo
from p2pdo.simulation.hosts.deployment import COORDINATOR, Deployment, run_hosts


def run_on_hosts(seed: int, folder: Path, **settings: Any) -> tuple[Outcome, Deployment]:
    async def main() -> tuple[Outcome, Deployment]:
        async with deployment(seed, folder).running() as network:
            outcome = await run_to_the_end(network, "request", **settings)
        assert not network.bugs
        return outcome, network

    return run_hosts(seed, main)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithm": {"name": "extra"}, "topology": "complete"},
        {"problem": {"name": "least-squares"}, "dtype": "float32", "rounds": 7},
        {"algorithm": {"name": "gradient-tracking"}, "codec": "bf16"},
    ],
    ids=["tracking", "extra", "float32", "coded"],
)
def test_a_run_of_the_daemons_has_the_states_of_any_executor(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    outcome, _ = run_on_hosts(1, tmp_path, **settings)
    spec = {**RUN, **settings}
    alone = p2pdo.run(
        spec["problem"]["name"],
        spec["algorithm"]["name"],
        nodes=4,
        topology=spec.get("topology", "ring"),
        on="dense",
        rounds=spec["rounds"],
        seed=1,
        dtype=spec.get("dtype", "float64"),
        codec=spec.get("codec", "none"),
    )
    assert outcome.status == "done", outcome.error
    assert outcome.digest == alone.summary.state_sha256


def test_an_asynchronous_algorithm_runs_too_and_its_order_is_the_seeds(tmp_path: Path) -> None:
    settings = {"algorithm": {"name": "asy-sonata"}, "rounds": 12}
    digests = []
    for seed, folder in ((1, "first"), (1, "again"), (2, "other")):
        outcome, _ = run_on_hosts(seed, tmp_path / folder, **settings)
        assert outcome.status == "done", outcome.error
        digests.append(outcome.digest)
    assert digests[0] == digests[1] != digests[2]


TRACE = """
import sys, tempfile
from pathlib import Path
from hosts_scenarios import play
with tempfile.TemporaryDirectory() as folder:
    played = play(int(sys.argv[1]), Path(folder))
print(played.trace, len(played.lines), played.run)
"""


@pytest.mark.parametrize("seed", [2, 9])
def test_one_seed_is_one_trace_under_any_hash_seed_in_any_process(seed: int) -> None:
    """With kills, cuts and partitions: whose tasks are ended in what order is in it too."""
    told = []
    for hash_seed in ("0", "77"):
        helpers = Path(__file__).parents[2] / "helpers"
        path = os.pathsep.join([str(helpers), *sys.path])
        told.append(
            subprocess.run(
                [sys.executable, "-c", TRACE, str(seed)],
                env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert told[0] == told[1]
    digest, lines, *_ = told[0].split()
    assert len(digest) == 64
    assert int(lines) > 1000


def test_other_seeds_have_other_traces(tmp_path: Path) -> None:
    traces = {run_on_hosts(s, tmp_path / str(s))[1].network.trace.digest for s in (1, 2, 3)}
    assert len(traces) == 3


def test_a_drivers_tasks_come_to_their_results(tmp_path: Path) -> None:
    async def main() -> Driven:
        async with deployment(3, tmp_path).running() as network:
            driven = await drive_tasks(network)
        assert not network.bugs
        return driven

    driven = run_hosts(3, main)
    assert driven.error is None
    assert driven.sent == len(driven.results) == 36
    told = {(r.node, r.name, r.value) for r in driven.results if r.name == "double"}
    assert told == {(node, "double", 2 * k) for node in NODES for k in range(3)}
    assert all("ValueError: cannot do" in str(r.error) for r in driven.results if r.name == "fails")


def test_the_daemons_timers_are_those_of_the_loop(tmp_path: Path) -> None:
    """Heartbeats keep leases for ten minutes that pass at once."""

    async def main() -> tuple[list[str], float]:
        async with deployment(4, tmp_path).running() as network:
            await asyncio.sleep(600)
            async with network.client() as client:
                states = [node.state for node in await client.nodes()]
        return states, asyncio.get_running_loop().time()

    states, now = run_hosts(4, main)
    assert states == ["up"] * 4
    assert now > 600


def test_what_was_promised_is_there_after_the_coordinator_was_killed(tmp_path: Path) -> None:
    """Killed between its answer and its next commit, again and again: the workload is there."""

    async def main() -> None:
        async with deployment(5, tmp_path, disk=0.05).running() as network:
            for attempt in range(8):
                async with network.client() as client:
                    workload = await client.submit({"kind": "tasks", "nodes": ["a"]}, f"r{attempt}")
                    network.kill(COORDINATOR)
                    network.start_coordinator()
                    await network.process(COORDINATOR).is_ready.wait()
                    assert (await client.workload(workload)).status == "running"
                    await asyncio.sleep(30)  # the node has joined again
        assert not network.bugs

    run_hosts(5, main)
