"""Worker processes: so many at a time, each with one trial after the other.

A worker that dies, killed for its memory for example, costs its trial and not the comparison:
another takes its place, and the trial stays unfinished, to be run when the comparison goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pdo.api.children import end, how_it_ended, last_lines, single_threaded
from p2pdo.errors import WorkloadFailed
from p2pdo.reporting.json_lines import encode
from p2pdo.runtime.groups import task_group


@dataclass(frozen=True)
class Work:
    """One trial as a worker is told it; `name` is what people call it."""

    name: str
    content: Mapping[str, Any]


Told = Callable[[Work, Mapping[str, Any]], None]
"""told(work, what): "iteration" and "gap" on the way; "ended", or "died" with how, at last."""


async def run_in_workers(works: Iterable[Work], workers: int, log: Path, told: Told) -> None:
    """Runs all of them; when this is cancelled, the workers have ended before it returns.

    Raises:
        WorkloadFailed: a worker did not start.
    """
    waiting = deque(works)
    async with task_group() as group:
        for _ in range(min(workers, len(waiting))):
            group.create_task(_keep_working(waiting, log, told))


async def _keep_working(waiting: deque[Work], log: Path, told: Told) -> None:
    while waiting:
        async with _worker(log) as process:
            while waiting:
                work = waiting.popleft()
                if not await _work(process, work, told):
                    break


async def _work(process: asyncio.subprocess.Process, work: Work, told: Told) -> bool:
    """Whether the worker still lives after it."""
    assert process.stdin is not None, "piped"
    assert process.stdout is not None, "piped"
    with contextlib.suppress(OSError):  # it is dead already, which its silence tells
        process.stdin.write(f"{encode(work.content)}\n".encode())
        await process.stdin.drain()
    async for line in process.stdout:
        what = json.loads(line)
        told(work, what)
        if "ended" in what:
            return True
    told(work, {"died": how_it_ended(await process.wait())})
    return False


@contextlib.asynccontextmanager
async def _worker(log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "p2pdo.api.comparisons.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # a Ctrl-C at the terminal is for the launcher alone
            env=single_threaded(),
        )
    try:
        assert process.stdout is not None, "piped"
        if not await process.stdout.readline():
            words = await asyncio.to_thread(last_lines, log)
            raise WorkloadFailed(
                "\n  ".join(
                    [f"a worker did not start ({how_it_ended(await process.wait())})", *words]
                ),
                hint=f"look at {log}",
            )
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await end(process)
