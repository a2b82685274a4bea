"""What a process does that a local run's launcher started: it takes a handover and dies with it.

The launcher keeps the writing end of the child's stdin. It writes one line of JSON, the handover,
and at the run's end the line "end"; then it closes the pipe. When the launcher is gone, kill -9
included, the system closes the pipe, and the child reads the end of the file without that line: it
is an orphan, and removes what the launcher can no longer remove. No polling, no thread, no process
id that another process could have been given since.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from p2pdo.errors import ConfigError

_HINT = "--local is for processes that p2pdo's own launcher starts"
_LIMIT = 1024 * 1024
END = b"end\n"  # the launcher's last line where all went as it should


async def read_handover(fd: int = 0) -> dict[str, Any]:
    """The one line of JSON that the launcher writes first.

    Raises:
        ConfigError: stdin is no pipe, or ended before the line, or the line is no JSON object.
    """
    line = bytearray()
    async with _reading(fd) as read:
        while not line.endswith(b"\n") and len(line) < _LIMIT:
            byte = await read(1)  # what follows the line is for `parent_gone`
            if not byte:
                break
            line += byte
    try:
        handover = json.loads(line)
    except ValueError:
        handover = None
    if not (line.endswith(b"\n") and isinstance(handover, dict)):
        raise ConfigError("the launcher's handover is not a line of JSON on stdin", hint=_HINT)
    return handover


async def parent_gone(fd: int = 0) -> bool:
    """Returns at the end of stdin: whether the launcher died, rather than said that this is it."""
    said = b""
    async with _reading(fd) as read:
        while data := await read(4096):
            said = (said + data)[-len(END) :]
    return said != END


@contextlib.asynccontextmanager
async def _reading(fd: int) -> AsyncIterator[Callable[[int], Awaitable[bytes]]]:
    """Reads a pipe without blocking the loop; leaves `fd` itself open.

    Not by `connect_read_pipe`: uvloop closes its descriptor twice, and a thread that opens a file
    between the two loses it.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise ConfigError("stdin is not a pipe", hint=_HINT)
    copy = os.dup(fd)
    os.set_blocking(copy, False)
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(copy, readable.set)

    async def read(most: int) -> bytes:
        while True:
            readable.clear()
            try:
                return os.read(copy, most)
            except BlockingIOError:
                await readable.wait()

    try:
        yield read
    finally:
        loop.remove_reader(copy)
        os.close(copy)
