"""CPU time and memory of other processes, as Linux tells them in /proc; None elsewhere.

The tick of the CPU clock is 10 ms, so what is measured should take a hundred of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat after the name, from 0


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """User and system time of all of them together since they began."""
    ticks = 0
    for pid in pids:
        try:
            text = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # a name may have blanks in it
        ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory(pids: Iterable[int]) -> float | None:
    """MB of the one that has had most resident at a time; shared pages are counted in each."""
    found = [_peak_of(pid) for pid in pids]
    known = [peak for peak in found if peak is not None]
    return max(known) if known and len(known) == len(found) else None


def _peak_of(pid: int) -> float | None:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    peaks = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return next((kilobytes * 1024 / 1e6 for kilobytes in peaks), None)


def machine_memory() -> float | None:
    """Bytes of this machine's memory."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None
