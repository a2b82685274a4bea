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
    """MB of the one that has had most resident at a time.

    Of segments of memory that processes share, as they are now, each is counted its part: all of
    it once. Where the system does not tell the parts, each counts the whole.
    """
    found = [_peak_of(pid) for pid in pids]
    known = [peak for peak in found if peak is not None]
    return max(known) if known and len(known) == len(found) else None


def _peak_of(pid: int) -> float | None:
    peak, shared = _megabytes(pid, "status", "VmHWM"), _megabytes(pid, "status", "RssShmem")
    part = _megabytes(pid, "smaps_rollup", "Pss_Shmem")
    if peak is None or shared is None or part is None:
        return peak
    return peak - shared + part


def _megabytes(pid: int, file: str, name: str) -> float | None:
    try:
        lines = (_PROC / str(pid) / file).read_text().splitlines()
    except OSError:
        return None
    found = (int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return next((kilobytes * 1024 / 1e6 for kilobytes in found), None)


def machine_memory() -> float | None:
    """Bytes of this machine's memory."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None
