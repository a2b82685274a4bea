"""Iterations per second, CPU and memory of a ring of processes averaging arrays of several sizes.

    python benchmarks/ring.py [--nodes 6] [--sizes 1,1e4,1e6] [--repeat 3] [--json]

Each run is what `p2pdo run --on processes` does: real daemons, real gRPC. The rate and the CPU are
taken between the first and the last observed iteration, so neither start nor end counts. CPU per
node-iteration is the steadier figure: the processes share the cores with whatever else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from dataclasses import dataclass

import psutil

import p2pdo

ITERATIONS = {1: 2000, 10_000: 1500, 1_000_000: 100}


@dataclass(frozen=True)
class Nothing:
    """A problem of `size` floats with no cost: consensus needs none."""

    size: int

    @property
    def dimension(self) -> int:
        return self.size


@dataclass(frozen=True)
class Measurement:
    rate: float  # iterations per second
    cpu: float  # microseconds per node-iteration
    memory: float  # MB of the largest node at the end


async def measure(nodes: int, size: int) -> Measurement:
    iterations = ITERATIONS.get(size, 200)
    half = iterations // 2
    async with p2pdo.local(nodes=nodes, processes=True) as net:
        run = await net.submit(
            "consensus",
            [Nothing(size)] * nodes,
            rounds=iterations,
            observe_every=half,
            dtype="float32",
        )
        marks: list[tuple[int, float, float]] = []
        memory = 0.0
        async for m in run.metrics():
            processes = node_processes()
            cpu = sum(sum(p.cpu_times()[:2]) for p in processes)
            memory = max((p.memory_info().rss for p in processes), default=0) / 1e6
            marks.append((m.iteration, m.seconds, cpu))
        await run.result()
    (k0, t0, c0), (k1, t1, c1) = marks[0], marks[1]
    return Measurement((k1 - k0) / (t1 - t0), 1e6 * (c1 - c0) / (k1 - k0) / nodes, memory)


def node_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [p for p in children if "p2pdo.node" in p.cmdline()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--sizes", default="1,1e4,1e6")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sizes = [int(float(size)) for size in arguments.sizes.split(",")]
    found: dict[int, list[Measurement]] = {size: [] for size in sizes}
    for _ in range(arguments.repeat):  # interleaved: the machine's speed drifts
        for size in sizes:
            found[size].append(asyncio.run(measure(arguments.nodes, size)))
    rows = [row(size, found[size]) for size in sizes]
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"ring of {arguments.nodes} processes, float32, consensus over gRPC; median [min, max]")
    print(f"{'floats':>10} {'iterations/s':>22} {'CPU µs/node-iteration':>28} {'MB/node':>9}")
    for r in rows:
        rate, cpu = r["iterations_per_second"], r["cpu_us_per_node_iteration"]
        print(
            f"{r['floats']:>10} {rate[1]:>8.0f} [{rate[0]:.0f}, {rate[2]:.0f}]"
            f"{cpu[1]:>18.0f} [{cpu[0]:.0f}, {cpu[2]:.0f}] {r['memory_mb']:>9.0f}"
        )


def row(size: int, found: list[Measurement]) -> dict[str, object]:
    def spread(values: list[float]) -> list[float]:
        return [min(values), statistics.median(values), max(values)]

    return {
        "floats": size,
        "iterations_per_second": spread([m.rate for m in found]),
        "cpu_us_per_node_iteration": spread([m.cpu for m in found]),
        "memory_mb": max(m.memory for m in found),
    }


if __name__ == "__main__":
    main()
