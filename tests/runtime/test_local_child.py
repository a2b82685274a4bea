from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

import pytest
import uvloop

from p2pdo.errors import ConfigError
from p2pdo.runtime.local_child import END, parent_gone, read_handover

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, Callable[[bytes], None], Callable[[], None]]]:
    """The child's end, and how the launcher writes to its own and closes it."""
    ours, theirs = os.pipe()
    is_open = [True]

    def close() -> None:
        if is_open.pop():
            os.close(theirs)
            is_open.append(False)

    try:
        yield ours, lambda data: (os.write(theirs, data), None)[1], close
    finally:
        os.close(ours)
        if is_open[0]:
            os.close(theirs)


def test_the_handover_is_the_first_line(runner: asyncio.Runner) -> None:
    with pipe() as (fd, write, _):
        write(b'{"token": "secret", "allow_code": true}\n')
        assert runner.run(read_handover(fd)) == {"token": "secret", "allow_code": True}


def test_the_launchers_end_is_noticed_and_not_before(runner: asyncio.Runner) -> None:
    async def main() -> None:
        with pipe() as (fd, write, close):
            write(b"{}\n")
            await read_handover(fd)
            gone = asyncio.create_task(parent_gone(fd))
            await asyncio.sleep(0.05)
            assert not gone.done()
            close()
            await asyncio.wait_for(gone, 5)

    runner.run(main())


def test_an_end_that_follows_the_handover_at_once_is_heard(runner: asyncio.Runner) -> None:
    async def main() -> None:
        with pipe() as (fd, write, close):
            write(b"{}\n" + END)
            close()
            assert await read_handover(fd) == {}
            assert not await parent_gone(fd)

    runner.run(main())


def test_a_watch_that_is_cancelled_leaves_the_pipe_open(runner: asyncio.Runner) -> None:
    async def main() -> None:
        with pipe() as (fd, write, _):
            gone = asyncio.create_task(parent_gone(fd))
            await asyncio.sleep(0.01)
            gone.cancel()
            await asyncio.wait({gone})
            write(b'{"still": "open"}\n')
            assert await read_handover(fd) == {"still": "open"}

    runner.run(main())


@pytest.mark.parametrize("line", [b"", b"[1]\n", b"not json\n", b'{"cut'])
def test_what_is_no_handover_is_refused(runner: asyncio.Runner, line: bytes) -> None:
    with pipe() as (fd, write, close):
        write(line)
        close()
        with pytest.raises(ConfigError, match="not a line of JSON"):
            runner.run(read_handover(fd))


@pytest.mark.parametrize("path", [os.devnull, __file__])
def test_stdin_that_is_no_pipe_is_refused(runner: asyncio.Runner, path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(ConfigError, match="stdin is not a pipe"):
            runner.run(read_handover(fd))
    finally:
        os.close(fd)
