"""Drivers of tasks: a coordinator and nodes in this process, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest

import p2pdo
from p2pdo.api.local_nodes import local_nodes
from p2pdo.driving.results import TaskStatus
from p2pdo.errors import (
    ConfigError,
    Conflict,
    NotFound,
    P2pdoError,
    TaskFailed,
    WorkloadFailed,
    WorkloadStopped,
)
from p2pdo.protocol.handed import Task

pytestmark = pytest.mark.asyncio


class Gates:
    """Lets a test hold nodes, by their names."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}

    def __getitem__(self, node: str) -> asyncio.Event:
        return self.open.setdefault(node, asyncio.Event())

    def at(self, node: str) -> asyncio.Event:
        return self.entered.setdefault(node, asyncio.Event())


class Worker(p2pdo.Executor):
    def __init__(self, gates: Gates | None = None) -> None:
        self.gates = gates or Gates()

    @p2pdo.task
    def double(self, task: Task) -> object:
        return np.asarray(task.payload) * 2.0

    @p2pdo.task
    def add_name(self, task: Task, context: p2pdo.Context) -> object:
        return [*task.payload, context.node]

    @p2pdo.task
    async def hold(self, task: Task, context: p2pdo.Context) -> object:
        self.gates.at(context.node).set()
        await self.gates[context.node].wait()
        return context.node

    @p2pdo.task
    def fail(self, task: Task, context: p2pdo.Context) -> object:
        if context.node in task.payload:
            raise ValueError("no data here")
        return context.node

    @p2pdo.task
    def huge(self, _task: Task) -> object:
        return np.zeros(10**6)


class Evaluator(p2pdo.Executor):
    @p2pdo.task
    def judge(self, task: Task) -> object:
        return len(task.payload)


class Broken(p2pdo.Executor):
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        raise OSError("no data here")

    @p2pdo.task
    def never(self, _task: Task) -> object:
        return None


def network(nodes: int = 3, **executors: Any) -> p2pdo.LocalNetwork:
    return p2pdo.local(nodes=nodes, executors=executors or {"worker": Worker})


async def test_a_task_goes_to_a_node_and_its_result_comes_back_with_arrays() -> None:
    async with network() as net, net.driver() as tasks:
        assert tasks.nodes == ["node-0", "node-1", "node-2"]
        result = await tasks.send_and_wait("double", np.arange(3.0), to="node-1")
        assert (result.node, result.name, result.status) == ("node-1", "double", TaskStatus.OK)
        np.testing.assert_array_equal(result.unwrap(), [0.0, 2.0, 4.0])


async def test_a_broadcast_gives_results_as_they_come() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net, net.driver() as tasks:
        broadcast = await tasks.broadcast("hold")
        order = ["node-2", "node-0", "node-1"]
        gates[order[0]].set()
        seen = []
        async for result in broadcast:
            seen.append(result.value)
            if len(seen) < len(order):
                gates[order[len(seen)]].set()
        assert seen == order


async def test_enough_responses_end_the_wait_and_abort_the_rest() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net, net.driver() as tasks:
        gates["node-0"].set()
        gates["node-2"].set()
        results = await tasks.broadcast_and_wait("hold", min_responses=2)
        assert sorted(result.value for result in results) == ["node-0", "node-2"]
        after = await tasks.send_and_wait("double", [1.0], to="node-1")  # its hand is free again
        assert after.is_ok


async def test_too_few_responses_tell_the_first_cause() -> None:
    async with network() as net, net.driver() as tasks:
        with pytest.raises(TaskFailed, match="1 of 3 nodes did 'fail', 2 are needed") as caught:
            await tasks.broadcast_and_wait("fail", ["node-0", "node-2"], min_responses=2)
        assert "ValueError: no data here" in str(caught.value)
        assert caught.value.node in {"node-0", "node-2"}
        results = await tasks.broadcast_and_wait("fail", ["node-0"])
        assert [result.status for result in results] == [
            TaskStatus.FAILED,
            TaskStatus.OK,
            TaskStatus.OK,
        ]
        assert "in fail" in results[0].traceback


async def test_more_responses_than_nodes_are_refused_before_anybody_begins() -> None:
    async with network() as net, net.driver() as tasks:
        with pytest.raises(ConfigError, match="'double' goes to 3 nodes, and min_responses is 5"):
            await tasks.broadcast_and_wait("double", [1.0], min_responses=5)
        with pytest.raises(ConfigError, match="goes to 1 nodes"):
            await (await tasks.broadcast("double", [1.0], to="node-0")).wait(2)


