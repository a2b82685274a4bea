"""The network of benchmarks/isolation.py, as its user sees it, with each daemon in its process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import p2pdo

NODES = ["n0", "n1", "n2"]
_PROGRAM = Path(__file__).with_name("daemons.py")


class Other:
    """One of the other processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self.answer()

    async def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Other]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_PROGRAM), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the nodes log every death
    )
    try:
        yield Other(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@dataclass(frozen=True)
class Rig:
    net: p2pdo.RemoteNetwork
    coordinator: Other
    nodes: Other


@contextlib.asynccontextmanager
async def rig(nice: int, cpu: float) -> AsyncIterator[Rig]:
    """`nice` of the bad workloads' workers, and the limit of those that have one."""
    with tempfile.TemporaryDirectory() as folder:
        async with started("coordinator", folder) as coordinator:
            address = await coordinator.answer()
            async with (
                started("nodes", folder, address, str(nice), str(cpu), *NODES) as nodes,
                p2pdo.connect(address) as net,
            ):
                await nodes.answer()
                yield Rig(net, coordinator, nodes)
