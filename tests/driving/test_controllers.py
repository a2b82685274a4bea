"""Controllers in the coordinator: their results, failures, ends and restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.registered import registered_controllers
from p2pdo.coordinator.service import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.driving.client import Client
from p2pdo.errors import ConfigError, WorkloadFailed, WorkloadStopped

pytestmark = pytest.mark.asyncio


class Trainer(p2pdo.Executor):
    @p2pdo.task
    def train(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        return np.full(2, float(context.node[-1])) + task.payload


async def averaging(tasks: p2pdo.Tasks, rounds: int = 1) -> object:
    weights: Any = 0.0
    for _ in range(rounds):
        results = await tasks.broadcast_and_wait("train", weights)
        weights = sum(result.unwrap() for result in results) / len(results)
    return {"weights": weights, "nodes": tasks.nodes}


async def failing(_tasks: p2pdo.Tasks) -> object:
    raise ZeroDivisionError("no nodes left")


async def endless(_tasks: p2pdo.Tasks) -> object:
    await asyncio.Event().wait()


SETTINGS = Settings(controllers={"averaging": averaging, "failing": failing, "endless": endless})


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[p2pdo.RemoteNetwork]:
    async with (
        serving(folder / "coordinator", "127.0.0.1:0", settings=SETTINGS) as address,
        running_nodes(["n0", "n1", "n2"], address, folder, executors={"trainer": Trainer}),
        p2pdo.connect(address) as net,
    ):
        yield net


async def test_a_controllers_result_is_the_workloads(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        result = await net.control("averaging", parameters={"rounds": 2})
        np.testing.assert_array_equal(result["weights"], [2.0, 2.0])
        assert result["nodes"] == ["n0", "n1", "n2"]
        (workload,) = await net.client.workloads()
        assert workload.status == "done"


async def test_what_it_raises_is_the_workloads_failure(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        with pytest.raises(WorkloadFailed, match="controller 'failing' raised ZeroDivisionError"):
            await net.control("failing")
        with pytest.raises(WorkloadFailed, match="unexpected keyword argument 'speed'"):
            await net.control("averaging", parameters={"speed": 3})


async def test_a_stop_ends_it(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        work = asyncio.create_task(net.control("endless"))
        while not (workloads := await net.client.workloads()):  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)
        await net.client.stop(workloads[0].workload_id, "enough")
        with pytest.raises(WorkloadStopped, match="enough"):
            await work


async def test_an_unknown_one_is_refused_at_once(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        with pytest.raises(ConfigError, match="has no controller 'avreaging'") as caught:
            await net.control("avreaging")
        assert str(caught.value.hint).startswith("did you mean 'averaging'?")


async def test_a_restart_of_the_coordinator_fails_it_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "coordinator"
    spec: dict[str, Any] = {"kind": "tasks", "nodes": ["n0"], "controller": "endless"}
    async with (
        serving(folder, "127.0.0.1:0", settings=SETTINGS) as address,
        running_nodes(["n0"], address, tmp_path, executors={}),
        Client(address) as client,
    ):
        workload_id = await client.submit(spec, "r")
    async with (
        serving(folder, "127.0.0.1:0", settings=SETTINGS) as address,
        Client(address) as client,
    ):
        workload = await client.workload(workload_id)
        assert workload.status == "failed"
        assert "the coordinator was restarted while controller 'endless' ran" in workload.error


async def test_controllers_are_registered_by_flags() -> None:
    where = f"{Path(__file__)}:averaging"
    assert list(registered_controllers([f"fedavg={where}"])) == ["fedavg"]
    with pytest.raises(ConfigError, match="registers no controller"):
        registered_controllers(["fedavg"])
