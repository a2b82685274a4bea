"""What one workload's crash, leak or endless loop costs another one on the same nodes.

    python benchmarks/isolation.py [--json] [--repeat 5] [--seconds 2]

The coordinator is a process, three nodes are another, and this one is the user. A workload that
behaves is measured in windows of some seconds: alone, then beside a bad one at node 0, then alone
again. The figures are the rates in the middle as shares of the mean of their two neighbours, the
medians over `--repeat` such triples; so a machine that slows down for all slows down both sides.

    cpu        what is done in a second of the nodes' own CPU time: what the bad workload takes
               inside of the node, whatever else runs on the machine
    wall       what is done in a second. Where others use the machine too, `rest` tells what
               this is worth

    rounds     gradient tracking over real gRPC between the nodes: iterations per second
    tasks      no-op tasks, one after another, from the user to node 0 and back: tasks per second

    rest       a worker process that waits: what the measurement itself is worth
    crash      one that aborts again and again: four deaths, the workload is given up, a new one
    leak       one that takes memory up to its limit of 512 MB, fails its task, and begins again
    loop       one that loops for ever
    polite     the same with `nice = 19`
    loop here  the same loop on a thread of the node itself, where the two share one interpreter;
               without a bound: this is what worker processes are for

A process isolates interpreters, event loops and memory, not cores: who needs all cores of a
machine is slowed by whatever else runs there. So the bound is on `cpu`, and on `wall` only where a
core is free for the worker; where none is, `nice` lets the worker have what is left over. The table
says where there are fewer than three.

    stall      the longest time for which an event loop did not get on, of node and coordinator,
               while its tasks carry 3 MB arrays both ways: through a coroutine, and through a plain
               handler that computes. A busy machine's delays are in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.service import serving

HERE = Path(__file__).parent
NODES = ["n0", "n1", "n2"]
SHARE_BOUND = 0.95
STALL_BOUND_MS = 50.0
LARGE = 3_000_000  # bytes of an array
CORES = 3  # for the nodes, for coordinator and user, for the worker
KINDS = ("rest", "crash", "leak", "loop", "polite", "loop here")
CONFIGURATION = f"""
[node]
python_path = ["{HERE}"]

[executors.work]
path = "isolation_site:Work"

[executors.crunch]
path = "isolation_site:Crunch"
tasks = ["rest", "crash", "leak", "loop"]
processes = 1
memory = 512_000_000

[executors.polite]
path = "isolation_site:Crunch"
tasks = ["polite"]
processes = 1
nice = 19

[problems]
counted = "isolation_site:counted"
"""


# ---- the other processes ----


class Stalls:
    """How long the loop did not get on, at worst, since it was last asked."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def watch(self, step: float = 0.001) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(step)
            self._worst = max(self._worst, loop.time() - began - step)

    def take_ms(self) -> float:
        worst, self._worst = self._worst, 0.0
        return 1e3 * worst


