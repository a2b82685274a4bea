"""How long nodes go on exchanging after their workload was stopped, and what waiting costs them.

    python benchmarks/abort.py [--json] [--repeat 20] [--nodes 6] [--idle 20]

A coordinator and the nodes of a ring are a process each, this one is the user. It stops a run, as
`p2pdo stop ID` does, and each node notes when it was last in an exchange: on the workload's own
thread, and for algorithms by gRPC, whose exchange is the loop's, there. Told are milliseconds from
the user's request, with its way to the coordinator and onto its disk in them, to the last node of
each run; and beside it, to the coordinator's answer.

    iterating     all nodes are at work
    waiting       one node's code does not come back; all others wait for it, or for who waits. No
                  abort can end such code, so that node is not counted: it is let go afterwards

    algorithm     gradient tracking, of 10 floats
    participant   a loop of an author's own around me.mix, of as many

Each is stopped `--repeat` times by either lane, in turns, each time at another moment. The claim:
everybody has left within 100 ms. Run it on a machine that does nothing else.

At the end each kind waits once for `--idle` seconds by either lane. The claim: a node that waits
takes less than 1 % of a core, with its connections, its heartbeat and whatever else a daemon does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from p2pdo.api.remote import RemoteNetwork, RemoteRun, connect
from p2pdo.benchmarks.processes import cpu_seconds
from p2pdo.errors import P2pdoError

BOUND_MS = 100.0
IDLE_BOUND = 1.0  # % of a core
STRAGGLER = "n0"
LANES = ("shared-memory", "grpc")
KINDS = ("algorithm", "participant")
STATES = ("iterating", "waiting")
QUIET = 0.5  # seconds, of which a wait that nobody ends takes less
SETTLED = 0.4  # seconds after the first iterations: whoever will wait does
COORDINATOR = "from p2pdo.coordinator.daemon import main; main()"
NODE = Path(__file__).parent / "aborting" / "node.py"

Case = tuple[str, str, str]
"""(kind, lane, state)"""


@dataclass(frozen=True)
class Stop:
    """Milliseconds from the request until the last node had left, and until it was answered."""

    left_ms: float
    answered_ms: float


@dataclass(frozen=True)
class Process:
    """One of the others."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode()

    async def ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return json.loads(await self.line())


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield Process(process)
    finally:
        process.terminate()
        await process.communicate()


@dataclass(frozen=True)
class Rig:
    net: RemoteNetwork
    nodes: Mapping[str, Process]

    async def ask_all(self, command: str) -> None:
        await asyncio.gather(*(node.ask(command) for node in self.nodes.values()))


@contextlib.asynccontextmanager
async def rig(nodes: int) -> AsyncIterator[Rig]:
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        options = ("--listen", "127.0.0.1:0", "--state", f"{folder}/coordinator", "--insecure")
        coordinator = await stack.enter_async_context(started("-c", COORDINATOR, *options))
        address = (await coordinator.line()).split()[-1]
        found = {}
        for name in (f"n{i}" for i in range(nodes)):
            node = await stack.enter_async_context(started(str(NODE), folder, address, name))
            await node.line()
            found[name] = node
        yield Rig(await stack.enter_async_context(connect(address)), found)


async def begun(place: Rig, case: Case) -> RemoteRun:
    """A run that is at its work, or waits for the straggler's."""
    kind, lane, state = case
    waited_for = state == "waiting"
    await place.ask_all("again")
    names = list(place.nodes)
    settings: dict[str, Any] = {"nodes": names, "lane": lane, "rounds": 10**8}
    if kind == "algorithm":
        problem = "straggling" if waited_for else "iterating"
        run = await place.net.submit("gradient-tracking", problem, observe_every=20, **settings)
    else:
        late = {"late": 50 if waited_for else -1}
        run = await place.net.submit("mixing", parameters=late, observe_every=20, **settings)
    async for metric in run.metrics():
        if metric.iteration:
            break
    await asyncio.sleep(SETTLED)
    return run


async def end(place: Rig, run: RemoteRun) -> None:
    await place.ask_all("enough")
    with contextlib.suppress(P2pdoError):
        await run.result()


