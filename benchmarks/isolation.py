"""What one workload's crash, leak or endless loop costs others on the same nodes.

    python benchmarks/isolation.py [--json] [--pairs 40] [--seconds 0.7] [--minutes 6] [--nice 19]

The claim: in worker processes, it leaves the other workloads' rate within 5 %.

The coordinator is a process, three nodes are another, and this one is the user. All the time two
workloads that behave are at work, each with pauses, so that they need less than one core:

    rounds     gradient tracking over real gRPC between the nodes
    tasks      no-op tasks, one after another, from the user to node 0 and back

At node 0 a bad one is switched on and off, in windows of less than a second, in random order
within each pair, and after each switch some time is left out. Every pair gives ratios, on to off;
told are their medians and the 95 % intervals of those (see p2pdo/benchmarks/pairs.py). So a
machine that others use makes the intervals wider, and where one is too wide, or `control` does not
hold either, nothing is shown, and the table says that.

    control    a worker process that waits: what the measurement itself is worth
    crash      one that aborts as often as it can; given up after four deaths, and begun anew
    leak       one that takes memory up to its limit of 512 MB, fails its task, and begins again
    loop       one that loops for ever; switched by SIGSTOP and SIGCONT
    a stranger that crashes, leaks, loops: the same in a plain process that no node knows of (see
               isolation_stranger.py). Two processes of one machine cannot be isolated better than
               these, so `against` sets each of the above against its stranger, turn by turn: where
               that is within the bounds, what the others lose they lose to the machine
    loop here  the same loop on a thread of the node itself, where all share one interpreter: no
               claim, this is what worker processes are for. A quarter of the pairs

    cpu        seconds of the nodes' CPU time per round: what the bad workload takes inside of the
               node, whatever else runs on the machine

A process isolates interpreters, event loops and memory, not cores: who needs all cores of a
machine is slowed by whatever else runs there. So the table says how many cores there are, and how
many were busy while it was measured, with everything that runs on the machine. The workers of the
bad workloads have `nice = 19`, as advised where cores are scarce; `--nice 0` measures without.

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
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.benchmarks.pairs import Paired, Verdict
from p2pdo.coordinator.service import serving
from p2pdo.driving.results import TaskStatus

HERE = Path(__file__).parent
NODES = ["n0", "n1", "n2"]
BOUNDS = (0.95, 1.05)
STALL_BOUND_MS = 50.0
STALL_REPEAT = 5
LARGE = 3_000_000  # bytes of an array
SETTLE = 0.2  # seconds after a switch that are not measured
DEADLINE = 5.0  # seconds for what crashes or leaks, where a machine hardly lets its worker start
TASK_PAUSE = 0.008  # seconds between two tasks
CLAIMED = ("control", "crash", "leak", "loop")
STRANGER = {kind: f"a stranger's {kind}" for kind in CLAIMED[1:]}
HERE_EVERY = 4  # so many pairs of the others for one of `loop here`
MEASURES = ("rounds", "tasks", "cpu")
CONFIGURATION = """
[node]
python_path = ["{here}"]

[executors.work]
path = "isolation_site:Work"

[executors.crunch]
path = "isolation_site:Crunch"
processes = 1
memory = 512_000_000
nice = {nice}

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
    watching: asyncio.Task[None] | None = None
    print(json.dumps(first), flush=True)
    while line := await reader.readline():
        command = line.decode().strip()
        if command == "watch":  # only while stalls are measured: it costs time of its own
            watching = asyncio.create_task(stalls.watch())
        elif command == "unwatch" and watching:
            watching.cancel()
        print(json.dumps(_answer(command, stalls)), flush=True)


def _answer(command: str, stalls: Stalls) -> object:
    if command == "stall":
        return stalls.take_ms()
    import isolation_site as site

    match command:
        case "work":
            return [time.monotonic(), time.process_time(), site.Counted.iterations]
        case "loop":
            site.ENOUGH.clear()
        case "enough":
            site.ENOUGH.set()
    return None


async def be_coordinator(folder: Path) -> None:
    async with serving(folder / "coordinator", "127.0.0.1:0") as address:
        await answer_commands(address)


async def be_nodes(folder: Path, address: str, nice: int) -> None:
    config = folder / "p2pdo.toml"
    config.write_text(CONFIGURATION.format(here=HERE, nice=nice))
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
async def rig(nice: int) -> AsyncIterator[Rig]:
    with tempfile.TemporaryDirectory() as folder:
        async with started("--coordinator", folder) as coordinator:
            address = await coordinator.answer()
            async with (
                started("--nodes", folder, address, "--nice", str(nice)) as nodes,
                p2pdo.connect(address) as net,
            ):
                await nodes.answer()
                yield Rig(net, coordinator, nodes)


# ---- who is disturbed ----


