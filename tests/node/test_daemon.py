"""The real p2pdo-node process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.asyncio, pytest.mark.e2e, pytest.mark.slow]

Open = Callable[..., contextlib.AbstractAsyncContextManager[Any]]
PROGRAM = [sys.executable, "-c", "from p2pdo.node.daemon import main; main()"]


class Daemon:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin = process.stdin
        self.stdout = process.stdout

    async def line(self) -> str:
        async with asyncio.timeout(20):
            return (await self.stdout.readline()).decode()

    async def end(self) -> tuple[int, str]:
        """Its exit code and what it said on stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            said = (await self.process.stderr.read()).decode()
            return await self.process.wait(), said


@contextlib.asynccontextmanager
async def daemon(coordinator: str, state: Path, *flags: str) -> AsyncIterator[Daemon]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("--coordinator", coordinator, "--name", "n1", "--state", str(state), *flags),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Daemon(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_neighbours_are_told_the_advertised_address(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub:
        flags = ("--insecure", "--advertise", "127.0.0.1:4711")
        async with daemon(hub.address, tmp_path, *flags) as node:
            assert "4711" not in await node.line(), "it listens elsewhere"
            assert hub.joins[0].address == "127.0.0.1:4711"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_and_leaves_when_told_to(
    coordinator_factory: Open, tmp_path: Path, number: signal.Signals
) -> None:
    async with coordinator_factory() as hub:
        async with daemon(hub.address, tmp_path, "--insecure") as node:
            said = await node.line()
            assert said.startswith("node n1 listens on 127.0.0.1:")
            assert said.rstrip().endswith(f"has joined {hub.address}")
            assert hub.joins[0].address in said
            node.process.send_signal(number)
            assert await node.end() == (0, "")
        assert hub.left == ["n1"]


async def test_its_version_is_that_of_p2pdo(tmp_path: Path) -> None:
    async with daemon("127.0.0.1:1", tmp_path, "--version") as node:
        assert await node.line() == f"p2pdo-node {version('p2pdo')}\n"
        assert await node.end() == (0, "")


async def test_a_second_signal_stops_a_node_that_is_still_needed(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with (
        coordinator_factory() as hub,
        daemon(hub.address, tmp_path, "--insecure") as node,
    ):
        await node.line()
        await hub.send("w", "config", {}, executor="optimization")
        await hub.answers(1)
        node.process.send_signal(signal.SIGTERM)
        await hub.until(lambda: hub.requests[-1].default_credit == 0)
        assert node.process.returncode is None
        assert "a second signal stops it at once" in await node.line()
        node.process.send_signal(signal.SIGTERM)
        code, said = await node.end()
        assert (code, "error[" in said) == (143, False)
        assert hub.left == ["n1"]


async def test_without_a_coordinator_it_says_so_and_ends_with_5(tmp_path: Path) -> None:
    flags = ("--insecure", "--connect-timeout", "0.3")
    async with daemon("127.0.0.1:1", tmp_path, *flags) as node:
        code, said = await node.end()
    assert code == 5
    assert said.startswith("error[unreachable]: no coordinator answers at 127.0.0.1:1")
    assert "\n  try: " in said
    assert said.count("\n") == 2


async def test_a_signal_while_it_looks_for_its_coordinator_ends_it(tmp_path: Path) -> None:
    async with daemon("127.0.0.1:1", tmp_path / "state", "--insecure") as node:
        while not (tmp_path / "state").exists():  # noqa: ASYNC110 - a sign from another process
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        node.process.send_signal(signal.SIGTERM)
        assert await node.end() == (0, "")


async def test_plaintext_that_nobody_asked_for_ends_with_3(tmp_path: Path) -> None:
    async with daemon("127.0.0.1:1", tmp_path) as node:
        code, said = await node.end()
    assert (code, said.count("\n")) == (3, 2)
    assert "refusing to speak plaintext" in said


async def test_a_name_that_is_taken_ends_with_4(coordinator_factory: Open, tmp_path: Path) -> None:
    async with (
        coordinator_factory(taken_names={"n1"}) as hub,
        daemon(hub.address, tmp_path, "--insecure") as node,
    ):
        code, said = await node.end()
    assert (code, said.splitlines()[0]) == (4, "error[conflict]: 'n1' is active already")


async def test_a_launchers_child_shows_the_token_and_ends_with_the_launcher(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    ephemeral = tmp_path / "ephemeral"
    ephemeral.mkdir()
    handover = {"token": "secret", "allow_code": True, "ephemeral": str(ephemeral)}
    async with (
        coordinator_factory(token="secret") as hub,  # noqa: S106
        daemon(hub.address, tmp_path, "--insecure", "--local") as node,
    ):
        node.stdin.write(json.dumps(handover).encode() + b"\n")
        assert json.loads(await node.line()) == {"listening": hub.joins[0].address}
        began = time.monotonic()
        node.stdin.close()
        code, said = await node.end()
        assert (code, said) == (1, "")
        assert time.monotonic() - began < 2
        assert not ephemeral.exists()


async def test_a_child_without_a_handover_is_refused(tmp_path: Path) -> None:
    async with daemon("127.0.0.1:1", tmp_path, "--insecure", "--local") as node:
        node.stdin.close()
        code, said = await node.end()
    assert code == 3
    assert said.startswith("error[config]: the launcher's handover is not a line of JSON")
