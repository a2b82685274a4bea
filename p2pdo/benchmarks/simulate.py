"""Nodes of one process: how many node-iterations a second, as a ring grows.

Two workloads. Averaging one float is the price of an exchange; gradient tracking with d = 10 is
the least that does something. A node's work is the same however many there are, so node-iterations
a second that stay the same are what one hopes for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pdo.api.limits import check_most
from p2pdo.api.network import local
from p2pdo.api.runs import Run
from p2pdo.benchmarks.costs import Distance
from p2pdo.benchmarks.spread import Spread, plain
from p2pdo.benchmarks.windows import Window, calibrate, check_pace, measured
from p2pdo.errors import ConfigError
from p2pdo.reporting.formats import plural
from p2pdo.types import Plain


@dataclass(frozen=True)
class Work:
    """An algorithm and how many floats it is about."""

    algorithm: str
    dimension: int


WORKS = (Work("consensus", 1), Work("gradient-tracking", 10))


@dataclass(frozen=True)
class Simulate:
    """What is asked for."""

    nodes: Sequence[int] = (10, 100, 1000)
    repeat: int = 5
    seconds: float = 1.0

    def check(self) -> None:
        """Refuses what cannot be measured, before anything starts.

        Raises:
            ConfigError: with what to ask for instead.
        """
        check_pace(self.repeat, self.seconds)
        if not self.nodes or min(self.nodes) < 1:
            raise ConfigError("a number of nodes is one or more", hint="--nodes 10,100,1000")
        check_most(max(self.nodes))


@dataclass
class Simulated:
    """What was measured of one workload with so many nodes."""

    work: Work
    nodes: int
    iterations: int
    windows: list[Window] = field(default_factory=list)

    @property
    def rate(self) -> Spread | None:
        """Node-iterations a second."""
        return Spread.of(window.nodes * window.rate for window in self.windows)

    @property
    def cpu_us(self) -> Spread | None:
        """CPU microseconds per node-iteration, of the process that they all share."""
        found = [window.cpu_ms for window in self.windows]
        return Spread.of(None if cpu is None else 1e3 * cpu for cpu in found)

    def to_plain(self) -> dict[str, Plain]:
        return {
            "algorithm": self.work.algorithm,
            "dimension": self.work.dimension,
            "nodes": self.nodes,
            "iterations": self.iterations,
            "node_iterations_per_s": plain(self.rate),
            "cpu_us_per_node_iteration": plain(self.cpu_us),
        }


async def measure_simulated(asked: Simulate, tell: Callable[[str], None]) -> list[Simulated]:
    """Measures both workloads, all in turn; `tell` hears how far it is.

    Raises:
        ConfigError: something does not fit.
    """
    asked.check()
    found = []
    for nodes in asked.nodes:
        for work in WORKS:
            tell(f"{work.algorithm}, {plural(nodes, 'node')}: how many iterations take a window?")
            found.append(Simulated(work, nodes, await _iterations(work, nodes, asked.seconds)))
    for turn in range(1, asked.repeat + 1):
        for one in found:
            window = await _window(one.work, one.nodes, one.iterations)
            one.windows.append(window)
            tell(
                f"run {turn} of {asked.repeat}, {one.work.algorithm}, {plural(one.nodes, 'node')}: "
                f"{one.nodes * window.rate:,.4g} node-iterations/s"
            )
    return found


async def _iterations(work: Work, nodes: int, seconds: float) -> int:
    async def measure(iterations: int) -> Window:
        return await _window(work, nodes, iterations)

    return await calibrate(measure, seconds)


async def _window(work: Work, nodes: int, iterations: int) -> Window:
    problems = [Distance(work.dimension, float(node)) for node in range(nodes)]
    async with local(nodes, "ring", on="inprocess") as net:
        return await measured(net, work.algorithm, problems, iterations, _of_this_process)


def _of_this_process(_run: Run) -> tuple[float | None, float | None]:
    return time.process_time(), None