@dataclass(frozen=True)
class Reading:
    """What was done and used up to now; all of it grows.

    Attributes:
        seconds: by the nodes' clock.
        cpu: seconds of the nodes' process.
        busy: seconds of all cores of the machine together; 0 where it does not tell.
    """

    seconds: float
    cpu: float
    busy: float
    rounds: int
    tasks: int


@dataclass(frozen=True)
class Rates:
    """What a window came to: per second, and CPU seconds of the nodes per round."""

    rounds: float
    tasks: float
    cpu: float
    busy_cores: float
    node_cores: float

    @classmethod
    def between(cls, first: Reading, last: Reading) -> Rates:
        seconds = last.seconds - first.seconds
        rounds = max(last.rounds - first.rounds, 1)
        cpu = last.cpu - first.cpu
        return cls(
            rounds / seconds,
            max(last.tasks - first.tasks, 1) / seconds,
            cpu / rounds,
            (last.busy - first.busy) / seconds,
            cpu / seconds,
        )


class Victims:
    """Two workloads that go on all the time."""

    def __init__(self, place: Rig) -> None:
        self._place = place
        self._tasks = 0

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        net = self._place.net
        run = await net.submit("gradient-tracking", "counted", nodes=NODES, rounds=10**9)
        async for metric in run.metrics():
            if metric.iteration:
                break
        async with net.driver(["n0"]) as driver, asyncio.TaskGroup() as group:
            working = group.create_task(self._work(driver))
            yield
            working.cancel()
        await run.stop()

    async def _work(self, driver: p2pdo.Tasks) -> None:
        while True:
            (await driver.send_and_wait("nothing", to="n0")).unwrap()
            self._tasks += 1
            await asyncio.sleep(TASK_PAUSE)

    async def read(self) -> Reading:
        seconds, cpu, rounds = await self._place.nodes.ask("work")
        return Reading(seconds, cpu, busy_seconds(), rounds, self._tasks)

    async def rates(self, seconds: float) -> Rates:
        first = await self.read()
        await asyncio.sleep(seconds)
        return Rates.between(first, await self.read())


def busy_seconds() -> float:
    """For which the machine's cores were not idle, since it was started; 0 where nobody tells."""
    try:
        times = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = (int(time) for time in times)
    ticks = user + nice + system + interrupts + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


# ---- what disturbs them ----


class Disturber(Protocol):
    times: int

    async def on(self) -> None: ...
    async def off(self) -> None:
        """Returns when nothing of it is left that could disturb."""


class Paused:
    """A worker process that is at one task for ever; stopped while it is off."""

    times = 1

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, place: Rig, name: str) -> AsyncIterator[Disturber]:
        async with place.net.driver(["n0"]) as driver:
            pid = (await driver.send_and_wait("process", to="n0")).unwrap()
            await driver.send(name, to="n0")
            disturber = cls(pid)
            await disturber.off()
            yield disturber

    async def on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    async def off(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)


class Stranger:
    """A process group of its own, begun outside of p2pdo; stopped while it is off."""

    times = 1

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, kind: str, nice: int) -> AsyncIterator[Disturber]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "isolation_stranger.py"), kind, str(nice)),
            start_new_session=True,
        )
        disturber = cls(process.pid)
        try:
            await disturber.off()
            yield disturber
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def on(self) -> None:
        os.killpg(self._pid, signal.SIGCONT)

    async def off(self) -> None:
        os.killpg(self._pid, signal.SIGSTOP)


class Repeated:
    """A task that fails, sent again and again; off when the last one has."""

    def __init__(self, place: Rig, name: str) -> None:
        self._place = place
        self._name = name
        self.times = 0  # that it has failed
        self._on = asyncio.Event()
        self._idle = asyncio.Event()  # no task is under way
        self._idle.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, place: Rig, name: str) -> AsyncIterator[Disturber]:
        disturber = cls(place, name)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(disturber._repeat())
            yield disturber
            work.cancel()

    async def on(self) -> None:
        self._on.set()

    async def off(self) -> None:
        self._on.clear()
        if self._name == "loop_here":
            await self._place.nodes.ask("enough")
        await self._idle.wait()

    async def _repeat(self) -> None:
        while True:
            async with self._place.net.driver(["n0"]) as driver:
                for _ in range(4):  # after so many deaths the workload is given up
                    await self._once(driver)

    async def _once(self, driver: p2pdo.Tasks) -> None:
        while not self._on.is_set():  # it may be off again before this one wakes
            await self._on.wait()
        self._idle.clear()
        if self._name == "loop_here":
            await self._place.nodes.ask("loop")
        result = await driver.send_and_wait(self._name, to="n0", deadline=DEADLINE)
        self.times += result.status is TaskStatus.FAILED
        self._idle.set()


