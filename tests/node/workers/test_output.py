"""Pipes of worker processes that are read; here a test writes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from p2pdo.node.workers import output as worker_output
from p2pdo.node.workers.output import Output, Source

pytestmark = pytest.mark.asyncio

LOG = logging.getLogger("workers")


@contextlib.asynccontextmanager
async def reading(file: Path | None) -> AsyncIterator[tuple[Output, dict[Source, int]]]:
    """One rank's output, and the ends of its pipes that are to be written; closed in the block."""
    output = Output(LOG, [file])
    pipes = {source: output.open_pipe(0, source) for source in Source}
    output.start()
    try:
        yield output, pipes
        for pipe in pipes.values():
            os.close(pipe)
        async with asyncio.timeout(10):
            await output.drained(0)
    finally:
        await output.close()


async def test_lines_go_to_the_log_with_their_rank_and_to_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "deep" / "rank-0.log"
    async with reading(file) as (output, pipes):
        os.write(pipes[Source.STDOUT], b"one\ntw")
        os.write(pipes[Source.STDOUT], b"o\nno end")
        os.write(pipes[Source.LOG], json.dumps([30, "several\nlines"]).encode() + b"\n")
        os.write(pipes[Source.LOG], b"[1] this is no record\n")
        os.write(pipes[Source.STDERR], b"".join(b"line %d\n" % i for i in range(30)))
    assert {"[rank 0] one", "[rank 0] two", "[rank 0] no end"} <= set(caplog.messages)
    assert [r.levelname for r in caplog.records if "several" in r.getMessage()] == ["WARNING"]
    assert output.last_words(0).splitlines() == [f"line {i}" for i in range(10, 30)]
    assert len(file.read_text().splitlines()) == 3 + 2 + 30


async def test_a_flood_is_cut_in_the_log_and_whole_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_output, "monotonic", lambda: 5.0)
    caplog.set_level(logging.INFO)
    file = tmp_path / "rank-0.log"
    async with reading(file) as (_, pipes):
        for _ in range(10):
            await asyncio.to_thread(os.write, pipes[Source.STDOUT], b"line\n" * 1000)
    assert caplog.messages.count("[rank 0] line") == 100
    assert caplog.messages[-1] == f"[rank 0] … 9900 more lines, only in {file}"
    assert file.read_text() == "line\n" * 10_000


async def test_a_file_that_is_full_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_output, "_FILE_LIMIT", 100)
    file = tmp_path / "rank-0.log"
    async with reading(file) as (_, pipes):
        os.write(pipes[Source.STDOUT], b"x" * 150 + b"\n")
        while not file.exists() or file.stat().st_size < 150:  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.001)
        os.write(pipes[Source.STDOUT], b"y\n")
    assert file.read_text() == "y\n"
    assert file.with_name("rank-0.log.1").read_text() == "x" * 150 + "\n"


async def test_a_disk_that_fails_is_told_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "taken").touch()
    async with reading(tmp_path / "taken" / "rank-0.log") as (_, pipes):
        os.write(pipes[Source.STDOUT], b"one\n")
        os.write(pipes[Source.STDERR], b"two\n")
    assert sum("no log file any more" in message for message in caplog.messages) == 1
    assert {"[rank 0] one", "[rank 0] two"} <= set(caplog.messages)


async def test_a_stranger_that_keeps_a_pipe_does_not_keep_the_node() -> None:
    output = Output(LOG, [None])
    stranger = output.open_pipe(0, Source.STDOUT)
    output.start()
    async with asyncio.timeout(10):
        await output.close()
    with pytest.raises(BrokenPipeError):
        os.write(stranger, b"x")
    os.close(stranger)
