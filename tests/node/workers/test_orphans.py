"""No worker process outlives its node, whatever it is doing or is kept from doing."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from worker_clients import HELPERS, Watched, client, read, spec, wait_until_stopped

from p2pdo.node.workers.process import Worker

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

NODE = f"""
import asyncio, sys
sys.path[:0] = {[str(HELPERS), str(Path(__file__).parent)]}
import test_orphans
asyncio.run(getattr(test_orphans, sys.argv[1])(*sys.argv[2:]))
"""


async def be_node(folder: str, task: str) -> None:
    """Tells of a child of a worker, and begins the task."""
    async with client(spec(args={"folder": folder})) as hub:
        tell(await hub.do("start_child"))
        await hub.send(task)
        await asyncio.Event().wait()


async def be_node_of_stopped_worker() -> None:
    """Tells of a worker that stands still in the midst of its start."""
    stop = Worker.stop

    def stop_and_tell(worker: Worker) -> None:
        stop(worker)
        wait_until_stopped(worker.pid)
        tell(worker.pid)

    Worker.stop = stop_and_tell  # type: ignore[method-assign] - a process of its own
    async with client(spec(cpu=0.01, processes=1)) as hub:
        await hub.do("where")


def tell(pid: int) -> None:
    print(pid, flush=True)  # noqa: T201 - to the test


@contextlib.asynccontextmanager
async def node(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A node in a process of its own, which is killed, and what it has told first."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", NODE, *arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("name", ["where", "spin", "call_c_for_ever"])
async def test_no_worker_outlives_a_node_that_is_killed(
    name: str, pipe: Callable[[str], Path], tmp_path: Path
) -> None:
    spins = [pipe("spins-0"), pipe("spins-1")] if name != "where" else []
    async with node("be_node", str(tmp_path), name) as (process, child):
        for path in spins:
            await read(path)
        workers = [worker.pid for worker in psutil.Process(process.pid).children()]
        assert len(workers) == 2
        watched = Watched([*workers, child])
    assert watched.have_ended()


async def test_no_worker_that_stands_still_outlives_a_node_that_is_killed() -> None:
    async with node("be_node_of_stopped_worker") as (_, worker):
        assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
        watched = Watched([worker])
    assert watched.have_ended()
