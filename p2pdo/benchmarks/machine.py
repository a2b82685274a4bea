"""What was measured on: figures of another machine are other figures."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from p2pdo.benchmarks.processes import machine_memory
from p2pdo.reporting.machine import fingerprint, versions
from p2pdo.types import Plain


def described() -> dict[str, Plain]:
    """Hardware, versions and the day, in UTC."""
    memory = machine_memory()
    return {
        **fingerprint(),
        "cores": _cores(),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "versions": {**versions()},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
