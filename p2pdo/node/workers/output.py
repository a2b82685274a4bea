"""What worker processes print and log, taken into the node's log and a file for each rank.

Three pipes come from each rank: stdout, stderr, and one of log records, a line of JSON each. One
thread reads those of all ranks of an executor, so that a worker never waits for the node's event
loop, and the loop never for a disk. Whatever is said is read: a storm of it stops nobody. The file
gets all of it, and begins anew at 64 MiB, with one older file kept. The node's log, which is
everybody's, gets at most 100 lines a second of a rank, and is told how many it was not given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from p2pdo.node.context import Log

_CHUNK = 64 * 1024  # bytes of one read; a printed line that is longer is cut
_RECORD_LIMIT = 1024 * 1024  # bytes of a log record
_FILE_LIMIT = 64 * 1024 * 1024  # bytes
_LINES_PER_SECOND = 100
_LONGEST = 1000  # characters of a line in the node's log
_PATIENCE = 1.0  # seconds for the thread's last write
_LAST_LINES = 20  # of stderr that an error tells


class Source(Enum):
    STDOUT = "stdout"
    STDERR = "stderr"
    LOG = "log"


class Output:
    """Reads pipes until `close`; `drained` says when a rank's have ended."""

    def __init__(self, log: Log, files: Sequence[Path | None]) -> None:
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ranks = [_Rank(number, file, log) for number, file in enumerate(files)]
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._closing = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="output of workers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def open_pipe(self, rank: int, source: Source) -> int:
        """The end that a worker writes to; whoever takes it closes it. Before `start` only."""
        ours, theirs = os.pipe()
        pipe = _Pipe(ours, self._ranks[rank], source)
        pipe.rank.open_pipes += 1
        self._selector.register(ours, selectors.EVENT_READ, pipe)
        return theirs

    async def drained(self, rank: int) -> None:
        """Returns when the rank, and all that have its pipes, have ended."""
        await self._ranks[rank].drained.wait()

    def last_words(self, rank: int) -> str:
        """The end of its stderr."""
        return "\n".join(self._ranks[rank].last_lines)

    async def close(self) -> None:
        """Reads no more, also where a stranger keeps a pipe open; waits for no disk that hangs."""
        self._closing = True
        if self._thread.ident is None:
            self._release()
        else:
            with contextlib.suppress(OSError):  # it has ended
                os.write(self._waker, b"x")
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._ended.wait()
            except TimeoutError:
                self._log.warning("the output of workers cannot be written to the end")
                return  # the thread still holds what it reads
        os.close(self._waker)

    # ---- on the thread ----

    def _run(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select():
                    if key.data is not None and not key.data.read():
                        self._end(key.data)
        finally:
            self._release()
            self._tell(self._ended)

    def _end(self, pipe: _Pipe) -> None:
        self._selector.unregister(pipe.fd)
        os.close(pipe.fd)
        pipe.rank.open_pipes -= 1
        if not pipe.rank.open_pipes:
            pipe.rank.say_what_was_left_out()
            self._tell(pipe.rank.drained)

    def _tell(self, event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(event.set)

    def _release(self) -> None:
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()
        for rank in self._ranks:
            rank.close()


class _Pipe:
    def __init__(self, fd: int, rank: _Rank, source: Source) -> None:
        self.fd = fd
        self.rank = rank
        self._source = source
        self._rest = b""

    def read(self) -> bool:
        """Takes what is there; whether more may come."""
        data = os.read(self.fd, _CHUNK)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) >= self._longest):
            lines.append(self._rest)
            self._rest = b""
        if lines:
            self._take(lines)
        return bool(data)

    @property
    def _longest(self) -> int:
        return _RECORD_LIMIT if self._source is Source.LOG else _CHUNK

    def _take(self, lines: list[bytes]) -> None:
        if self._source is Source.LOG:
            self.rank.take([record for line in lines if (record := _record(line)) is not None])
            return
        if self._source is Source.STDERR:
            self.rank.last_lines.extend(_text(line) for line in lines[-_LAST_LINES:])
        self.rank.take([(logging.INFO, line) for line in lines])


def _record(line: bytes) -> tuple[int, bytes] | None:
    """A log record's level and text; None for what is none."""
    try:
        level, text = json.loads(line)
        return int(level), str(text).encode(errors="replace")
    except (ValueError, TypeError):
        return None


class _Rank:
    def __init__(self, number: int, path: Path | None, log: Log) -> None:
        self.drained = asyncio.Event()
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.open_pipes = 0
        self._number = number
        self._log = log
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._second = 0.0  # when the second began in which lines are counted
        self._told = 0
        self._left_out = 0

    def take(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Lines with their levels."""
        self.write(b"".join(line + b"\n" for _, line in lines))
        room = self._room()
        for level, line in lines[:room]:
            self._log.log(level, "[rank %d] %s", self._number, _text(line))
        self._told += min(room, len(lines))
        self._left_out += max(0, len(lines) - room)

    def _room(self) -> int:
        now = monotonic()
        if now - self._second >= 1.0:
            self.say_what_was_left_out()
            self._second = now
            self._told = 0
        return _LINES_PER_SECOND - self._told

    def say_what_was_left_out(self) -> None:
        if self._left_out:
            where = f"only in {self._path}" if self._path else "not kept"
            self._log.info("[rank %d] … %d more lines, %s", self._number, self._left_out, where)
            self._left_out = 0

    def write(self, data: bytes) -> None:
        """Into the file; where that cannot be, says so once and goes on without."""
        if self._path is None:
            return
        try:
            if self._file is None or self._size > _FILE_LIMIT:
                self._open(self._path)
            assert self._file is not None
            self._file.write(data)
            self._file.flush()  # who looks at it while the worker runs sees it all
            self._size += len(data)
        except OSError as error:
            self._log.warning("rank %d: no log file any more: %s", self._number, error)
            self._path = None

    def _open(self, path: Path) -> None:
        self.close()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > _FILE_LIMIT:
            path.replace(path.with_name(f"{path.name}.1"))
        self._file = path.open("ab")
        self._size = self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):
                file.close()


def _text(line: bytes) -> str:
    return line[: 4 * _LONGEST].decode(errors="replace").rstrip()[:_LONGEST]
