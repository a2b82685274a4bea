"""Worker processes that are held to a share of the CPU; the processes are real."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from blockbuster import blockbuster_ctx
from worker_clients import Watched, client, my_children, read, spec, wait_until_stopped

from p2pdo.errors import ConfigError
from p2pdo.node.workers import allowance, limit
from p2pdo.node.workers.cpu_time import CpuMeter
from p2pdo.node.workers.executor import worker_executor

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is busy for so long before it is looked at stands still for many seconds."""
    for module in (allowance, limit):
        monkeypatch.setattr(module, "LOOK", 1.5)


# ---- the effect ----


async def test_one_that_never_ends_stands_still_and_goes_on(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    spins = [pipe("spins-0"), pipe("spins-1")]
    async with client(spec(args={"folder": str(tmp_path)}, cpu=0.5)) as hub:
        await hub.send("spin")
        pids = [await read(path) for path in spins]
        for _ in range(3):
            for pid in pids:  # both, since they share what there is
                await asyncio.to_thread(wait_until_stopped, pid)
            for pid in pids:
                await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WCONTINUED)


async def test_the_loop_is_not_blocked_and_nothing_is_left_open() -> None:
    async with client(spec(cpu=0.5, processes=1)) as hub:
        await hub.do("die", {"how": "exit"})
        gc.collect()
        before = psutil.Process().num_fds(), set(my_children())
        with blockbuster_ctx(scanned_modules=["p2pdo"]):
            for _ in range(2):
                assert await hub.do("echo", 1) == 1
                assert "exit code 3" in (await hub.do("die", {"how": "exit"}))["message"]
        gc.collect()
        descriptors, children = before  # what earlier tests have left may be closed by now
        assert psutil.Process().num_fds() <= descriptors
        assert set(my_children()) <= children


# ---- what must go on for one that stands still ----


@pytest.mark.usefixtures("seldom")
async def test_one_that_stands_still_hears_an_abort(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    begins = pipe("burns-0")
    async with client(spec(args={"folder": str(tmp_path)}, cpu=0.1, processes=1)) as hub:
        task = await hub.send("burn")
        old = await read(begins)
        await asyncio.to_thread(wait_until_stopped, old)
        hub.actor.abort_task(task, "nobody wants it")
        assert (await hub.answer())["code"] == "task-aborted"
        assert (await hub.do("where"))["pid"] == old  # it was not killed for not hearing


@pytest.mark.usefixtures("seldom")
async def test_one_that_stands_still_is_killed_if_it_does_not_heed(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    begins = pipe("spins-0")
    async with client(spec(args={"folder": str(tmp_path)}, cpu=0.1, processes=1)) as hub:
        task = await hub.send("spin")
        watched = Watched([pid := await read(begins)])
        await asyncio.to_thread(wait_until_stopped, pid)
        hub.actor.abort_task(task, "nobody wants it")
        assert (await hub.answer())["code"] == "task-aborted"
        assert watched.have_ended(0)


@pytest.mark.usefixtures("seldom")
async def test_one_that_stands_still_closes_its_executor(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    begins = pipe("burns-0")
    async with client(spec(args={"folder": str(tmp_path)}, cpu=0.1, processes=1)) as hub:
        await hub.send("burn")
        await asyncio.to_thread(wait_until_stopped, await read(begins))
    assert (tmp_path / "closed-0").exists()


async def test_the_death_of_one_that_stands_still_is_told_at_once(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    spins = [pipe("spins-0"), pipe("spins-1")]
    async with client(spec(args={"folder": str(tmp_path)}, cpu=0.2)) as hub:
        await hub.send("spin")
        pids = [await read(path) for path in spins]
        watched = Watched(pids)
        await asyncio.to_thread(wait_until_stopped, pids[1])
        os.kill(pids[1], 9)
        assert (
            "rank 1 of executor 'trainer' at node 'n1' was killed by SIGKILL"
            in (await hub.answer())["message"]
        )
        assert watched.have_ended(0)


async def test_a_limit_that_cannot_be_held_ends_the_processes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> float:
        raise PermissionError("hidden")

    monkeypatch.setattr(CpuMeter, "read", fail)
    async with client(spec(cpu=0.5)) as hub:
        assert "SIGKILL" in (await hub.do("echo", 1))["message"]
    assert "executor 'trainer': its CPU limit cannot be held" in caplog.text
    assert list(my_children()) == []


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_share_is_a_number_of_cores(share: float) -> None:
    with pytest.raises(ConfigError, match=r"executor 'trainer': cpu is"):
        worker_executor(spec(cpu=share))


async def test_a_system_that_tells_nothing_of_its_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("p2pdo.node.workers.cpu_time._PROC", tmp_path)
    with pytest.raises(ConfigError, match="cannot be held on this system"):
        worker_executor(spec(cpu=0.5))
    worker_executor(spec())
