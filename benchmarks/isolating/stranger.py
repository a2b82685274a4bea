"""A stranger for benchmarks/isolation.py: what the bad workloads do, outside of p2pdo.

    python benchmarks/isolating/stranger.py crash|leak|loop NICE

As polite as a worker process: as nice, also to other sessions, with the same limit of memory and
the same modules imported. Whoever starts it may stop and continue its process group.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

from isolation_site import MEMORY, Bad

LEAKS = 4  # until a leaking process is replaced, as a workload that failed so often is


def step_back(nice: int) -> None:
    os.nice(nice)
    with contextlib.suppress(OSError):  # where Linux shares cores between sessions first
        Path("/proc/self/autogroup").write_text(str(nice))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def be(kind: str) -> None:
    """One life of it."""
    bad = Bad()
    if kind == "crash":
        bad.crash()
    elif kind == "loop":
        bad.loop_at_once()
    for _ in range(LEAKS):
        with contextlib.suppress(MemoryError):
            bad.leak()


def main() -> None:
    kind = sys.argv[1]
    if len(sys.argv) > 2:
        step_back(int(sys.argv[2]))
        while True:
            subprocess.run([sys.executable, __file__, kind], stderr=subprocess.DEVNULL, check=False)
    be(kind)


if __name__ == "__main__":
    main()