async def stop_one(place: Rig, case: Case, moment: float) -> Stop:
    run = await begun(place, case)
    await asyncio.sleep(moment)
    began = time.monotonic()
    await run.stop()
    answered = time.monotonic()
    left = await _all_left(place, {STRAGGLER} if case[2] == "waiting" else ())
    await end(place, run)
    assert max(left) > began, "somebody was in an exchange when the run was stopped"
    return Stop(1e3 * (max(left) - began), 1e3 * (answered - began))


async def _all_left(place: Rig, but: Iterable[str]) -> list[float]:
    """When each node was last in an exchange; known once it has been in none for a while."""
    before: list[float] = []
    nodes = [place.nodes[name] for name in place.nodes.keys() - set(but)]
    while True:
        await asyncio.sleep(QUIET)
        found = [await node.ask("left") for node in nodes]
        if found == before:
            return found
        before = found


async def idle(place: Rig, kind: str, lane: str, seconds: float) -> float:
    """% of a core that a node takes that waits: the mean of all but the straggler."""
    run = await begun(place, (kind, lane, "waiting"))
    waiting = [node.process.pid for name, node in place.nodes.items() if name != STRAGGLER]
    before, began = cpu_seconds(waiting), time.monotonic()
    await asyncio.sleep(seconds)
    after, took = cpu_seconds(waiting), time.monotonic() - began
    await run.stop()
    await end(place, run)
    assert before is not None, "a system that tells processes' CPU time"
    assert after is not None, "no node has died"
    return 100 * (after - before) / took / len(waiting)


async def measure(nodes: int, repeat: int, seconds: float) -> dict[str, Any]:
    rng = random.Random(1)  # noqa: S311
    cases = list(itertools.product(KINDS, LANES, STATES))
    found: dict[Case, list[Stop]] = {case: [] for case in cases}
    async with rig(nodes) as place:
        for turn in range(repeat):
            for case in cases:
                found[case].append(await stop_one(place, case, rng.uniform(0.0, 0.2)))
            print(f"{turn + 1} of {repeat} turns", file=sys.stderr, flush=True)
        waits = [
            {
                "kind": kind,
                "lane": lane,
                "percent": await idle(place, kind, lane, seconds),
                "bound_percent": IDLE_BOUND,
            }
            for kind, lane in itertools.product(KINDS, LANES)
        ]
    return summarize(found, nodes) | {"seconds": seconds, "waits": waits}


def summarize(found: Mapping[Case, list[Stop]], nodes: int) -> dict[str, Any]:
    rows = [
        {
            **dict(zip(("kind", "lane", "state"), case, strict=True)),
            "stops": len(stops),
            "median_ms": statistics.median(stop.left_ms for stop in stops),
            "max_ms": max(stop.left_ms for stop in stops),
            "answer_ms": statistics.median(stop.answered_ms for stop in stops),
            "bound_ms": BOUND_MS,
            "within": sum(stop.left_ms <= BOUND_MS for stop in stops),
        }
        for case, stops in found.items()
    ]
    return {"nodes": nodes, "cores": len(os.sched_getaffinity(0)), "rows": rows}


def show(figures: Mapping[str, Any]) -> None:
    head = f"{'ms: median':>12}{'max':>8}{'answer':>8}{'within the bound':>20}"
    print(f"{'from a stop to the last of':<44}{head}")
    for row in figures["rows"]:
        what = f"{figures['nodes']}, {row['kind']}, {row['lane']}, {row['state']}"
        within = f"{row['within']} of {row['stops']} ≤ {row['bound_ms']:.0f}"
        times = f"{row['median_ms']:>12.0f}{row['max_ms']:>8.0f}{row['answer_ms']:>8.0f}"
        print(f"{what:<44}{times}{within:>20}")
    print(f"\n{'a node that waits':<40}{'% of a core':>24}{'bound':>16}")
    for row in figures["waits"]:
        what, limit = f"{row['kind']}, {row['lane']}", f"≤ {row['bound_percent']:g}"
        print(f"{what:<40}{row['percent']:>24.2f}{limit:>16}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=20, help="stops of each (20)")
    parser.add_argument("--nodes", type=int, default=6, help="of the ring (6)")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of each wait (20)")
    options = parser.parse_args()
    if options.repeat < 1 or options.nodes < 2:
        parser.error("--repeat is 1 or more, --nodes 2 or more")
    figures = uvloop.run(measure(options.nodes, options.repeat, options.idle))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
