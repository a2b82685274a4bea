"""One of two processes that average a large value: `test_large_values.py` starts both.

    python large_values.py INDEX ENTRIES        lines of JSON on stdin and stdout

It tells its address, is told the other's, runs, and tells its peak memory and whether every entry
is what it should be.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2pdo.algorithms.consensus import Consensus
from p2pdo.effects import Row, freeze
from p2pdo.environment import keep_memory
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports import rpc
from p2pdo.transports.peers import PeerLinks
from p2pdo.types import Array, NodeId, WorkloadId

BLOCK = 1 << 20
ROUNDS = 2
WEIGHTS = (0.25, 0.75)  # a row of W; the other node's is the same


@dataclass(frozen=True)
class Nothing:
    dimension: int


def start(node: int, first: int, count: int) -> Array:
    """Entries `first` … of a node's start: no two neighbouring pieces are alike."""
    entries = np.arange(first, first + count, dtype=np.uint64)
    return ((entries * (2654435761 + node)) % 1000003).astype(np.float32)


def whole_start(node: int, size: int) -> Array:
    x = np.empty(size, np.float32)
    for at in range(0, size, BLOCK):
        piece = x[at : at + BLOCK]
        piece[:] = start(node, at, len(piece))
    return freeze(x)


def is_right(x: Array) -> bool:
    """Against the same sums of each piece by itself."""
    for at in range(0, x.size, BLOCK):
        piece = x[at : at + BLOCK]
        a, b = (start(node, at, len(piece)) for node in (0, 1))
        for _ in range(ROUNDS):
            a = b = np.float32(WEIGHTS[0]) * a + np.float32(WEIGHTS[1]) * b
        if not np.array_equal(piece, a):
            return False
    return True


def peak_memory() -> int:
    """In bytes, of this program: what getrusage tells begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))


def say(what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 - to the test


async def main(node: int, x: Array) -> None:
    other, size = 1 - node, x.size
    names = NodeId("a"), NodeId("b")
    row = Row(tuple(enumerate(WEIGHTS)))
    place = Place(node, names[node], (other,), (other,), row)
    exchanger = Exchanger(place, {other: names[other]}, b"topology")
    server = rpc.make_server(None)
    async with PeerLinks(names[node], "boot", None, value_limit=4 * size) as links:
        links.register(server)
        say(rpc.bind(server, "127.0.0.1:0"))
        await server.start()
        address = json.loads(await asyncio.to_thread(sys.stdin.readline))
        workload = WorkloadId("w")
        exchanger.connect(links.open(workload, exchanger, {names[other]: address}))
        compute = ThreadCompute("compute")
        stepper = await compute.run(Stepper, Consensus(), Nothing(size), place, x, 0)
        del x
        report = await Driver(
            stepper, exchanger, compute, None, rounds=ROUNDS, observe_every=ROUNDS, judged=False
        ).run()
        peak = peak_memory()
        right = await compute.run(is_right, report.x)
        say({"peak": peak, "right": right})
        await asyncio.to_thread(sys.stdin.readline)  # the other one may still need us
        exchanger.close("it is over")
        links.close(workload)
    await server.stop(None)


if __name__ == "__main__":
    keep_memory()
    asyncio.run(main(int(sys.argv[1]), whole_start(int(sys.argv[1]), int(sys.argv[2]))))
