"""Taking over a workload: a coordinator and nodes in this process, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.driving.results import TaskStatus
from p2pdo.errors import ConfigError, Conflict, NotFound, WorkloadStopped

pytestmark = pytest.mark.asyncio
NODES = ["a", "b"]


async def drive(_tasks: p2pdo.Tasks) -> object:
    await asyncio.Event().wait()
    return None


class Work(p2pdo.Executor):
    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate

    @p2pdo.task
    async def echo(self, task: p2pdo.Task) -> object:
        return task.payload

    @p2pdo.task
    async def hold(self, task: p2pdo.Task) -> object:
        await self.gate.wait()
        return task.payload


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest_asyncio.fixture
async def net(tmp_path: Path, gate: asyncio.Event) -> AsyncIterator[p2pdo.RemoteNetwork]:
    settings = Settings(controllers={"drive": drive})
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0", settings=settings) as address,
        running_nodes(NODES, address, tmp_path, executors={"w": lambda: Work(gate)}),
        p2pdo.connect(address) as network,
    ):
        yield network


async def left(net: p2pdo.RemoteNetwork, echoed: int, held: int = 0) -> str:
    """A workload whose driver has detached, with so many results and so many tasks at the nodes."""
    async with net.driver(["a"], keep=True) as tasks:
        for number in range(echoed):
            await tasks.send_and_wait("echo", number, to="a")
        for number in range(held):
            await tasks.send("hold", number, to="a")
        tasks.detach()
    return tasks.workload_id


async def status(net: p2pdo.RemoteNetwork, workload: str) -> str:
    return (await net.client.workload(workload)).status


async def test_a_detached_workload_goes_on_and_another_driver_has_its_tasks(
    net: p2pdo.RemoteNetwork, gate: asyncio.Event
) -> None:
    workload = await left(net, echoed=2, held=2)
    assert await status(net, workload) == "running"
    async with net.attach(workload) as tasks:
        assert tasks.nodes == ["a"]
        assert len(tasks.outstanding) == 4
        gate.set()
        results = await asyncio.gather(*tasks.outstanding.values())
        assert sorted((result.name, result.value) for result in results) == [
            ("echo", 0),
            ("echo", 1),
            ("hold", 0),
            ("hold", 1),
        ]
        assert (await tasks.send_and_wait("echo", "more", to="a")).value == "more"
    assert await status(net, workload) == "done"


async def test_what_a_loop_came_back_for_is_told_no_more(net: p2pdo.RemoteNetwork) -> None:
    workload = await left(net, echoed=5)
    async with net.attach(workload) as tasks:
        async for result in tasks.results():
            if result.place == 3:
                break  # in hand, and not said to be stored
        tasks.detach()
    async with net.attach(workload) as tasks:
        assert [(result.place, result.value) async for result in tasks.results()] == [
            (3, 2),
            (4, 3),
            (5, 4),
        ]
        tasks.detach()
    assert (await net.client.workload(workload)).acknowledged == 5
    async with net.attach(workload) as tasks:
        assert [result async for result in tasks.results()] == []


async def test_a_program_with_an_account_of_its_own_says_what_it_has_seen(
    net: p2pdo.RemoteNetwork,
) -> None:
    workload = await left(net, echoed=4)
    with pytest.raises(Conflict, match="has results 1 to 4 to tell, and seen=5 does not fit"):
        async with net.attach(workload, seen=5):
            pass
    async with net.attach(workload, seen=3) as tasks:
        assert [result.value async for result in tasks.results()] == [3]
        tasks.detach()
    with pytest.raises(Conflict, match="seen=3 does not fit"):
        async with net.attach(workload, seen=3):
            pass


async def test_results_go_on_with_tasks_that_are_sent_meanwhile(net: p2pdo.RemoteNetwork) -> None:
    async with net.driver(keep=True) as tasks:
        await tasks.send("echo", 0, to="a")
        values = []
        async for result in tasks.results():
            values.append(result.value)
            if result.value < 5:
                await tasks.send("echo", result.value + 1, to=NODES[result.value % 2])
        assert values == [0, 1, 2, 3, 4, 5]


async def test_a_workload_that_was_stopped_tells_its_results_and_then_its_end(
    net: p2pdo.RemoteNetwork,
) -> None:
    workload = await left(net, echoed=1, held=1)
    await net.client.stop(workload, "enough")
    async with net.attach(workload) as tasks:
        assert [result.value async for result in tasks.results()] == [0]
        with pytest.raises(WorkloadStopped, match="enough"):
            await tasks.send("echo", to="a")


async def test_a_stop_ends_the_loop_of_who_waits_for_results(
    net: p2pdo.RemoteNetwork,
) -> None:
    workload = await left(net, echoed=1, held=1)
    async with net.attach(workload) as tasks:
        results = tasks.results()
        assert (await anext(results)).value == 0
        await net.client.stop(workload, "enough")
        with pytest.raises(WorkloadStopped, match="enough"):
            await anext(results)


async def test_outstanding_tasks_can_be_aborted(net: p2pdo.RemoteNetwork) -> None:
    workload = await left(net, echoed=0, held=2)
    async with net.attach(workload) as tasks:
        await tasks.abort(tasks.outstanding.values(), "nobody wants them")
        told = [result.status async for result in tasks.results()]
        assert told == [TaskStatus.ABORTED, TaskStatus.ABORTED]
        assert all(future.done() for future in tasks.outstanding.values())


async def test_what_cannot_be_taken_over_is_refused(net: p2pdo.RemoteNetwork) -> None:
    run = await net.submit("dgd", "quadratic", nodes=NODES, rounds=1)
    controlled = await net.client.submit(
        {"kind": "tasks", "executor": "site", "nodes": NODES, "controller": "drive"}, "r"
    )
    for workload, expected, told in [
        ("nobody", NotFound, "no workload 'nobody'"),
        (run.workload_id, ConfigError, "is a run, which drives itself"),
        (controlled, ConfigError, "is driven by controller 'drive'"),
    ]:
        with pytest.raises(expected, match=told):
            async with net.attach(workload):
                pass
    async with net.driver() as tasks:
        with pytest.raises(ConfigError, match="without keep=True"):
            await anext(tasks.results())
        with pytest.raises(ConfigError, match="not opened to be kept"):
            tasks.detach()


async def test_a_driver_that_keeps_nothing_acknowledges_by_itself_and_in_bulk(
    net: p2pdo.RemoteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge, calls = net.client.acknowledge, asyncio.Queue[int]()

    async def noted(workload: str, seen: int) -> None:
        await acknowledge(workload, seen)
        calls.put_nowait(seen)

    monkeypatch.setattr(net.client, "acknowledge", noted)
    async with net.driver(["a"]) as tasks:
        sent = [await tasks.send("echo", number, to="a") for number in range(300)]
        assert [(await future).value for future in sent] == [*range(300)]
        seen = await calls.get()
        assert 256 <= seen <= 300
        assert (await net.client.workload(tasks.workload_id)).acknowledged == seen
    assert calls.empty()