@contextlib.asynccontextmanager
async def disturbers(place: Rig, nice: int) -> AsyncIterator[dict[str, Disturber]]:
    async with contextlib.AsyncExitStack() as block:
        enter = block.enter_async_context
        yield {
            "control": await enter(Paused.started(place, "rest")),
            "crash": await enter(Repeated.started(place, "crash")),
            "leak": await enter(Repeated.started(place, "leak")),
            "loop": await enter(Paused.started(place, "loop")),
            **{STRANGER[kind]: await enter(Stranger.started(kind, nice)) for kind in STRANGER},
            "loop here": await enter(Repeated.started(place, "loop_here")),
        }


# ---- the measurement ----


@dataclass(frozen=True)
class Pair:
    on: Rates
    off: Rates

    def ratio(self, measure: str) -> float:
        return float(getattr(self.on, measure) / getattr(self.off, measure))


async def measure_pair(
    victims: Victims, disturber: Disturber, seconds: float, *, on_first: bool
) -> Pair:
    found: dict[bool, Rates] = {}
    for is_on in (on_first, not on_first):
        if is_on:
            await disturber.on()
        await asyncio.sleep(SETTLE)
        found[is_on] = await victims.rates(seconds)
        if is_on:
            await disturber.off()
    return Pair(found[True], found[False])


async def measure_pairs(
    place: Rig,
    pairs: int,
    seconds: float,
    until: float,
    rng: np.random.Generator,
    *,
    nice: int,
) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """The pairs of each kind, and how often each has failed; they take turns, in random order.

    A turn that the time does not suffice for is not counted; the first is finished in any case.
    """
    victims = Victims(place)
    found: dict[str, list[Pair]] = {}
    async with victims.working(), disturbers(place, nice) as kinds:
        for turn in range(pairs):
            names = [name for name in kinds if name != "loop here" or turn % HERE_EVERY == 0]
            pairs_now: dict[str, Pair] = {}
            for name in rng.permutation(names):
                if turn and time.monotonic() > until:  # a turn may take a minute where all is busy
                    break
                on_first = bool(rng.integers(2))
                pair = await measure_pair(victims, kinds[name], seconds, on_first=on_first)
                pairs_now[str(name)] = pair
            else:
                for name, pair in pairs_now.items():
                    found.setdefault(name, []).append(pair)
                tell_progress(turn + 1, pairs)
                continue
            break
        return found, {name: kind.times for name, kind in kinds.items()}


def tell_progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of} pairs", end="\n" if done == of else "", file=sys.stderr)


async def stalls(place: Rig) -> dict[str, float]:
    """The longest stall of either loop, in ms: the median over some repeats."""
    data = np.ones(LARGE // 8)
    loops = {"node_ms": place.nodes, "coordinator_ms": place.coordinator}
    found: dict[str, list[float]] = {name: [] for name in loops}
    async with place.net.driver(["n0"]) as driver:
        await driver.broadcast_and_wait("echo", data)
        for other in loops.values():
            await other.ask("watch")
        for _ in range(STALL_REPEAT):
            for other in loops.values():
                await other.ask("stall")
            for name in ("echo", "compute") * 2:
                for result in await driver.broadcast_and_wait(name, data):
                    result.unwrap()
            for name, other in loops.items():
                found[name].append(await other.ask("stall"))
        for other in loops.values():
            await other.ask("unwatch")
    return {name: statistics.median(values) for name, values in found.items()}


async def measure(pairs: int, seconds: float, minutes: float, nice: int) -> dict[str, Any]:
    rng = np.random.default_rng()
    until = time.monotonic() + 60 * minutes
    async with rig(nice) as place:
        stalled = await stalls(place)
        found, times = await measure_pairs(place, pairs, seconds, until, rng, nice=nice)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "nice": nice,
        "stalls": stalled,
        "kinds": {
            name: {**summarize(measured, rng), "times": times[name]}
            for name, measured in found.items()
        },
        "against": {
            kind: against(found[kind], found[stranger], rng) for kind, stranger in STRANGER.items()
        },
    }


def against(
    ours: Sequence[Pair], strangers: Sequence[Pair], rng: np.random.Generator
) -> dict[str, Any]:
    """What ours leaves the others, to what the stranger leaves them, turn by turn."""
    found = {}
    for measure in ("rounds", "tasks"):
        turns = zip(ours, strangers, strict=True)
        ratio = Paired.of([a.ratio(measure) / b.ratio(measure) for a, b in turns], rng)
        found[measure] = {**ratio.to_plain(), "verdict": str(ratio.verdict(*BOUNDS))}
    return found


