"""A ring of node processes on this machine that exchange arrays of several sizes.

A coordinator and node daemons are started once a size; each window is a workload of theirs, in
float32. With consensus a node's step is x ← (x_left + x + x_right)/3, so the exchange is all there
is to it.

Nobody is shown a state: six of 100 MB reach a launcher long after the iteration that they are of. A
window's ends are what the nodes tell the coordinator, which are counters and their own clocks.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from p2pdo.api.processes import serving_processes
from p2pdo.benchmarks.costs import Distance
from p2pdo.benchmarks.processes import cpu_seconds, machine_memory, peak_memory
from p2pdo.benchmarks.spread import Spread, plain
from p2pdo.benchmarks.windows import Arrival, Window, calibrate, check_pace, window_of
from p2pdo.data.parts import part_path, write_part
from p2pdo.driving.client import Client
from p2pdo.errors import ConfigError, from_plain
from p2pdo.protocol.plan import make_start
from p2pdo.protocol.spans import spans_of_each
from p2pdo.reporting.formats import plural
from p2pdo.types import Plain
from p2pdo.wire.v1 import coordinator_pb2 as pb

_DTYPE = np.dtype("float32")
FEWEST = 6
"""Iterations of a window: a node may be one ahead of its neighbour at either end."""

_COPIES = 8  # of a value that a node holds, about


@dataclass(frozen=True)
class Ring:
    """What is asked for.

    Attributes:
        tell_every: iterations between two metrics of the nodes; None: at a window's ends alone.
        has_timeline: whether each node keeps its spans.
    """

    nodes: int = 6
    sizes: Sequence[int] = (1, 10_000, 1_000_000)
    algorithm: str = "consensus"
    lane: str = "auto"
    repeat: int = 5
    seconds: float = 2.0
    tell_every: int | None = None
    has_timeline: bool = False

    def check(self) -> None:
        """Refuses what cannot be measured, before anything starts.

        Raises:
            ConfigError: with what to ask for instead.
        """
        check_pace(self.repeat, self.seconds)
        if self.nodes < 1:
            raise ConfigError(f"--nodes must be one or more, got {self.nodes}", hint="--nodes 6")
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError("a size is a number of floats, one or more", hint="--sizes 1,1e4,1e6")
        needed = float(_COPIES * _DTYPE.itemsize * self.nodes * max(self.sizes))
        there = machine_memory()
        if there is not None and needed > there:
            raise ConfigError(
                f"{self.nodes} nodes with {max(self.sizes):,} floats need about "
                f"{needed / 1e9:,.0f} GB of memory, this machine has {there / 1e9:,.0f}",
                hint="fewer --nodes or smaller --sizes",
            )


@dataclass
class Size:
    """What was measured with arrays of so many floats."""

    floats: int
    iterations: int
    kept: int  # values for which a node may have room: degree + 3
    windows: list[Window] = field(default_factory=list)

    @property
    def rate(self) -> Spread | None:
        return Spread.of(window.rate for window in self.windows)

    @property
    def cpu_ms(self) -> Spread | None:
        return Spread.of(window.cpu_ms for window in self.windows)

    @property
    def sent_mb(self) -> Spread | None:
        return Spread.of(window.sent_mb for window in self.windows)

    @property
    def memory_mb(self) -> Spread | None:
        return Spread.of(window.last.memory for window in self.windows)

    @property
    def beyond_mb(self) -> Spread | None:
        """What a node's memory is over the values that it may keep."""
        values = self.kept * self.floats * _DTYPE.itemsize / 1e6
        peaks = [window.last.memory for window in self.windows]
        return Spread.of(None if peak is None else peak - values for peak in peaks)

    def to_plain(self) -> dict[str, Plain]:
        return {
            "floats": self.floats,
            "iterations": self.iterations,
            "iterations_per_s": plain(self.rate),
            "cpu_ms_per_node_iteration": plain(self.cpu_ms),
            "sent_mb_per_s_per_node": plain(self.sent_mb),
            "peak_memory_mb_per_node": plain(self.memory_mb),
            "peak_memory_mb_over_the_values": plain(self.beyond_mb),
        }


