"""Open MPI by mpi4py: Sendrecv of numpy arrays, to the right and to the left.

    apt-get install openmpi-bin libopenmpi-dev && pip install mpi4py

`--btl vader` is its shared memory (its best between processes of a host), `--btl tcp` is TCP.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys

import numpy as np
from common import average, not_installed, show, start, window


def work(options: argparse.Namespace) -> None:
    """In each of mpirun's processes."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    left, right = (rank - 1) % size, (rank + 1) % size
    x = start(rank, options.floats)
    from_left, from_right = np.empty_like(x), np.empty_like(x)

    def step() -> None:
        world.Sendrecv(x, right, 0, from_left, left, 0)
        world.Sendrecv(x, left, 1, from_right, right, 1)
        average(x, from_left, from_right)

    windows = world.gather(window(step, options.iterations))
    if windows is not None:
        show(windows)


def launch(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("mpi4py") is None:
        not_installed("mpi4py is not installed")
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        not_installed("Open MPI's mpirun is not installed")
    command = [mpirun, "--oversubscribe", "--allow-run-as-root", "-n", str(options.nodes)]
    command += ["--mca", "btl", f"self,{options.btl}", "--mca", "pml", "ob1"]
    return subprocess.run([*command, sys.executable, *sys.argv, "--inside"], check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--floats", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--btl", default="vader", choices=["vader", "tcp"])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        work(options)
    else:
        sys.exit(launch(options))
