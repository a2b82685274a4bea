"""Twenty workloads at once on four nodes: all right, none blocked, one that fails, one stopped."""

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
from p2pdo.coordinator.service import serving
from p2pdo.errors import WorkloadFailed, WorkloadStopped

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

NODES = ["n0", "n1", "n2", "n3"]


class Worker(p2pdo.Executor):
    def __init__(self) -> None:
        self.done = 0

    @p2pdo.task
    def add(self, task: p2pdo.Task) -> object:
        self.done += 1
        return task.payload + self.done

    @p2pdo.task
    async def hold(self, _task: p2pdo.Task) -> object:
        await asyncio.Event().wait()
        return None


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[p2pdo.RemoteNetwork]:
    async with (
        serving(folder / "coordinator", "127.0.0.1:0") as address,
        running_nodes(NODES, address, folder, executors={"worker": Worker}),
        p2pdo.connect(address) as net,
    ):
        yield net


async def optimize(net: p2pdo.RemoteNetwork, algorithm: str, seed: int) -> Any:
    run = await net.submit(
        algorithm, "quadratic", nodes=4, rounds=300, seed=seed, return_states=True
    )
    return (await run.result()).summary.state_sha256


async def drive(net: p2pdo.RemoteNetwork, first: int) -> list[int]:
    """Forty tasks at each node, and the last answer of each."""
    async with net.driver(NODES) as tasks:
        last: list[Any] = []
        for number in range(40):
            last = await tasks.broadcast_and_wait("add", first + number)
        return [result.unwrap() for result in last]


@pytest.mark.slow
async def test_twenty_workloads_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        alone = {
            algorithm: await optimize(net, algorithm, seed=1)
            for algorithm in ("consensus", "gradient-tracking")
        }
        async with net.driver(NODES) as blocked, asyncio.timeout(120):
            held = await blocked.broadcast("hold")  # a workload that never gets on
            stopped = await net.submit("dgd", "quadratic", nodes=4, rounds=10**8)
            bad = await net.submit("dgd", "quadratic", nodes=4, parameters={"step_size": 1e200})
            runs = [optimize(net, algorithm, seed=1) for algorithm in alone for _ in range(4)]
            drivers = [drive(net, first=1000 * k) for k in range(9)]
            results = await asyncio.gather(*runs, *drivers)
            await stopped.stop("enough")
            with pytest.raises(WorkloadStopped, match="enough"):
                await stopped.result()
            with pytest.raises(WorkloadFailed, match="not finite"):
                await bad.result()
            await held.abort("over")
    assert results[:8] == [alone["consensus"]] * 4 + [alone["gradient-tracking"]] * 4
    for k, answers in enumerate(results[8:]):
        np.testing.assert_array_equal(answers, [1000 * k + 39 + 40] * 4)
