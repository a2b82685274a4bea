"""What processes have used of the CPU, as it is read; the processes are real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from p2pdo.node.workers.cpu_time import CpuMeter

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

TICK = 1 / os.sysconf("SC_CLK_TCK")
BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
TELL = "import os\nprint(sum(os.times()[:4]), flush=True)\n"  # its own and of whom it waited for
STAY = "input()\n"


def parent(of: str, *, session: bool = False) -> str:
    """One that has a child, and waits for it on another thread than its main one."""
    child = f"subprocess.run([sys.executable, '-c', {of!r}], start_new_session={session})"
    return (
        "import subprocess, sys, threading\n"
        f"thread = threading.Thread(target=lambda: {child})\nthread.start()\nthread.join()\n"
    )


@contextlib.asynccontextmanager
async def leader(code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()  # they all wait for that, or have ended
        await process.wait()


async def burnt_by(process: asyncio.subprocess.Process) -> float:
    """What it says that it has used, before it waits."""
    assert process.stdout is not None
    return float(await process.stdout.readline())


@contextlib.contextmanager
def meter() -> CpuMeter:
    made = CpuMeter()
    try:
        yield made
    finally:
        made.close()


async def test_processes_are_counted_together() -> None:
    async with leader(BURN + TELL + STAY) as one, leader(BURN + TELL + STAY) as two:
        burnt = await burnt_by(one) + await burnt_by(two)
        with meter() as made:
            told = await made.read([one.pid, two.pid])
    assert burnt - 4 * TICK <= told <= burnt + 0.1


@pytest.mark.parametrize(
    ("code", "least", "most"),
    [
        (parent(BURN + TELL + STAY), 0.25, 1.0),  # a child that lives
        (parent(BURN) + TELL + STAY, 0.25, 1.0),  # one that was waited for
        (parent(parent(BURN + TELL + STAY)), 0.25, 1.0),  # a child's child
        (parent(BURN + TELL + STAY, session=True), 0.0, 0.25),  # one that has left the group
    ],
)
async def test_what_it_has_started_is_counted_with_it(code: str, least: float, most: float) -> None:
    async with leader(code) as process:
        assert await burnt_by(process) >= 0.3 - 2 * TICK
        with meter() as made:
            assert least < await made.read([process.pid]) < most


async def test_one_that_is_gone_counts_nothing_and_keeps_nothing_open() -> None:
    async with leader(BURN + TELL + STAY) as process:
        await burnt_by(process)
        before = psutil.Process().num_fds()
        with meter() as made:
            assert await made.read([process.pid]) > 0.2
            assert psutil.Process().num_fds() > before
            process.kill()
            await process.wait()
            assert await made.read([process.pid]) == 0
        with meter() as another:
            assert await another.read([process.pid]) == 0
    assert psutil.Process().num_fds() < before  # its pipes
