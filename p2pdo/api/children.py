"""The processes of one local run: a coordinator and nodes that end with their launcher.

Each is handed the run's token by its stdin, which is also its death watch: when the launcher is
gone, kill -9 included, the child reads the end of it and ends. When a child is gone, the launcher's
work ends at once, and says which process it was, how far the run had come and its last words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from p2pdo.errors import P2pdoError, Unreachable, WorkloadFailed
from p2pdo.runtime.groups import task_group
from p2pdo.runtime.local_child import END
from p2pdo.types import Plain

LOOPBACK = "127.0.0.1:0"

_START_LIMIT = 60.0  # seconds in which a child must have started
_END_LIMIT = 5.0  # seconds that a child may take to end
_DEATH_NOTICE = 2.0  # seconds in which the system tells that a process has died
_LAST_LINES = 5

Happened = Callable[[str, Mapping[str, Plain]], None]


class Children:
    """The processes of one run: all start here, and all have ended when the block ends."""

    def __init__(
        self,
        logs: Path,
        handover: Mapping[str, Plain],
        reached: Callable[[], int],
        happened: Happened,
    ) -> None:
        """`reached` tells the iteration that all nodes are known to have reached."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._handover = json.dumps(handover).encode() + b"\n"
        self._reached = reached
        self._happened = happened
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        # JAX in the launcher warns of every fork; a child of ours becomes another program at once.
        warnings.filterwarnings(
            "ignore", r"os\.fork\(\) was called", RuntimeWarning, r"asyncio\.subprocess"
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Asks all to end, by closing their stdin; kills who does not."""
        for process in self._processes.values():
            if process.stdin is not None:
                with contextlib.suppress(OSError, RuntimeError):  # it is dead already
                    process.stdin.write(END)
                    process.stdin.close()
        for process in self._processes.values():
            await end(process)

    @property
    def alive(self) -> int:
        return sum(process.returncode is None for process in self._processes.values())

    async def start_coordinator(self, work: Path) -> str:
        arguments = ["--listen", LOOPBACK, "--state", str(work / "coordinator"), "--insecure"]
        return await self._start(
            "coordinator",
            ["-m", "p2pdo.coordinator", *arguments, "--local"],
        )

    async def start_nodes(
        self,
        names: Sequence[str],
        coordinator: str,
        state: Callable[[str], Path],
        config: Path | None = None,
    ) -> None:
        configured = [] if config is None else ["--config", str(config)]
        async with task_group() as group:
            for name in names:
                arguments = ["--coordinator", coordinator, "--name", name, "--insecure"]
                arguments += configured
                group.create_task(
                    self._start(
                        name,
                        ["-m", "p2pdo.node", *arguments, "--state", str(state(name)), "--local"],
                    )
                )

    async def _start(self, name: str, arguments: list[str]) -> str:
        """Starts a process and hands it the token; returns the address that it listens on."""
        with self._open_log(name) as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is for the launcher alone
                env=single_threaded(),
            )
        self._processes[name] = process
        assert process.stdin is not None, "piped"
        assert process.stdout is not None, "piped"
        process.stdin.write(self._handover)
        try:
            async with asyncio.timeout(_START_LIMIT):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise self._death(name, process.returncode, "did not start")
        self._happened("started", {"process": name, "pid": process.pid})
        return str(json.loads(line)["listening"])

    def _open_log(self, name: str) -> IO[bytes]:
        return (self._logs / f"{name}.log").open("wb")

    async def watched(self, work: Awaitable[None], failure: asyncio.Future[None]) -> None:
        """Does `work` while all processes live and there is no `failure`.

        Raises:
            WorkloadFailed: one of them died first, or the failure.
        """
        async with task_group() as group:
            failing = group.create_task(_raised_by(failure), name="observer")
            watches = [
                group.create_task(self._watch(name, process), name=f"watch {name}")
                for name, process in self._processes.items()
            ]
            try:
                await work
            except Unreachable:  # because the coordinator has died? then that is what to tell
                await asyncio.wait(watches, timeout=_DEATH_NOTICE)
                raise
            for watch in (failing, *watches):
                watch.cancel()

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self._happened("died", {"process": name, "code": code})
        raise self._death(name, code, "died")

    def _death(self, name: str, code: int | None, what: str) -> P2pdoError:
        iteration = self._reached()
        how = "no answer" if code is None else how_it_ended(code)
        return WorkloadFailed(
            f"the process of {name} {what} ({how}) after iteration {iteration}"
            f"{self._last_words(name)}",
            hint=f"look at {self._logs / name}.log",
            node=name,
            iteration=iteration,
        )

    def _last_words(self, name: str) -> str:
        log = self._logs / f"{name}.log"
        lines = last_lines(log) if log.exists() else []
        return "".join(f"\n  {name}: {line}" for line in lines)


async def end(process: asyncio.subprocess.Process) -> None:
    """Waits for a process that was asked to end, and kills it if that takes too long."""
    try:
        async with asyncio.timeout(_END_LIMIT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def how_it_ended(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_LAST_LINES:]


async def _raised_by(failure: asyncio.Future[None]) -> None:
    await failure


def single_threaded() -> dict[str, str]:
    """One BLAS thread a process: bits must not depend on the number of cores."""
    single = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        "1",
    )
    return {**os.environ, **single}