async def measure_ring(asked: Ring, tell: Callable[[str], None]) -> list[Size]:
    """Measures size by size; `tell` hears how far it is.

    Raises:
        ConfigError: something does not fit.
        WorkloadFailed: a run failed; says node and iteration.
    """
    asked.check()
    sizes = []
    for floats in asked.sizes:
        async with ring_of(asked, floats) as ring:
            tell(f"{plural(floats, 'float')}: how many iterations take {asked.seconds:g} s?")
            size = Size(
                floats,
                await _iterations(ring, floats, asked.seconds),
                kept=min(2, asked.nodes - 1) + 3,
            )
            sizes.append(size)
            for turn in range(1, asked.repeat + 1):
                window = await ring.window(size.iterations)
                size.windows.append(window)
                what = f"run {turn} of {asked.repeat}, {plural(floats, 'float')}"
                tell(f"{what}: {window.rate:,.4g} it/s")
    return sizes


async def _iterations(ring: Nodes, floats: int, seconds: float) -> int:
    """How many make a window."""
    guess = max(FEWEST, min(100, 10**7 // floats))
    return max(FEWEST, await calibrate(ring.window, seconds, guess))


@contextlib.asynccontextmanager
async def ring_of(asked: Ring, floats: int) -> AsyncIterator[Nodes]:
    """The nodes' processes, for as many windows as the block asks for.

    Raises:
        WorkloadFailed: a process did not start.
    """
    names = [f"node-{i}" for i in range(asked.nodes)]
    pids: list[int] = []

    def happened(event: str, fields: Mapping[str, Plain]) -> None:
        if event == "started" and fields["process"] != "coordinator":
            pids.append(int(str(fields["pid"])))

    with tempfile.TemporaryDirectory(prefix="p2pdo-") as name:
        folder = Path(name)
        parts = _write_parts(folder / "parts", asked.nodes, floats)
        async with serving_processes(names, folder, None, happened) as (client, watched):
            yield Nodes(_specification(asked, parts), client, watched, pids)


def _write_parts(folder: Path, nodes: int, floats: int) -> Path:
    folder.mkdir()
    for node in range(nodes):
        start = make_start("normal", floats, node, 0, _DTYPE.name)
        write_part(part_path(folder, node), Distance(floats, float(node)), start)
    return folder


def _specification(asked: Ring, parts: Path) -> dict[str, Plain]:
    return {
        "problem": {"name": "distance", "parts": str(parts)},
        "algorithm": {"name": asked.algorithm},
        "nodes": asked.nodes,
        "topology": "ring",
        "dtype": _DTYPE.name,
        "lane": asked.lane,
        "observe_every": asked.tell_every,
        "timeline": spans_of_each(asked.nodes) if asked.has_timeline else None,
    }


@dataclass(frozen=True)
class Nodes:
    """A ring whose processes are there; each window is a workload of theirs."""

    specification: Mapping[str, Plain]
    client: Client
    watched: Callable[[Awaitable[None]], Awaitable[None]]
    pids: Sequence[int]

    async def window(self, iterations: int) -> Window:
        """One run, between its iterations `iterations` and twice that.

        A few follow, so that nobody ends while the others' counters are on their way. There may
        be some more iterations than were asked for, because metrics come at multiples.

        Raises:
            WorkloadFailed: it failed, or a process died.
        """
        every = self.specification["observe_every"]
        every = every if isinstance(every, int) and every < iterations else iterations
        iterations = -(-iterations // every) * every
        spec: dict[str, Plain] = {
            **self.specification,
            "rounds": 2 * iterations + max(2, iterations // 10),
            "observe_every": every,
        }
        arrivals: dict[int, Arrival] = {}
        await self.watched(self._run(spec, arrivals))
        three = [arrivals[0], arrivals[iterations], arrivals[2 * iterations]]
        return window_of(three, len(self.pids), iterations)

    async def _run(self, spec: Mapping[str, Plain], arrivals: dict[int, Arrival]) -> None:
        workload = await self.client.submit(spec, uuid.uuid4().hex)
        async for event in self.client.watch(workload):
            match event.WhichOneof("event"):
                case "metric":
                    arrivals[event.metric.iteration] = self._arrived(event.metric)
                case "status" if event.status.status == "failed":
                    raise from_plain(json.loads(event.status.error))

    def _arrived(self, point: pb.NetworkPoint) -> Arrival:
        cpu, memory = cpu_seconds(self.pids), peak_memory(self.pids)
        return Arrival(time.perf_counter(), cpu, memory, point.seconds, point.bytes_sent)
