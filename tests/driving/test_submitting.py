"""A submission whose reply is lost: one workload, which its submitter knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.driving.client import Client
from p2pdo.driving.patience import PATIENCE
from p2pdo.driving.submitting import submit
from p2pdo.errors import Conflict, DeadlineExceeded, Unreachable
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.testing import clock
from p2pdo.transports.host import THIS_HOST

NODES = ["a", "b"]


class Work(p2pdo.Executor):
    @p2pdo.task
    async def echo(self, task: p2pdo.Task) -> object:
        return task.payload


@pytest_asyncio.fixture
async def net(tmp_path: Path) -> AsyncIterator[p2pdo.RemoteNetwork]:
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        running_nodes(NODES, address, tmp_path, executors={"w": Work}),
        p2pdo.connect(address) as network,
    ):
        yield network


def lose_replies(client: Client, monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """The coordinator answers, and the first so many answers are lost; what was asked, by id."""
    asked: list[str] = []
    submit_once = client.submit

    async def lossy(spec: Any, request_id: str) -> str:
        asked.append(request_id)
        workload_id = await submit_once(spec, request_id)
        if len(asked) <= number:
            raise DeadlineExceeded("the coordinator did not answer")
        return workload_id

    monkeypatch.setattr(client, "submit", lossy)
    return asked


@pytest.mark.asyncio
async def test_a_lost_reply_leaves_one_workload_which_its_driver_has(
    net: p2pdo.RemoteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lose_replies(net.client, monkeypatch, 2)
    async with net.driver(["a"], keep=True) as tasks:
        assert (await tasks.send_and_wait("echo", 7, to="a")).value == 7
    assert len(asked) == 3
    assert len(set(asked)) == 1, "each time the same request"
    (only,) = await net.client.workloads()
    assert (only.workload_id, only.status) == (tasks.workload_id, "done")


@pytest.mark.asyncio
async def test_a_program_that_comes_again_with_its_request_id_finds_its_workload(
    net: p2pdo.RemoteNetwork,
) -> None:
    asked: Any = {"keep": True, "request_id": "nightly"}
    async with net.driver(NODES, **asked) as tasks:
        await tasks.send_and_wait("echo", "stored", to="a")
        await tasks.acknowledge(1)
        await tasks.send_and_wait("echo", "not stored", to="b")
        tasks.detach()
    async with net.driver(NODES, **asked) as again:
        assert again.workload_id == tasks.workload_id
        assert [result.value async for result in again.results()] == ["not stored"]
        assert (await again.send_and_wait("echo", "new", to="a")).value == "new"
    assert len(await net.client.workloads()) == 1
    with pytest.raises(Conflict, match="of another specification"):
        async with net.driver(["a"], **asked):
            pass


# ---- in virtual time ----


class Away:
    """A coordinator that answers so long and then never again."""

    host = THIS_HOST

    def __init__(self, *, is_there: bool) -> None:
        self.is_there = is_there
        self.tries = 0

    async def nodes(self) -> list[object]:
        if not self.is_there:
            raise Unreachable("nobody answers")
        return []

    async def submit(self, _spec: object, _request: str) -> str:
        self.tries += 1
        raise Unreachable("the coordinator is gone")


def test_a_coordinator_that_stays_away_leaves_the_id_of_what_it_may_have_taken() -> None:
    async def main() -> float:
        gone: Any = Away(is_there=True)
        with pytest.raises(Unreachable, match="is not known") as caught:
            await submit(gone, {}, "mine")
        assert gone.tries > 1
        workload_id = workload_id_of("mine")
        assert caught.value.workload == workload_id
        assert f"p2pdo stop {workload_id}" in str(caught.value.hint)
        return asyncio.get_running_loop().time()

    assert PATIENCE < clock.run(main()) < 2 * PATIENCE


def test_an_address_where_nobody_is_is_told_at_once() -> None:
    async def main() -> float:
        nobody: Any = Away(is_there=False)
        with pytest.raises(Unreachable, match="nobody answers"):
            await submit(nobody, {}, "mine")
        assert nobody.tries == 0
        return asyncio.get_running_loop().time()

    assert clock.run(main()) == 0
