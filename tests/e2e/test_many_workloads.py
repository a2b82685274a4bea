"""Twenty workloads at once on four nodes: all right, none blocked, some that fail or are stopped.

Runs of algorithms, a PyTorch participant that the sites have installed by name, tasks in the nodes
and tasks in worker processes. What each comes to is what it comes to alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.errors import WorkloadFailed, WorkloadStopped

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HERE = Path(__file__).parent
NODES = ["n0", "n1", "n2", "n3"]
LIMIT = 100  # seconds
CONFIGURATION = f"""
[node]
python_path = ["{HERE}"]

[executors.clerk]
path = "many_site:Clerk"

[executors.crunch]
path = "many_site:Crunch"
processes = 1

[participants]
learn = "many_site:learn"
"""


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[p2pdo.RemoteNetwork]:
    config = folder / "p2pdo.toml"
    config.write_text(CONFIGURATION)
    async with (
        serving(folder / "coordinator", "127.0.0.1:0") as address,
        running_nodes(NODES, address, folder, executors={}, config=config),
        p2pdo.connect(address) as net,
    ):
        yield net


async def optimize(net: p2pdo.RemoteNetwork, algorithm: str) -> Any:
    run = await net.submit(algorithm, "quadratic", nodes=4, rounds=300, seed=1, return_states=True)
    return (await run.result()).summary.state_sha256


async def learn(net: p2pdo.RemoteNetwork) -> Any:
    run = await net.submit("learn", nodes=NODES, rounds=60)
    return (await run.result()).results


async def add(net: p2pdo.RemoteNetwork, first: int) -> list[Any]:
    """Forty tasks at each node, and the last answer of each."""
    async with net.driver(NODES) as tasks:
        last: list[Any] = []
        for number in range(40):
            last = await tasks.broadcast_and_wait("add", first + number)
        return [result.unwrap() for result in last]


async def total(net: p2pdo.RemoteNetwork, nodes: Sequence[str]) -> list[Any]:
    """Twenty tasks for the worker processes of some nodes; answers as they come."""
    async with net.driver(nodes) as tasks:
        answers: list[Any] = []
        for number in range(20):
            broadcast = await tasks.broadcast("total", np.full(1000, float(number)))
            answers += [result.unwrap() async for result in broadcast]
        return answers


async def crash(net: p2pdo.RemoteNetwork) -> list[str]:
    """Worker processes that die again and again; what the driver is told."""
    async with net.driver(["n0"]) as tasks:
        return [str((await tasks.send_and_wait("die", to="n0")).error) for _ in range(5)]


@pytest.mark.slow
async def test_twenty_workloads_do_not_disturb_each_other(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    async with asyncio.timeout(LIMIT), network(tmp_path) as net:
        consensus = await optimize(net, "consensus")
        tracking = await optimize(net, "gradient-tracking")
        learned = await learn(net)
        async with net.driver(NODES) as blocked:
            held = await blocked.broadcast("hold")  # a workload that never gets on
            endless = await net.submit("dgd", "quadratic", nodes=4, rounds=10**8)
            bad = await net.submit("dgd", "quadratic", nodes=4, parameters={"step_size": 1e200})
            results = await asyncio.gather(
                *(optimize(net, "consensus") for _ in range(3)),
                *(optimize(net, "gradient-tracking") for _ in range(3)),
                *(learn(net) for _ in range(2)),
                *(add(net, 1000 * k) for k in range(6)),
                *(total(net, nodes) for nodes in (NODES[:2], NODES[2:])),
                crash(net),
            )
            assert len(await net.client.workloads()) == 3 + 20
            running = await endless.metrics().__anext__()
            await endless.stop("enough")
            with pytest.raises(WorkloadStopped, match="enough"):
                await endless.result()
            with pytest.raises(WorkloadFailed, match="not finite"):
                await bad.result()
            assert [future.done() for future in held._futures] == [False] * 4
            await held.abort("over")
            assert [result.is_ok async for result in held] == [False] * 4
    assert running.iteration >= 0
    assert results[:8] == [consensus] * 3 + [tracking] * 3 + [learned] * 2
    for weights in learned.values():
        np.testing.assert_allclose(weights, [1.0, -2.0, 3.0], atol=0.05)
    for k, answers in enumerate(results[8:14]):
        assert answers == [1000 * k + 39 + 40] * 4
    for answers in results[14:16]:
        expected = [[0, number + 1, 1000.0 * number] for number in range(20) for _ in range(2)]
        assert answers == expected
    told = results[16]
    assert sum("exit code 3" in words for words in told) == 5
    assert "more than 3 times within 60 s" in told[-1]