def summarize(pairs: Sequence[Pair], rng: np.random.Generator) -> dict[str, Any]:
    ratios = {
        measure: Paired.of([pair.ratio(measure) for pair in pairs], rng) for measure in MEASURES
    }
    return {
        "ratios": {
            measure: {**found.to_plain(), "verdict": str(found.verdict(*BOUNDS))}
            for measure, found in ratios.items()
        },
        **{
            side: {
                name: statistics.median(getattr(getattr(pair, side), name) for pair in pairs)
                for name in ("rounds", "tasks", "busy_cores", "node_cores")
            }
            for side in ("off", "on")
        },
    }


# ---- the table ----


def show(figures: Mapping[str, Any]) -> None:
    listed = (*CLAIMED, *STRANGER.values(), "loop here")
    kinds = {name: figures["kinds"][name] for name in listed}
    off = kinds["control"]["off"]
    print(
        f"undisturbed: {off['rounds']:,.0f} rounds/s, {off['tasks']:,.0f} tasks/s, "
        f"{off['node_cores']:.2f} cores for the nodes"
    )
    pairs = kinds["control"]["ratios"]["rounds"]["pairs"]
    print(
        f"nice of the workers {figures['nice']}, {pairs} pairs of windows; "
        f"{kinds['crash']['times']} crashes, {kinds['leak']['times']} leaks up to the limit"
    )
    print()
    print(
        f"{'beside':<19}{'what':<8}{'on : off (95 % interval)':<28}{'0.95 to 1.05':<16}busy cores"
    )
    for name, kind in kinds.items():
        for measure in MEASURES:
            ratio = kind["ratios"][measure]
            figure = in_words(ratio)
            told = ratio["verdict"] if name in CLAIMED else ""
            row = f"{measure:<8}{figure:<28}{told:<16}"
            if measure == MEASURES[0]:
                busy = [kind[side]["busy_cores"] for side in ("off", "on")]
                cores = f"{busy[0]:.1f} off, {busy[1]:.1f} on, of {figures['cores']}"
                print(f"{name:<19}{row}{cores}")
            else:
                print(f"{'':<19}{row}".rstrip())
    for kind, ratios in figures["against"].items():
        for measure, ratio in ratios.items():
            name = f"{kind} : stranger's" if measure == "rounds" else ""
            print(f"{name:<19}{measure:<8}{in_words(ratio):<28}{ratio['verdict']}")
    print()
    print(conclusion(kinds))
    for name, stall in figures["stalls"].items():
        who = name.removesuffix("_ms")
        print(f"longest stall: {who} {stall:.1f} ms, bound {STALL_BOUND_MS:g} ms")


def in_words(ratio: Mapping[str, Any]) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def conclusion(kinds: Mapping[str, Any]) -> str:
    """What the rates say of the claim."""
    verdicts = {
        name: {
            Verdict(kinds[name]["ratios"][measure]["verdict"]) for measure in ("rounds", "tasks")
        }
        for name in CLAIMED
    }
    for name in ("crash", "leak"):  # a worker that hardly starts disturbs nobody
        if 2 * kinds[name]["times"] < kinds[name]["ratios"]["rounds"]["pairs"]:
            verdicts[name] = {Verdict.NOT_SHOWN}
    if verdicts["control"] != {Verdict.HOLDS}:
        return "nothing is shown: the control itself is not within 5 %; use a quieter machine"
    told = []
    for verdict in (Verdict.HOLDS, Verdict.FAILS, Verdict.NOT_SHOWN):
        names = [name for name in CLAIMED[1:] if worst(verdicts[name]) is verdict]
        if names:
            told.append(f"{verdict} for {', '.join(names)}")
    return f"that the others' rates stay within 5 %: {'; '.join(told)}"


def worst(verdicts: set[Verdict]) -> Verdict:
    order = (Verdict.FAILS, Verdict.NOT_SHOWN, Verdict.HOLDS)
    return next(verdict for verdict in order if verdict in verdicts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--pairs", type=int, default=40, help="of windows, of each kind (40)")
    parser.add_argument("--seconds", type=float, default=0.7, help="of a window (0.7)")
    parser.add_argument("--minutes", type=float, default=6.0, help="at most, about (6)")
    parser.add_argument("--nice", type=int, default=19, help="of the bad workloads' workers (19)")
    parser.add_argument("--coordinator", nargs=1, help=argparse.SUPPRESS)
    parser.add_argument("--nodes", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pairs < 1 or options.seconds <= 0:
        parser.error("--pairs and --seconds are more than 0")
    if options.coordinator:
        uvloop.run(be_coordinator(Path(options.coordinator[0])))
    elif options.nodes:
        uvloop.run(be_nodes(Path(options.nodes[0]), options.nodes[1], options.nice))
    else:
        how_long = (options.pairs, options.seconds, options.minutes)
        figures = uvloop.run(measure(*how_long, options.nice))
        if options.json:
            print(json.dumps(figures, indent=2))
        else:
            show(figures)


if __name__ == "__main__":
    main()
