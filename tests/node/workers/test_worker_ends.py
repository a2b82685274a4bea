"""Worker processes that die, that are told to stop, and what is left of them: nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from worker_clients import Watched, client, my_children, read, spec

from p2pdo.node.workers import group as worker_group
from p2pdo.runtime.supervisor import GiveUp

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("exit", "ended with exit code 3"),
        ("sigkill", "was killed by SIGKILL"),
    ],
)
async def test_a_dead_rank_fails_its_task_at_once(how: str, words: str) -> None:
    async with client(spec()) as hub:
        before = set(my_children())
        old = await hub.do("where")
        failed = await hub.do("die", {"how": how, "rank": 1})
        assert f"rank 1 of executor 'trainer' at node 'n1' {words}" in failed["message"]
        assert "these are my last words" in failed["message"]
        assert set(my_children()) == before  # rank 0 waited for it, and is gone too
        new = await hub.do("where")
        assert new["pid"] != old["pid"]


async def test_a_death_is_told_and_not_what_it_made_others_raise(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    pipe("lean")
    async with client(spec(args={"folder": str(tmp_path)})) as hub:
        failed = await hub.do("lean_on_1")
    assert "rank 1 of executor 'trainer' at node 'n1' was killed by SIGKILL" in failed["message"]


async def test_a_rank_that_dies_between_tasks_harms_no_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(spec()) as hub:
        old = (await hub.do("where"))["pid"]
        watched = Watched([old])
        os.kill(old, signal.SIGKILL)
        assert watched.have_ended()
        answer = await hub.do("where")
        if "pid" in answer:  # else the task was on its way already when the node learned of it
            assert answer["pid"] != old
            assert "was killed by SIGKILL between two tasks" in caplog.text
        else:
            assert "was killed by SIGKILL" in answer["message"]


async def test_more_than_three_deaths_in_a_minute_end_the_client() -> None:
    async def die_again_and_again() -> None:
        async with client(spec(processes=1)) as hub:
            for _ in range(3):
                assert "exit code 3" in (await hub.do("die", {"how": "exit"}))["message"]
            await hub.do("die", {"how": "exit"})

    with pytest.raises(GiveUp, match=r"more than 3 times within 60 s.*exit code 3") as caught:
        await die_again_and_again()
    assert "last words" not in caught.value.message  # the site may redact them
    assert list(my_children()) == []


@pytest.mark.parametrize("name", ["hold", "hold_later"])
async def test_an_abort_is_heeded_and_the_processes_live_on(
    name: str, pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    holds = [pipe("holds-0"), pipe("holds-1")]
    async with client(spec(args={"folder": str(tmp_path)})) as hub:
        old = await hub.do("where")
        task = await hub.send(name)
        for path in holds:
            await read(path)
        hub.actor.abort_task(task, "nobody wants it")
        failed = await hub.answer()
        assert failed["code"] == "task-aborted"
        assert "nobody wants it" in failed["message"]
        assert (await hub.do("where"))["pid"] == old["pid"]


async def test_who_does_not_heed_an_abort_is_killed(
    pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    spins = [pipe("spins-0"), pipe("spins-1")]
    async with client(spec(args={"folder": str(tmp_path)})) as hub:
        task = await hub.send("spin")
        pids = [await read(path) for path in spins]
        watched = Watched(pids)
        hub.actor.abort_task(task, "nobody wants it")
        async with asyncio.timeout(5):
            assert (await hub.answer())["code"] == "task-aborted"
        assert watched.have_ended(0)
        assert (await hub.do("where"))["pid"] not in pids


async def test_an_abort_ends_a_start_too(pipe: Callable[[str], Path], tmp_path: Path) -> None:
    starts = pipe("starts-1")
    hanging = spec(path="worker_site:Hanging", args={"folder": str(tmp_path)}, tasks=["echo"])
    async with client(hanging) as hub:
        task = await hub.send("echo")
        watched = Watched([await read(starts)])
        hub.actor.abort_task(task, "nobody wants it")
        assert (await hub.answer())["code"] == "task-aborted"
        assert watched.have_ended(0)


@pytest.mark.parametrize("name", ["spin", "hold", "hold_later"])
async def test_the_end_of_the_workload_ends_a_task_in_hand(
    name: str, pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    begins = [pipe(f"{name.removesuffix('_later')}s-{rank}") for rank in range(2)]
    async with asyncio.timeout(20):
        async with client(spec(args={"folder": str(tmp_path)})) as hub:
            await hub.send(name)
            watched = Watched([await read(path) for path in begins])
    assert watched.have_ended(0)


async def test_aborts_leave_nothing_behind(pipe: Callable[[str], Path], tmp_path: Path) -> None:
    holds = [pipe("holds-0"), pipe("holds-1")]
    async with client(spec(args={"folder": str(tmp_path)})) as hub:
        pid = (await hub.do("where"))["pid"]

        async def cycle() -> None:
            task = await hub.send("hold")
            for path in holds:
                await read(path)
            hub.actor.abort_task(task, "again")
            assert (await hub.answer())["code"] == "task-aborted"

        await cycle()
        gc.collect()
        before = _holdings(pid)
        for _ in range(50):
            await cycle()
        gc.collect()
        assert not _grown(before, _holdings(pid))


async def test_killed_processes_leave_nothing_behind(
    pipe: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_group, "GRACE", 0.0)
    spins = pipe("spins-0")
    async with client(spec(args={"folder": str(tmp_path)}, processes=1)) as hub:

        async def cycle() -> None:
            task = await hub.send("spin")
            await read(spins)
            hub.actor.abort_task(task, "again")
            assert (await hub.answer())["code"] == "task-aborted"

        await cycle()
        gc.collect()
        before = _holdings()
        for _ in range(5):
            await cycle()
        gc.collect()
        assert not _grown(before, _holdings())


def _grown(before: list[int], now: list[int]) -> bool:
    """Whether there is more of anything; what earlier tests left may be let go meanwhile."""
    return any(new > old for old, new in zip(before, now, strict=True))


def _holdings(*pids: int) -> list[int]:
    processes = [psutil.Process(), *(psutil.Process(pid) for pid in pids)]
    return [process.num_fds() for process in processes] + [len(list(my_children()))]


async def test_what_a_worker_started_ends_with_it() -> None:
    async with client(spec(processes=1)) as hub:
        watched = Watched([await hub.do("start_child")])
        assert "SIGKILL" in (await hub.do("die", {"how": "sigkill"}))["message"]
        assert watched.have_ended()
        watched = Watched([await hub.do("start_child")])
    assert watched.have_ended()
