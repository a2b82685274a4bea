"""A ring of node processes on this machine that exchange arrays of several sizes.

Each run is what `p2pdo run --on processes` does: real daemons, the real runtime, float32. With
consensus a node's step is x ← (x_left + x + x_right)/3, so the exchange is all there is to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from p2pdo.api.network import local
from p2pdo.api.runs import Run
from p2pdo.benchmarks.processes import cpu_seconds, machine_memory, peak_memory
from p2pdo.benchmarks.spread import Spread, plain
from p2pdo.benchmarks.windows import Window, calibrate, check_pace, measured
from p2pdo.errors import ConfigError
from p2pdo.reporting.formats import plural
from p2pdo.types import Array, Plain

_DTYPE = np.dtype("float32")
_FEWEST = 10  # iterations of a window: the launcher sees its ends late by an observation's transfer
_COPIES = 8  # of a value that a node and this process hold of it, about


@dataclass(frozen=True)
class Distance:
    """½ ‖x − c‖² with c the same in all coordinates: a gradient costs no more than an exchange."""

    in_place: ClassVar[bool] = True

    size: int
    centre: float = 0.0
    smoothness: float = 1.0
    strong_convexity: float = 1.0
    is_quadratic: bool = True

    @property
    def dimension(self) -> int:
        return self.size

    def value(self, x: Array) -> float:
        return 0.5 * float(np.sum((x - x.dtype.type(self.centre)) ** 2))

    def gradient(self, x: Array) -> Array:
        difference: Array = x - x.dtype.type(self.centre)
        return difference


@dataclass(frozen=True)
class Ring:
    """What is asked for."""

    nodes: int = 6
    sizes: Sequence[int] = (1, 10_000, 1_000_000)
    algorithm: str = "consensus"
    lane: str = "auto"
    repeat: int = 5
    seconds: float = 2.0

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
    """Measures each size, the sizes in turn; `tell` hears how far it is.

    Raises:
        ConfigError: something does not fit.
        WorkloadFailed: a run failed; says node and iteration.
    """
    asked.check()
    sizes = []
    for floats in asked.sizes:
        tell(f"{plural(floats, 'float')}: how many iterations take {asked.seconds:g} s?")
        kept = min(2, asked.nodes - 1) + 3
        sizes.append(Size(floats, await ring_iterations(asked, floats), kept))
    for turn in range(1, asked.repeat + 1):
        for size in sizes:
            window = await ring_window(asked, size.floats, size.iterations)
            size.windows.append(window)
            what = f"run {turn} of {asked.repeat}, {plural(size.floats, 'float')}"
            tell(f"{what}: {window.rate:,.4g} it/s")
    return sizes


async def ring_iterations(asked: Ring, floats: int) -> int:
    """How many iterations make a window."""

    async def measure(iterations: int) -> Window:
        return await ring_window(asked, floats, iterations)

    return await calibrate(measure, asked.seconds, guess=max(_FEWEST, min(100, 10**7 // floats)))


async def ring_window(asked: Ring, floats: int, iterations: int) -> Window:
    """One run."""
    problems = [Distance(floats, float(node)) for node in range(asked.nodes)]
    settings = {"dtype": _DTYPE.name, "lane": asked.lane}
    async with local(asked.nodes, "ring", processes=True) as net:
        return await measured(net, asked.algorithm, problems, iterations, _of_nodes, **settings)


def _of_nodes(run: Run) -> tuple[float | None, float | None]:
    """CPU seconds and the peak of memory of a run's node processes."""
    pids = [
        int(str(event["pid"]))
        for event in run.folder.read_events()
        if event["event"] == "started" and event["process"] != "coordinator"
    ]
    return cpu_seconds(pids), peak_memory(pids)
