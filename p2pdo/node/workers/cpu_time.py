"""What processes have used of the CPU, as Linux tells it in /proc; none of it waits for a disk.

Of each the time of all its threads, of the children that it has waited for, and of those that live
and are in its process group; who has left that cannot be stopped with it, and is not counted while
it lives. To read a file that is open takes 5 µs, and to look for children thirty times as much, so
that is done once a second, on another thread; who lived for less is told by who waited for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_PROC = Path("/proc")
_GROUP = 2  # of the words after the name in /proc/PID/stat, see proc(5)
_TIMES = slice(11, 15)  # in user code and in the system, own and of children waited for
_LONGEST = 1024  # bytes of that file
_SEARCH_EVERY = 1.0  # seconds


def is_readable() -> bool:
    """Whether this system tells it."""
    return (_PROC / "self" / "stat").exists()


class CpuMeter:
    """Reads the same processes again and again."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}  # by process, parents before their children
        self._searched = float("-inf")

    async def read(self, leaders: Sequence[int]) -> float:
        """CPU seconds of these leaders of process groups and theirs, of all that live, together."""
        for pid in leaders:
            self._open(pid)
        now = asyncio.get_running_loop().time()
        if now >= self._searched + _SEARCH_EVERY:
            self._searched = now
            for pid in await asyncio.to_thread(_descendants, tuple(leaders)):
                self._open(pid)
        # a child that is waited for meanwhile is missed now; the other way round it counted twice
        return sum(map(self._ticks, list(self._files))) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        for pid in list(self._files):
            os.close(self._files.pop(pid))

    def _open(self, pid: int) -> None:
        if pid not in self._files:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                self._files[pid] = os.open(_PROC / str(pid) / "stat", os.O_RDONLY)

    def _ticks(self, pid: int) -> int:
        try:
            stat = os.pread(self._files[pid], _LONGEST, 0)
        except ProcessLookupError:  # it is gone, and whoever has its number now is another
            os.close(self._files.pop(pid))
            return 0
        return sum(int(word) for word in _words(stat)[_TIMES])


def _descendants(leaders: Sequence[int]) -> list[int]:
    return [found for pid in leaders for found in _below(pid, group=pid)]


def _below(pid: int, group: int) -> Iterator[int]:
    for child in _children(pid):
        if _group_of(child) == group:
            yield child
            yield from _below(child, group)


def _children(pid: int) -> Iterator[int]:
    """Those that live, of all threads; none where the kernel does not list them."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from (int(word) for word in (thread / "children").read_bytes().split())


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(_words((_PROC / str(pid) / "stat").read_bytes())[_GROUP])
    return None


def _words(stat: bytes) -> list[bytes]:
    """What follows the process's name, which may hold anything."""
    return stat.rpartition(b")")[2].split()