async def answer_commands(first: object) -> None:
    """Says something first, then answers commands from stdin, one a line."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stalls = Stalls()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(stalls.watch())
        print(json.dumps(first), flush=True)
        while line := await reader.readline():
            print(json.dumps(_answer(line.decode().strip(), stalls)), flush=True)
        watching.cancel()


def _answer(command: str, stalls: Stalls) -> object:
    if command == "stall":
        return stalls.take_ms()
    import isolation_site as site

    match command:
        case "cpu":
            return time.process_time()
        case "iterations":
            return site.Counted.iterations
        case "loop":
            site.ENOUGH.clear()
        case "enough":
            site.ENOUGH.set()
    return None


async def be_coordinator(folder: Path) -> None:
    async with serving(folder / "coordinator", "127.0.0.1:0") as address:
        await answer_commands(address)


async def be_nodes(folder: Path, address: str) -> None:
    config = folder / "p2pdo.toml"
    config.write_text(CONFIGURATION)
    async with running_nodes(NODES, address, folder, executors={}, config=config):
        await answer_commands(None)


class Other:
    """One of the other processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self.answer()

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Other]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the nodes log every death
    )
    try:
        yield Other(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


class Rig:
    """The network, seen by its user."""

    def __init__(self, net: p2pdo.RemoteNetwork, coordinator: Other, nodes: Other) -> None:
        self.net = net
        self.coordinator = coordinator
        self.nodes = nodes


@contextlib.asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    with tempfile.TemporaryDirectory() as folder:
        async with started("--coordinator", folder) as coordinator:
            address = await coordinator.answer()
            async with started("--nodes", folder, address) as nodes, p2pdo.connect(address) as net:
                await nodes.answer()
                yield Rig(net, coordinator, nodes)


# ---- what is measured: how much was done, as a number that grows ----

Done = Callable[[], Awaitable[int]]


@contextlib.asynccontextmanager
async def rounds(place: Rig) -> AsyncIterator[Done]:
    run = await place.net.submit("gradient-tracking", "counted", nodes=NODES, rounds=10**9)
    async for metric in run.metrics():
        if metric.iteration:
            break

    async def done() -> int:
        return int(await place.nodes.ask("iterations"))

    yield done
    await run.stop()


@contextlib.asynccontextmanager
async def tasks(place: Rig) -> AsyncIterator[Done]:
    count = 0

    async def work() -> None:
        nonlocal count
        while True:
            (await driver.send_and_wait("nothing", to="n0")).unwrap()
            count += 1

    async def done() -> int:
        return count

    async with place.net.driver(["n0"]) as driver, asyncio.TaskGroup() as group:
        working = group.create_task(work())
        yield done
        working.cancel()


# ---- what disturbs it ----


@contextlib.asynccontextmanager
async def beside(place: Rig, kind: str) -> AsyncIterator[None]:
    """A bad workload at node 0, from when it is at it."""
    async with asyncio.TaskGroup() as group:
        if kind in ("crash", "leak"):
            disturbing = group.create_task(_again_and_again(place, kind))
        else:
            disturbing = group.create_task(_once(place, kind))
        await asyncio.sleep(0.7)  # it starts its processes
        yield
        disturbing.cancel()
    if kind == "loop here":
        await place.nodes.ask("enough")
    await asyncio.sleep(1.5)  # the last of it is gone


async def _again_and_again(place: Rig, kind: str) -> None:
    while True:
        async with place.net.driver(["n0"]) as driver:
            for _ in range(4):
                await driver.send_and_wait(kind, to="n0")


async def _once(place: Rig, kind: str) -> None:
    if kind == "loop here":
        await place.nodes.ask("loop")
    async with place.net.driver(["n0"]) as driver:
        await driver.send_and_wait(kind.replace(" ", "_"), to="n0")


@dataclass(frozen=True)
class Rate:
    """How much was done in a second, and in a second of the nodes' CPU time."""

    wall: float
    cpu: float


async def rate(place: Rig, done: Done, seconds: float) -> Rate:
    loop = asyncio.get_running_loop()
    began, cpu, before = loop.time(), await place.nodes.ask("cpu"), await done()
    await asyncio.sleep(seconds)
    count = await done() - before
    return Rate(count / (loop.time() - began), count / (await place.nodes.ask("cpu") - cpu))


async def shares(place: Rig, done: Done, repeat: int, seconds: float) -> dict[str, Any]:
    """The rate alone; for each kind the share of every repeat, by either clock."""
    found: dict[str, Any] = {kind: {"wall": [], "cpu": []} for kind in KINDS}
    alone = [await rate(place, done, seconds)]
    for _ in range(repeat):
        for kind in KINDS:
            async with beside(place, kind):
                disturbed = await rate(place, done, seconds)
            alone.append(await rate(place, done, seconds))
            before, after = alone[-2:]
            found[kind]["wall"].append(2 * disturbed.wall / (before.wall + after.wall))
            found[kind]["cpu"].append(2 * disturbed.cpu / (before.cpu + after.cpu))
    return {"alone_per_s": statistics.median(one.wall for one in alone), "shares": found}


async def stalls(place: Rig, repeat: int) -> dict[str, float]:
    """The longest stall of either loop, in ms: the median over the repeats."""
    data = np.ones(LARGE // 8)
    found: dict[str, list[float]] = {"node_ms": [], "coordinator_ms": []}
    async with place.net.driver(["n0"]) as driver:  # a process has one node where it matters
        await driver.broadcast_and_wait("echo", data)
        for _ in range(repeat):
            await place.nodes.ask("stall")
            await place.coordinator.ask("stall")
            for name in ("echo", "compute") * 2:
                for result in await driver.broadcast_and_wait(name, data):
                    result.unwrap()
            found["node_ms"].append(await place.nodes.ask("stall"))
            found["coordinator_ms"].append(await place.coordinator.ask("stall"))
    return {name: statistics.median(values) for name, values in found.items()}


# ---- the table ----


async def measure(repeat: int, seconds: float) -> dict[str, Any]:
    figures: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "repeat": repeat}
    async with rig() as place:
        figures["stalls"] = await stalls(place, repeat)
        for what in (rounds, tasks):
            async with what(place) as done:
                figures[what.__name__] = await shares(place, done, repeat, seconds)
    return figures


def show(figures: Mapping[str, Any]) -> None:
    rows = []
    for what in ("rounds", "tasks"):
        measured = figures[what]
        rows.append((f"{what}, alone", f"{measured['alone_per_s']:,.0f}/s", ""))
        for kind, share in measured["shares"].items():
            figure = ", ".join(f"{clock} {_spread(values)}" for clock, values in share.items())
            bound = "" if kind in ("rest", "loop here") else f"cpu ≥ {SHARE_BOUND} ×"
            rows.append((f"{what}, beside: {kind}", figure, bound))
    for name, stall in figures["stalls"].items():
        who = name.removesuffix("_ms")
        rows.append((f"longest stall: {who}", f"{stall:.1f} ms", f"≤ {STALL_BOUND_MS:g} ms"))
    for what, figure, bound in [("what", "measured", "bound"), *rows]:
        print(f"{what:<28}{figure:<58}{bound}")
    if figures["cores"] < CORES:
        print(f"{figures['cores']} cores: none is free for the worker")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} × ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=5, help="of each triple (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a window (default 2)")
    parser.add_argument("--coordinator", nargs=1, help=argparse.SUPPRESS)
    parser.add_argument("--nodes", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.coordinator:
        uvloop.run(be_coordinator(Path(options.coordinator[0])))
    elif options.nodes:
        uvloop.run(be_nodes(Path(options.nodes[0]), options.nodes[1]))
    else:
        figures = uvloop.run(measure(options.repeat, options.seconds))
        if options.json:
            print(json.dumps(figures, indent=2))
        else:
            show(figures)


if __name__ == "__main__":
    main()
