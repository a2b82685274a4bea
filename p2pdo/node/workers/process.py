"""One worker process as the node sees it: started, spoken to, killed, and its death explained.

A worker is the leader of a session and a process group of its own, so that whatever it has started
is killed with it. Two things tie its life to the node's, kill -9 included. Its socket ends with the
node: a thread in the worker reads the end and kills the group. And it holds the reading end of a
pipe that nobody ever writes to: where the system can do it (Linux), the closing of the other end is
itself a SIGKILL for the group, also where the worker's threads cannot run any more, or have been
stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from p2pdo.node.workers.frames import Kind, pack
from p2pdo.node.workers.output import Output, Source

_READ_AHEAD = 1024 * 1024  # bytes of frames that wait to be taken, about
_PROGRAM = ("-P", "-m", "p2pdo.node.workers.main")


@dataclass(frozen=True)
class Worker:
    """A process that was started, and the node's end of all that ties it."""

    rank: int
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lifeline: int

    @classmethod
    async def start(cls, rank: int, environment: Mapping[str, str], output: Output) -> Worker:
        """Starts a fresh interpreter.

        Raises:
            OSError: the system has no room for it.
        """
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            near, far = socket.socketpair()
            ours.callback(near.close)
            theirs.callback(far.close)
            end, lifeline = os.pipe()
            ours.callback(os.close, lifeline)
            theirs.callback(os.close, end)
            pipes = {source: output.open_pipe(rank, source) for source in Source}
            for pipe in pipes.values():
                theirs.callback(os.close, pipe)
            inherited = (far.fileno(), end, pipes[Source.LOG])
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_PROGRAM, *(str(fd) for fd in inherited)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipes[Source.STDOUT],
                stderr=pipes[Source.STDERR],
                pass_fds=inherited,
                env=environment,
                start_new_session=True,
            )
            ours.callback(_signal_group, process.pid, signal.SIGKILL)
            _tie(process.pid, end)
            reader, writer = await asyncio.open_unix_connection(sock=near, limit=_READ_AHEAD)
            ours.pop_all()
            return cls(rank, process, reader, writer, lifeline)

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self.process.pid

    def send(self, frame: bytes) -> None:
        """Does not wait: one who reads no more is found by other signs."""
        if not self.writer.is_closing():
            self.writer.write(frame)

    def say(self, kind: Kind, value: object = None) -> None:
        self.send(pack(kind, value))

    def kill(self) -> None:
        """Ends its whole group; also of one that has just ended by itself."""
        _signal_group(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Has its whole group stand still, until it is to go on."""
        self._signal_living(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal_living(signal.SIGCONT)

    def _signal_living(self, number: signal.Signals) -> None:
        if self.process.returncode is None:  # the number of one that is gone may be another's
            _signal_group(self.pid, number)

    def release(self) -> None:
        """Closes the node's ends; for one that has been killed."""
        self.writer.close()
        os.close(self.lifeline)

    def how_it_ended(self) -> str:
        return _ending(self.process.returncode)


def _tie(pid: int, end: int) -> None:
    """Has the system kill the group when the node's end of the pipe is closed.

    It is the open pipe that remembers this, whoever holds it, so the node says it: a worker that
    is stopped before its first line of Python could not.
    """
    if hasattr(fcntl, "F_SETSIG"):  # Linux
        fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            fcntl.fcntl(end, fcntl.F_SETOWN, -pid)
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