async def test_a_broadcast_to_nobody_comes_to_nothing() -> None:
    async with network() as net, net.driver() as tasks:
        assert await tasks.broadcast_and_wait("double", to=[], deadline=60) == []
        assert (await tasks.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_late_nodes_have_their_grace() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net, net.driver() as tasks:
        gates["node-0"].set()
        work = asyncio.create_task(
            tasks.broadcast_and_wait("hold", to=["node-0", "node-1"], min_responses=1, grace=60)
        )
        await gates.at("node-1").wait()
        gates["node-1"].set()
        assert [result.value for result in await work] == ["node-0", "node-1"]


async def test_a_broadcast_can_be_given_up() -> None:
    async with network(worker=Worker) as net, net.driver() as tasks:
        broadcast = await tasks.broadcast("hold")
        await broadcast.abort("not needed")
        assert {result.status for result in await broadcast.wait()} == {TaskStatus.ABORTED}


async def test_a_role_that_is_not_there_is_told() -> None:
    async with network() as net, net.driver() as tasks:
        with pytest.raises(ConfigError, match="there is no role 'trainer'"):
            tasks.role("trainer")


async def test_a_deadline_aborts_the_task_and_the_node_goes_on() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net, net.driver() as tasks:
        late = await tasks.send_and_wait("hold", to="node-0", deadline=0.05)
        assert late.status is TaskStatus.ABORTED
        with pytest.raises(P2pdoError, match=r"'hold' had no result after 0.05 s"):
            late.unwrap()
        assert (await tasks.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_a_task_that_waits_behind_another_can_be_aborted_too() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net, net.driver() as tasks:
        first = await tasks.send("hold", to="node-0")
        await gates.at("node-0").wait()
        many = [await tasks.send("double", [1.0], to="node-0") for _ in range(100)]
        await tasks.abort(many[1:], "not needed")
        assert {(await one).status for one in many[1:]} == {TaskStatus.ABORTED}
        gates["node-0"].set()
        assert (await first).is_ok
        assert (await many[0]).is_ok
        assert (await tasks.send_and_wait("double", [1.0], to="node-0")).is_ok  # credit is whole


async def test_a_relay_passes_each_result_on_and_ends_at_a_failure() -> None:
    async with network() as net, net.driver() as tasks:
        results = await tasks.relay_and_wait("add_name", [], to=["node-2", "node-0"])
        assert results[-1].value == ["node-2", "node-0"]
        nodes = ["node-0", "node-1"]
        failed = await tasks.relay_and_wait("fail", ["node-0"], to=nodes)
        assert [result.status for result in failed] == [TaskStatus.FAILED]


async def test_unknown_tasks_and_nodes_are_told() -> None:
    async with network() as net, net.driver() as tasks:
        unknown = await tasks.send_and_wait("duoble", to="node-0")
        assert unknown.status is TaskStatus.UNKNOWN
        assert unknown.error is not None
        assert str(unknown.error.hint).startswith("did you mean 'double'?")
        with pytest.raises(NotFound, match="node 'node-7' is no member") as caught:
            await tasks.send("double", to="node-7")
        assert "its members: node-0, node-1, node-2" in str(caught.value.hint)
        with pytest.raises(ConfigError, match="cannot travel as JSON"):
            await tasks.send("double", {1, 2}, to="node-0")
        with pytest.raises(ConfigError, match="sent to one node") as several:
            await tasks.send("double", [1.0], to=["node-0", "node-1"])  # type: ignore[arg-type]
        assert "broadcast" in str(several.value.hint)


async def test_a_result_that_is_too_large_fails_its_task_alone() -> None:
    async with network() as net, net.driver() as tasks:
        result = await tasks.send_and_wait("huge", to="node-0")
        assert result.status is TaskStatus.FAILED
        assert "more than 4194304" in str(result.error)
        assert (await tasks.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_large_data_to_many_nodes_goes_in_several_messages() -> None:
    data = np.zeros(300_000)  # 3.2 MB of text each
    async with network() as net, net.driver() as tasks:
        results = await tasks.broadcast_and_wait("double", data)
        assert [result.value.shape for result in results] == [(300_000,)] * 3


async def test_drivers_over_overlapping_nodes_do_not_wait_for_each_other() -> None:
    gates = Gates()
    async with (
        network(worker=lambda: Worker(gates)) as net,
        net.driver(["node-0", "node-1"]) as one,
    ):
        held = await one.broadcast("hold")
        await gates.at("node-1").wait()
        async with net.driver(["node-1", "node-2"]) as other:
            assert (await other.send_and_wait("double", [1.0], to="node-1")).is_ok
            with pytest.raises(NotFound):
                await other.send("double", to="node-0")
        gates["node-0"].set()
        gates["node-1"].set()
        assert all([result.is_ok async for result in held])


async def test_roles_have_executors_of_their_own() -> None:
    roles = {
        "trainer": {"nodes": ["node-0", "node-1"], "executor": "worker"},
        "judge": {"nodes": ["node-2"], "executor": "evaluator"},
    }
    async with (
        network(worker=Worker, evaluator=Evaluator) as net,
        net.driver(roles=roles) as tasks,
    ):
        results = await tasks.broadcast_and_wait("double", [1.0], to=tasks.role("trainer"))
        assert all(result.is_ok for result in results)
        judged = await tasks.send_and_wait("judge", [1, 2, 3], to="node-2")
        assert judged.value == 3
        unknown = await tasks.send_and_wait("judge", [], to="node-0")
        told = "task 'judge' at node-0: executor 'worker' has no task 'judge'"
        assert str(unknown.error).startswith(told)


async def test_a_driver_that_leaves_ends_what_is_open() -> None:
    gates = Gates()
    async with network(worker=lambda: Worker(gates)) as net:
        async with net.driver() as tasks:
            future = await tasks.send("hold", to="node-0")
            await gates.at("node-0").wait()
        with pytest.raises(WorkloadStopped, match="its driver was closed"):
            await future
        with pytest.raises(WorkloadStopped):
            await tasks.send("double", to="node-0")


async def test_what_ends_the_nodes_is_raised_out_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its drivers only see that nobody answers any more."""

    @contextlib.asynccontextmanager
    async def dying(*args: Any) -> AsyncIterator[Any]:
        async with local_nodes(*args) as client:
            yield client
        raise Conflict("another process bears our name")

    monkeypatch.setattr("p2pdo.api.serving.local_nodes", dying)
    with pytest.raises(Conflict, match="bears our name"):
        async with network() as net, net.driver() as tasks:
            assert (await tasks.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_an_executor_that_cannot_be_made_is_given_up_and_the_driver_is_told_why() -> None:
    Broken.made = 0
    async with (
        network(1, broken=Broken, worker=Worker) as net,
        net.driver(executor="broken") as bad,
        net.driver() as good,
    ):
        first = await bad.send_and_wait("never", to="node-0")
        assert Broken.made == 4  # at first, and three times anew
        second = await bad.send_and_wait("never", to="node-0")
        assert Broken.made == 4  # it is not tried for ever
        for result in (first, second):
            assert result.status is TaskStatus.FAILED
            assert "OSError: no data here" in str(result.error)
        assert (await good.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_so_is_one_that_its_tasks_find_by_their_names() -> None:
    Broken.made = 0
    async with (
        network(1, broken=Broken, worker=Worker) as net,
        net.driver() as bad,
        net.driver() as good,
    ):
        results = [await bad.send_and_wait("never", to="node-0") for _ in range(6)]
        assert Broken.made == 4
        assert all("OSError: no data here" in str(result.error) for result in results)
        assert "could not be made more than 3 times within 60 s" in str(results[3].error)
        assert str(results[5].error) == str(results[3].error)
        after = await bad.send_and_wait("double", [1.0], to="node-0")
        assert after.status is TaskStatus.FAILED  # the workload is given up at this node, whole
        assert (await good.send_and_wait("double", [1.0], to="node-0")).is_ok


async def test_a_network_with_an_executor_that_cannot_work_says_so() -> None:
    async with network(worker=Worker, other=Worker) as net:
        with pytest.raises(ConfigError, match="task 'add_name' is served by 'worker' and by"):
            async with net.driver():
                pass


class Mortal(p2pdo.Executor):
    @p2pdo.task
    def pid(self, _task: Task) -> object:
        return os.getpid()

    @p2pdo.task
    def die(self, _task: Task) -> object:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
async def test_nodes_in_processes_are_driven_alike_and_a_death_is_told_at_once() -> None:
    async with (
        p2pdo.local(nodes=2, processes=True, executors={"mortal": Mortal}) as net,
        net.driver() as tasks,
    ):
        pids = [result.unwrap() for result in await tasks.broadcast_and_wait("pid")]
        assert len({os.getpid(), *pids}) == 3
        with pytest.raises(WorkloadFailed, match=r"the process of node-1 died \(killed by"):
            await tasks.send_and_wait("die", to="node-1")
    for pid in pids:
        assert not psutil.pid_exists(pid)


async def test_processes_make_their_executors_from_classes() -> None:
    async with p2pdo.local(nodes=1, processes=True, executors={"m": partial(Mortal)}) as net:
        with pytest.raises(ConfigError, match="executor 'm' is no class"):
            async with net.driver():
                pass
