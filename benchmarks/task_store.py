"""How large a coordinator's database becomes while one workload's tasks carry much.

    python benchmarks/task_store.py [--tasks 20000] [--bytes 100000] [--kept]

Coordinator, node and driver are in this process and speak real gRPC. Each task carries so many
bytes of text to a node, which answers with as many; a few are on their way at a time. Told is the
largest that the database was, with its log: what is on its way, and some 300 bytes for each task
that is done, whose row stays until its workload is pruned. `--kept` is a workload with
`keep=True`, whose results are acknowledged one by one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving

IN_FLIGHT = 16
BOUND_MB = 64.0


class Echo(p2pdo.Executor):
    @p2pdo.task
    async def echo(self, task: p2pdo.Task) -> object:
        return task.payload


class Database:
    """A coordinator's, and the largest that it was seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.largest = 0

    def look(self) -> None:
        files = self._folder.glob("state.sqlite*")
        self.largest = max(self.largest, sum(file.stat().st_size for file in files))


async def told(tasks: p2pdo.Tasks, count: int, data: str, *, kept: bool) -> AsyncIterator[None]:
    """Sends so many tasks; one step for each result."""
    sent = [await tasks.send("echo", data, to="a") for _ in range(min(count, IN_FLIGHT))]
    left = count - len(sent)
    if kept:
        async for _ in tasks.results():
            if left:
                await tasks.send("echo", data, to="a")
                left -= 1
            yield
        return
    for number in range(count):
        (await sent[number % IN_FLIGHT]).unwrap()
        if left:
            sent[number % IN_FLIGHT] = await tasks.send("echo", data, to="a")
            left -= 1
        yield


async def measure(count: int, size: int, *, kept: bool) -> tuple[float, float]:
    """The largest size in MB, and seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(folder / "coordinator")
        async with (
            serving(folder / "coordinator", "127.0.0.1:0") as address,
            running_nodes(["a"], address, folder, executors={"echo": Echo}),
            p2pdo.connect(address) as net,
            net.driver(["a"], keep=kept) as tasks,
        ):
            began, done = time.monotonic(), 0
            async for _ in told(tasks, count, "x" * size, kept=kept):
                done += 1
                if done % 100 == 0 or done == count:
                    database.look()
                    tell_progress(done, count)
            return database.largest / 1e6, time.monotonic() - began


def tell_progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="(20000)")
    parser.add_argument("--bytes", type=int, default=100_000, help="of data and of result (100000)")
    parser.add_argument("--kept", action="store_true", help="a workload with keep=True")
    options = parser.parse_args()
    largest, seconds = uvloop.run(measure(options.tasks, options.bytes, kept=options.kept))
    passed = 2 * options.tasks * options.bytes / 1e6
    print(f"{options.tasks:,} tasks with {options.bytes:,} bytes each way: {passed:,.0f} MB")
    print(f"the database was at most {largest:.1f} MB, {seconds:.0f} s, bound {BOUND_MB:g} MB")
    sys.exit(largest > BOUND_MB)


if __name__ == "__main__":
    main()
