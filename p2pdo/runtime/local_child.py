"""What a process does that a local run's launcher started: it takes a handover and dies with it.

The launcher keeps the writing end of the child's stdin. It writes one line of JSON, the handover,
and at the run's end the line "end"; then it closes the pipe. When the launcher is gone, kill -9
included, the system closes the pipe, and the child reads the end of the file without that line: it
is an orphan, and removes what the launcher can no longer remove. No polling, no thread, no process
id that another process could have been given since.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
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
    reader, transport = await _open(fd)
    try:
        line = await reader.readuntil(b"\n")
        handover = json.loads(line)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        handover = None
    finally:
        transport.close()
    if not isinstance(handover, dict):
        raise ConfigError("the launcher's handover is not a line of JSON on stdin", hint=_HINT)
    return handover


async def parent_gone(fd: int = 0) -> bool:
    """Returns at the end of stdin: whether the launcher died, rather than said that this is it."""
    reader, transport = await _open(fd)
    said = b""
    try:
        while data := await reader.read(4096):
            said = (said + data)[-_LIMIT:]
    finally:
        transport.close()
    return not said.endswith(END)


async def _open(fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A reader of its own duplicate of `fd`, so that closing it leaves stdin to the next."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):  # libuv aborts the process on others
        raise ConfigError("stdin is not a pipe", hint=_HINT)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LIMIT)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(fd), "rb", buffering=0)
    )
    return reader, transport
