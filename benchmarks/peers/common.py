"""What all peers have in common: their arguments, their work, and what is read off.

A peer is a script that measures one window and prints it as one line of JSON:

    python PEER.py --nodes 6 --floats 10000 --iterations 500

    {"seconds": of the slowest process, "cpu_seconds": of all, "peak_memory_mb": of the largest}

The work is p2pdo's in `p2pdo bench ring`: x ← (x_left + x + x_right)/3 in float32, on a ring of
processes, and each process has to have its neighbours' values before it goes on. Before the window
there is a warm-up. A peer that is not installed says so on stderr and exits with 3.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn, TypeAlias

import numpy as np

NOT_INSTALLED = 3
Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
Step: TypeAlias = Callable[[], None]
"""One iteration of one process."""

_THIRD = np.float32(1 / 3)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--floats", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=500)
    return parser.parse_args()


def start(rank: int, floats: int) -> Array:
    """A node's first x."""
    return np.random.default_rng(rank).standard_normal(floats).astype(np.float32)


def average(x: Array, left: Array, right: Array) -> None:
    """In place, without temporaries."""
    np.add(x, left, out=x)
    np.add(x, right, out=x)
    np.multiply(x, _THIRD, out=x)


def window(step: Step, iterations: int) -> dict[str, float]:
    """Warms up, then measures this process."""
    for _ in range(max(1, iterations // 4)):
        step()
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(iterations):
        step()
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_mb": _peak_kilobytes() * 1024 / 1e6,
    }


def _peak_kilobytes() -> int:
    """Of this program: what getrusage tells begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))


def show(windows: Sequence[dict[str, float]]) -> None:
    """Prints the window of all processes."""
    whole = {
        "seconds": max(one["seconds"] for one in windows),
        "cpu_seconds": sum(one["cpu_seconds"] for one in windows),
        "peak_memory_mb": max(one["peak_memory_mb"] for one in windows),
    }
    print(json.dumps(whole), flush=True)


def not_installed(what: str) -> NoReturn:
    print(what, file=sys.stderr)
    sys.exit(NOT_INSTALLED)


Worker: TypeAlias = Callable[[int, argparse.Namespace, Connection], None]
"""worker(rank, options, pipe): the life of a process; it sends its window at the end."""


def in_processes(
    worker: Worker, options: argparse.Namespace, *, meet: bool = False, imports: str = "numpy"
) -> None:
    """Runs the workers and shows what they measured.

    With `meet` each first sends its address, and receives the list of all. What takes long to
    import is imported once, and all are forked from there: each has it, as if it had done it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imports])
    pipes, processes = [], []
    for rank in range(options.nodes):
        ours, theirs = context.Pipe()
        process = context.Process(target=worker, args=(rank, options, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    if meet:
        addresses = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send(addresses)
    show([pipe.recv() for pipe in pipes])
    for process in processes:
        process.join()
