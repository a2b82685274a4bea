"""How long a run takes on links with delays: predicted by the simulation, and measured.

    python benchmarks/shaped.py [--nodes 8] [--rounds 200] [--delay 20ms:50ms] [--sigma 0.3]
                                [--bandwidth "10 Mbit/s"] [--algorithm gradient-tracking] [--json]

A coordinator and node daemons are started on this machine. Neighbours dial each other through a
proxy (`p2pdo-node --advertise`) that holds every piece of a stream for the delay of its link, and
lets so many bytes a second through: one after another, in order, either way. Values go by gRPC. The
same delays, in `links.toml`'s words, are given to the simulation, with the computing time that it
measures on this machine. Both run the same iterations; compared are seconds an iteration, from the
first quarter of the run on.

A proxy stands before each node and does not know who dials it. The smaller name dials, so link
(i, j) with i < j has the delay of the proxy before j. With `--sigma`, delays are lognormal around
their median and drawn for each piece; so are those of the simulation, from other draws.

The machine's own work, encoding, system calls and the proxies, is in what is measured and not in
what is predicted: delays have to dominate, or the prediction is too short by it. The last column
says how much of a processor the nodes used per iteration.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import p2pdo
from p2pdo.benchmarks.processes import cpu_seconds
from p2pdo.simulation.links import units
from p2pdo.simulation.links.delay import Delay, LogNormal

BIN = Path(sys.executable).parent
PIECE = 1 << 16
PROBLEM = "quadratic"


@dataclass(frozen=True)
class Asked:
    nodes: int
    rounds: int
    delays: tuple[float, ...]  # of the proxy before each node, seconds
    sigma: float
    bandwidth: float | None  # bytes a second
    algorithm: str
    dimension: int

    def links(self) -> dict[str, Any]:
        """The same as `links.toml` would have it, on a ring."""
        edges = {tuple(sorted((i, (i + 1) % self.nodes))) for i in range(self.nodes)}
        links = {} if self.bandwidth is None else {"bandwidth": f"{self.bandwidth} B/s"}
        told = [
            {"between": [i, j], "delay": f"lognormal:{self.delays[j]}s,{self.sigma}"}
            for i, j in sorted(edges)
        ]
        return {"links": links, "edges": told}

    def delay(self, node: int) -> Delay:
        return LogNormal(self.delays[node], self.sigma)


# ---- the proxy ----


class Proxy:
    """Carries both directions of every connection to one node, late."""

    def __init__(self, target: int, delay: Delay, bandwidth: float | None, seed: int) -> None:
        self._target = target
        self._delay = delay
        self._bandwidth = bandwidth
        self._rng = np.random.default_rng(seed)
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Gives the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._connections:
                task.cancel()

    async def _serve(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            far, far_out = await asyncio.open_connection("127.0.0.1", self._target)
            for writer in (near_out, far_out):
                _without_nagle(writer)
            await asyncio.gather(self._carry(near, far_out), self._carry(far, near_out))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            near_out.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        free_at = clear_at = 0.0
        while piece := await reader.read(PIECE):
            busy = 0.0 if self._bandwidth is None else len(piece) / self._bandwidth
            free_at = max(loop.time(), free_at) + busy
            clear_at = max(clear_at, free_at + self._delay.draw(self._rng, 0, 0))
            loop.call_at(clear_at, _write, writer, piece)
        loop.call_at(max(clear_at, loop.time()), writer.close)


def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():
        writer.write(piece)


def _without_nagle(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# ---- the daemons ----


@contextlib.asynccontextmanager
async def daemon(program: str, *arguments: object) -> AsyncIterator[tuple[str, int]]:
    """Started, until the block ends; gives its first line and its process id."""
    process = await asyncio.create_subprocess_exec(
        str(BIN / program),
        *map(str, arguments),
        "--insecure",
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        if not line:
            raise RuntimeError(f"{program} did not start")
        yield line, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


async def measure(asked: Asked) -> tuple[float, float]:
    """Seconds an iteration, and CPU seconds of all nodes for it."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p2pdo-shaped-")))
        listen = ("--listen", "127.0.0.1:0", "--state", folder / "coordinator")
        line, _ = await enter(daemon("p2pdo-coordinator", *listen))
        address, pids = line.split()[-1], []
        for node in range(asked.nodes):
            port = _free_port()
            proxy = Proxy(port, asked.delay(node), asked.bandwidth, seed=node)
            outside = await enter(proxy.running())
            flags = {
                "--coordinator": address,
                "--name": f"node-{node}",
                "--state": folder / str(node),
                "--listen": f"127.0.0.1:{port}",
                "--advertise": f"127.0.0.1:{outside}",
            }
            given = [word for flag in flags.items() for word in flag]
            pids.append((await enter(daemon("p2pdo-node", *given)))[1])
        network = await enter(p2pdo.connect(address))
        every = max(1, asked.rounds // 8)
        run = await network.submit(
            asked.algorithm,
            PROBLEM,
            nodes=[f"node-{i}" for i in range(asked.nodes)],
            rounds=asked.rounds,
            observe_every=every,
            lane="grpc",
            parameters={"problem.dimension": asked.dimension},
        )
        began = 0.0
        points = []
        async for metric in run.metrics():
            points.append(metric)
            if len(points) == _FIRST + 1:
                began = cpu_seconds(pids) or 0.0
        await run.result()
        computed = (cpu_seconds(pids) or 0.0) - began
        first, last = points[_FIRST], points[-1]
        iterations = last.iteration - first.iteration
        return (last.seconds - first.seconds) / iterations, computed / iterations


_FIRST = 2  # the observation with which the comparison begins


async def predict(asked: Asked) -> float:
    """Simulated seconds an iteration."""
    every = max(1, asked.rounds // 8)
    async with p2pdo.local(asked.nodes, on="simulated") as net:
        run = await net.submit(
            asked.algorithm,
            PROBLEM,
            rounds=asked.rounds,
            observe_every=every,
            links=asked.links(),
            compute="measured",
            parameters={"problem.dimension": asked.dimension},
        )
        points = (await run.result()).metrics
    first, last = points[_FIRST], points[-1]
    assert first.simulated_seconds is not None
    assert last.simulated_seconds is not None
    taken = last.simulated_seconds - first.simulated_seconds
    return taken / (last.iteration - first.iteration)


def _asked() -> tuple[Asked, bool]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--delay", default="20ms:50ms", help="from the first node to the last")
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--bandwidth", type=units.bytes_per_second, default=None)
    parser.add_argument("--algorithm", default="gradient-tracking")
    parser.add_argument("--dimension", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    low, _, high = given.delay.partition(":")
    ends = units.seconds(low), units.seconds(high or low)
    delays = tuple(float(d) for d in np.linspace(*ends, given.nodes))
    numbers = (given.sigma, given.bandwidth, given.algorithm, given.dimension)
    return Asked(given.nodes, given.rounds, delays, *numbers), given.json


def main() -> None:
    asked, as_json = _asked()
    predicted = asyncio.run(predict(asked))
    measured, computed = asyncio.run(measure(asked))
    found = {
        "predicted_ms": 1e3 * predicted,
        "measured_ms": 1e3 * measured,
        "measured_over_predicted": measured / predicted,
        "cpu_ms_of_all_nodes": 1e3 * computed,
    }
    if as_json:
        print(json.dumps(found))
        return
    print(f"{asked.algorithm}, ring of {asked.nodes}, {asked.rounds} iterations; per iteration:")
    for name, figure in found.items():
        print(f"  {name.replace('_', ' '):24} {figure:8.3g}")


if __name__ == "__main__":
    main()
