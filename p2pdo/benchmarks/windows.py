"""One run, looked at between two of its observed iterations.

    iteration 0 ────── K ══════════ 2K        observed at 0, K and 2K
              warms up    the window

So starting, connecting, and the first use of every buffer are outside of the window. Of nodes in
this process an observation is in it; daemons tell counters (`window_of`). How many iterations make
the seconds that were asked for is not known before: `calibrate` lets short runs tell, once for all
that are compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from p2pdo.api.network import LocalNetwork
from p2pdo.api.runs import Run
from p2pdo.errors import ConfigError
from p2pdo.reporting.records import Metric

_ENOUGH = 0.2  # of the window asked for: from such a run the rate is told well
_FACTOR = 100  # by which the iterations of a short run grow at most
_MOST = 10**7
_LONGEST = 3600


@dataclass(frozen=True)
class Reading:
    """What was read off at an observed iteration.

    Attributes:
        seconds: of a clock that begins anywhere.
        cpu: seconds; None where this machine does not tell.
        sent: payload bytes, by all nodes.
        memory: the peak of the largest process so far, in MB.
    """

    seconds: float
    cpu: float | None
    sent: int
    memory: float | None


@dataclass(frozen=True)
class Window:
    """What `iterations` of `nodes` nodes took; totals over the nodes."""

    nodes: int
    iterations: int
    first: Reading
    last: Reading

    @property
    def seconds(self) -> float:
        return self.last.seconds - self.first.seconds

    @property
    def rate(self) -> float:
        """Iterations per second."""
        return self.iterations / self.seconds

    @property
    def cpu_ms(self) -> float | None:
        """CPU milliseconds per node-iteration."""
        if self.first.cpu is None or self.last.cpu is None:
            return None
        return 1e3 * (self.last.cpu - self.first.cpu) / self.iterations / self.nodes

    @property
    def sent_mb(self) -> float:
        """MB/s of payload that a node sends."""
        return (self.last.sent - self.first.sent) / self.seconds / self.nodes / 1e6


class Arrival(NamedTuple):
    """A point of the network as it has come from its coordinator, and what was read meanwhile.

    Attributes:
        at: when it came, in seconds of this process's clock.
        cpu: seconds of the nodes by then; None where this machine does not tell.
        memory: the peak of the largest node so far, in MB.
        seconds: when the nodes were there, of their own clocks, which begin when they do.
        sent: payload bytes, by all nodes.
    """

    at: float
    cpu: float | None
    memory: float | None
    seconds: float
    sent: int


def window_of(arrivals: Sequence[Arrival], nodes: int, iterations: int) -> Window:
    """The window between the second and the third of three arrivals, `iterations` apart.

    Nodes tell of an iteration when they are there and of several at once where these follow within
    half a second; so CPU time, which is read here, is shared out over the time between arrivals,
    and where two have come together, over all that were done since the first.
    """
    begin, first, last = arrivals
    cpu: float | None = None
    if begin.cpu is not None and first.cpu is not None and last.cpu is not None:
        seconds = last.seconds - first.seconds
        if last.at - first.at > seconds / 2:
            cpu = (last.cpu - first.cpu) * seconds / (last.at - first.at)
        else:
            cpu = (last.cpu - begin.cpu) / 2
    return Window(
        nodes,
        iterations,
        Reading(first.seconds, None if cpu is None else 0.0, first.sent, first.memory),
        Reading(last.seconds, cpu, last.sent, last.memory),
    )


async def measured(
    network: LocalNetwork,
    algorithm: str,
    problems: Any,
    iterations: int,
    resources: Callable[[Run], tuple[float | None, float | None]],
    **settings: Any,
) -> Window:
    """Runs it to the end; `resources` reads CPU seconds and the peak of memory of a run.

    Raises:
        ConfigError: something does not fit.
        WorkloadFailed: the run failed; says node and iteration.
    """
    run = await network.submit(
        algorithm, problems, rounds=2 * iterations, observe_every=iterations, **settings
    )
    assert isinstance(run, Run), "an algorithm's"
    readings: list[Reading] = []

    def read(metric: Metric) -> None:
        cpu, memory = resources(run)
        readings.append(Reading(time.perf_counter(), cpu, metric.bytes_sent, memory))

    run.on_metric = read
    await run.result()
    return Window(run.job.plan.nodes, iterations, *readings[-2:])


async def calibrate(
    measure: Callable[[int], Awaitable[Window]], seconds: float, guess: int = 10
) -> int:
    """How many iterations take about so many seconds."""
    iterations = guess
    while True:
        window = await measure(iterations)
        share = seconds / max(window.seconds, 1e-6)
        following = max(1, min(math.ceil(iterations * min(share, _FACTOR)), _MOST))
        if share <= 1 / _ENOUGH or following <= iterations:
            return following
        iterations = following


def check_repeat(repeat: int) -> None:
    """Refuses to measure nothing.

    Raises:
        ConfigError: no run.
    """
    if repeat < 1:
        raise ConfigError(f"--repeat must be one or more, got {repeat}", hint="--repeat 5")


def check_pace(repeat: int, seconds: float) -> None:
    """Refuses what cannot be measured.

    Raises:
        ConfigError: no run, or a window that is none or longer than an hour.
    """
    check_repeat(repeat)
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(
            f"--seconds must be more than 0 and at most {_LONGEST}, got {seconds:g}",
            hint="--seconds 2",
        )
