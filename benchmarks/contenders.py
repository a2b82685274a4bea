"""Who is measured in a ring of processes: p2pdo, its peers, and a recursion written by hand.

A contender is opened for one size and then measured window by window. p2pdo's daemons stay for all
windows of a size; a peer is a script that is started for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from p2pdo.benchmarks.ring import FEWEST, Ring, ring_of
from p2pdo.benchmarks.windows import Window

HERE = Path(__file__).parent
NODES = 6
NOT_INSTALLED = 3
LIMIT = 600.0  # seconds for one run of anybody

LANE, GRPC = "p2pdo, shared-memory", "p2pdo, grpc"
MPI, MPI_TCP = "mpi4py Sendrecv, shared memory", "mpi4py Sendrecv, TCP"
GLOO, SOCKETS = "torch gloo isend/irecv", "blocking TCP sockets"
COMPUTE, NVFLARE = "compute only", "NVFlare p2p, its simulator"
BY_HAND = "by hand over the bare lane"
TIMED = "the same by shared memory, with --timeline"

PEERS: Mapping[str, tuple[str, ...]] = {
    MPI: ("mpi", "--btl", "vader"),
    MPI_TCP: ("mpi", "--btl", "tcp"),
    GLOO: ("gloo",),
    SOCKETS: ("tcp",),
    COMPUTE: ("compute",),
    NVFLARE: ("nvflare_p2p",),
    BY_HAND: ("by_hand",),
}
SIZES: Mapping[str, Sequence[int]] = {NVFLARE: (1, 10**6), TIMED: (1, 10**4)}
"""Who is measured at some sizes only."""
SLOW = frozenset({NVFLARE})
"""Who takes half a minute to begin: it has `SLOW_TURNS` turns of `SLOW_ITERATIONS`."""
SLOW_TURNS, SLOW_ITERATIONS = 2, 10


class Absent(Exception):
    """A peer is not installed; says which, and what is missing."""


@dataclass(frozen=True)
class Measured:
    """One window of one contender."""

    rate: float  # iterations per second
    cpu_ms: float | None  # per node-iteration
    memory_mb: float | None  # peak of the largest process

    @classmethod
    def of_window(cls, window: Window) -> Measured:
        return cls(window.rate, window.cpu_ms, window.last.memory)


Measure = Callable[[int], Awaitable[Measured]]
"""measure(iterations)."""


@dataclass
class Contender:
    """One of them.

    Attributes:
        found: turn by turn, None where it was left out of a turn; by floats.
    """

    name: str
    opened: Callable[[int], AbstractAsyncContextManager[Measure]]  # for so many floats
    found: dict[int, list[Measured | None]] = field(default_factory=dict)

    @property
    def is_slow(self) -> bool:
        return self.name in SLOW

    def takes_part(self, floats: int, turn: int) -> bool:
        """Whether it is measured in this turn, from 1."""
        is_of_size = self.name not in SIZES or floats in SIZES[self.name]
        return is_of_size and not (self.is_slow and turn > SLOW_TURNS)


def ours(lane: str, algorithm: str = "consensus", **settings: Any) -> Contender:
    """p2pdo by one of its lanes; `settings` are further ones of `Ring`."""

    @contextlib.asynccontextmanager
    async def opened(floats: int) -> AsyncIterator[Measure]:
        asked = Ring(NODES, (floats,), algorithm, lane, **settings)
        asked.check()
        async with ring_of(asked, floats) as ring:

            async def measure(iterations: int) -> Measured:
                return Measured.of_window(await ring.window(iterations))

            yield measure

    return Contender(f"p2pdo, {lane}", opened)


def timed(lane: str) -> Contender:
    """p2pdo with a timeline."""
    return replace(ours(lane, has_timeline=True), name=TIMED)


def peer(name: str, python: str) -> Contender:
    """A script in `peers`, run by an interpreter that has what it needs."""
    script, *extra = PEERS[name]
    command = [python, str(HERE / "peers" / f"{script}.py"), *extra, "--nodes", str(NODES)]

    @contextlib.asynccontextmanager
    async def opened(floats: int) -> AsyncIterator[Measure]:
        async def measure(iterations: int) -> Measured:
            asked = ["--floats", str(floats), "--iterations", str(iterations)]
            read = await run([*command, *asked])
            return Measured(
                iterations / read["seconds"],
                1e3 * read["cpu_seconds"] / iterations / NODES,
                read["peak_memory_mb"],
            )

        yield measure

    return Contender(name, opened)


async def run(command: Sequence[str]) -> dict[str, float]:
    """What a script prints as its last line.

    Raises:
        Absent: it says that it is not installed.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(LIMIT):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == NOT_INSTALLED:
        raise Absent(err.decode().strip())
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{err.decode()[-2000:]}")
    read: dict[str, float] = json.loads(out.splitlines()[-1])
    return read


async def iterations_of(measure: Measure, floats: int, seconds: float) -> int:
    """How many make a window; from a short run."""
    guess = max(FEWEST, min(200, 10**7 // floats))
    rate = (await measure(guess)).rate
    return max(FEWEST, int(rate * seconds))
