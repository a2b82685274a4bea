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
from p2pdo.coordinator.serving import serving
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


async def exiting(_tasks: p2pdo.Tasks) -> object:
    raise SystemExit(3)


async def cancelled(_tasks: p2pdo.Tasks) -> object:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


async def unsayable(_tasks: p2pdo.Tasks) -> object:
    return {1, 2}


async def huge(_tasks: p2pdo.Tasks) -> object:
    return np.zeros(10**6)


async def refusing(_tasks: p2pdo.Tasks) -> object:
    raise ConfigError("no rounds are left", hint="ask for more")


SETTINGS = Settings(
    controllers={
        function.__name__: function
        for function in (
            *(averaging, failing, endless, exiting, cancelled, unsayable, huge, refusing),
        )
    }
)


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exiting", "SystemExit: 3"),
        ("cancelled", "CancelledError: something that it awaited"),
        ("unsayable", "cannot travel as JSON: set is no plain data"),
        ("huge", "bytes, more than 4194304"),
    ],
)
async def test_whatever_it_does_its_workload_ends_and_the_coordinator_does_not(
    tmp_path: Path, name: str, words: str
) -> None:
    async with network(tmp_path) as net:
        with pytest.raises(WorkloadFailed, match=words):
            await net.control(name)
        assert (await net.control("averaging"))["nodes"] == ["n0", "n1", "n2"]


async def test_an_error_of_p2pdos_is_told_as_it_is(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        with pytest.raises(ConfigError, match="no rounds are left"):
            await net.control("refusing")


async def test_a_submit_that_is_given_up_at_once_has_begun_its_controller(tmp_path: Path) -> None:
    """Its caller may be gone before the workload is on disk; nobody would start it again."""
    async with network(tmp_path) as net:
        spec: dict[str, Any] = {"kind": "tasks", "nodes": ["n0"], "controller": "averaging"}
        async with Client(net.client.address) as hasty:
            submitting = asyncio.create_task(hasty.submit(spec, "r"))
            while not await net.client.workloads():  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0)
            submitting.cancel()
            await asyncio.wait([submitting])
        workload_id = await net.client.submit(spec, "r")
        statuses = [e.status.status async for e in net.client.watch(workload_id)]
        assert statuses[-1] in ("done", "")


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
