"""A driver that is killed in the midst of its results, and another that takes over: real processes.

The nodes are in this one, so that the test says when they answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

COORDINATOR = "from p2pdo.coordinator.daemon import main; main()"
SHOW = "from p2pdo.cli import main; main()"
SENT, EARLY, STORED = 60, 30, 20  # tasks; answered while the first driver lives; stored by it
FIRST = f"""
import asyncio, sys, p2pdo
async def main():
    with open(sys.argv[2], "a") as account:
        async with p2pdo.connect(sys.argv[1]) as net, net.driver(["a", "b"], keep=True) as tasks:
            print(tasks.workload_id, flush=True)
            for number in range({SENT}):
                await tasks.send("echo", number, to="ab"[number % 2])
            async for result in tasks.results():
                print(result.place, result.unwrap(), file=account, flush=True)
                if result.place == {STORED}:
                    print("half", flush=True)
                    await asyncio.Event().wait()
asyncio.run(main())
"""
SECOND = """
import asyncio, sys, p2pdo
async def main():
    seen = int(sys.argv[4]) if sys.argv[4] else None
    with open(sys.argv[2], "a") as account:
        async with p2pdo.connect(sys.argv[1]) as net, net.attach(sys.argv[3], seen=seen) as tasks:
            print(len(tasks.outstanding), tasks.nodes, flush=True)
            async for result in tasks.results():
                print(result.place, result.unwrap(), file=account, flush=True)
            print((await tasks.send_and_wait("echo", "more", to="b")).unwrap(), flush=True)
asyncio.run(main())
"""


class Work(p2pdo.Executor):
    def __init__(self, gate: asyncio.Event) -> None:
        self.gate = gate

    @p2pdo.task
    async def echo(self, task: p2pdo.Task) -> object:
        if isinstance(task.payload, int) and task.payload >= EARLY:
            await self.gate.wait()
        return task.payload


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", *arguments, stdout=subprocess.PIPE
    )


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def coordinator(folder: Path, listen: str) -> AsyncIterator[str]:
    """Killed at the block's end."""
    process = await started(
        *(COORDINATOR, "--listen", listen, "--state", str(folder), "--insecure"),
        *("--driver-grace", "1"),
    )
    try:
        yield (await line(process)).split()[-1]
    finally:
        process.kill()
        await process.communicate()


async def killed_midway(address: str, account: Path) -> str:
    driver = await started(FIRST, address, str(account))
    workload = await line(driver)
    assert await line(driver) == "half"
    driver.kill()
    await driver.communicate()
    return workload


async def take_over(address: str, account: Path, workload: str, seen: str) -> list[str]:
    driver = await started(SECOND, address, str(account), workload, seen)
    told = (await driver.communicate())[0].decode().splitlines()
    assert driver.returncode == 0
    return told


def places(account: Path) -> list[int]:
    return [int(told.split()[0]) for told in account.read_text().splitlines()]


async def test_every_result_is_stored_once_across_two_drivers_and_a_coordinators_death(
    tmp_path: Path,
) -> None:
    account, gate = tmp_path / "account", asyncio.Event()
    executors = {"work": lambda: Work(gate)}
    async with contextlib.AsyncExitStack() as block:
        first = contextlib.AsyncExitStack()
        address = await first.enter_async_context(coordinator(tmp_path / "state", "127.0.0.1:0"))
        await block.enter_async_context(
            running_nodes(["a", "b"], address, tmp_path, executors=executors)
        )
        workload = await killed_midway(address, account)
        assert places(account) == [*range(1, STORED + 1)]
        await first.aclose()
        await block.enter_async_context(coordinator(tmp_path / "state", address))
        gate.set()
        told = await take_over(address, account, workload, str(STORED))
        assert told == [f"{SENT - STORED} ['a', 'b']", "more"]
        assert places(account) == [*range(1, SENT + 1)]
        values = sorted(int(told.split()[1]) for told in account.read_text().splitlines())
        assert values == [*range(SENT)]
        async with p2pdo.connect(address) as net:
            assert (await net.client.workload(workload)).status == "done"


async def test_without_an_account_of_its_own_only_what_was_in_hand_comes_again(
    tmp_path: Path,
) -> None:
    account, gate = tmp_path / "account", asyncio.Event()
    async with coordinator(tmp_path / "state", "127.0.0.1:0") as address:
        executors = {"work": lambda: Work(gate)}
        async with running_nodes(["a", "b"], address, tmp_path, executors=executors):
            workload = await killed_midway(address, account)
            shown = await started(SHOW, "results", workload, "--json", "--coordinator", address)
            data = json.loads((await shown.communicate())[0])["data"]
            assert (data["tasks"], data["unanswered"]) == (SENT, SENT - EARLY)
            known = data["acknowledged"]
            assert known < STORED
            assert [row["place"] for row in data["results"]] == [*range(known + 1, EARLY + 1)]
            shown = await started(SHOW, "show", workload, "--json", "--coordinator", address)
            shown_data = json.loads((await shown.communicate())[0])["data"]
            assert shown_data["kind"] == "tasks"
            counts = {"sent": SENT, "results": EARLY, "acknowledged": known}
            assert shown_data["counts"] == counts
            gate.set()
            told = await take_over(address, account, workload, "")
            assert told[0] == f"{SENT - known} ['a', 'b']"
        assert places(account) == [*range(1, STORED + 1), *range(known + 1, SENT + 1)]
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "state.sqlite")) as db:
        kept = db.execute("SELECT (SELECT count(*) FROM payloads) + (SELECT count(*) FROM results)")
        assert kept.fetchone() == (1,)  # "more": told after the loop, by a handle
        assert db.execute("SELECT count(*) FROM tasks WHERE digest = ''").fetchone() == (0,)
