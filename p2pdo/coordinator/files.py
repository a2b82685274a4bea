"""What a workload leaves in files: metric points and, where it was asked for, final states.

    STATE/workloads/<id>/metrics.jsonl              one point a line, in order of arrival
    STATE/workloads/<id>/states/<node>.safetensors  whole or not there

All of it runs on threads: one that appends, so that lines keep their order, and the loop's own
for states. A state is written beside its name, synced and then renamed, so a reader never meets
half of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO

from p2pdo.coordinator.watching import Point
from p2pdo.errors import NotFound, P2pdoError
from p2pdo.reporting.file_names import to_file_name
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import NodeId, WorkloadId


class Files:
    """The files of all workloads of a state directory."""

    def __init__(self, folder: Path, host: Host = THIS_HOST) -> None:
        self._folder = folder / "workloads"
        self._appender = host.compute("metrics")
        self._uploads = itertools.count()

    def close(self) -> None:
        self._appender.close()

    async def append_points(
        self, workload: WorkloadId, node: NodeId, points: Iterable[Point]
    ) -> None:
        lines = [
            json.dumps(
                {
                    "node": node,
                    "iteration": point.iteration,
                    "seconds": point.seconds,
                    "bytes_sent": point.bytes_sent,
                    "messages_sent": point.messages_sent,
                    **({"logged": point.logged} if point.logged else {}),
                }
            )
            for point in points
        ]
        if lines:
            path = self._folder / workload / "metrics.jsonl"
            await self._appender.run(_append, path, "".join(f"{line}\n" for line in lines))

    async def read_points(self, workload: WorkloadId) -> list[tuple[NodeId, Point]]:
        """Every point so far, in order of arrival."""
        path = self._folder / workload / "metrics.jsonl"
        return await self._appender.run(_read_points, path)  # after what is being appended

    async def take_state(
        self, workload: WorkloadId, node: NodeId, chunks: AsyncIterator[bytes]
    ) -> None:
        """Stores a node's state; an interrupted one leaves nothing.

        Raises:
            P2pdoError: the disk does not take it.
        """
        path = self._state_path(workload, node)
        partial = path.with_name(f"{path.name}.{next(self._uploads)}.tmp")
        try:
            file = await asyncio.to_thread(_create, partial)
            try:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_finish, file, partial, path)
            finally:
                await asyncio.to_thread(_discard, file, partial)
        except OSError as error:
            raise P2pdoError(
                f"the coordinator cannot keep the final state of node {node}: {error.strerror}",
                hint="free space on its disk, or submit without --return-states",
                node=node,
                workload=workload,
            ) from error

    async def read_state(
        self, workload: WorkloadId, node: NodeId, chunk_bytes: int
    ) -> AsyncIterator[bytes]:
        """A node's state in chunks.

        Raises:
            NotFound: it is not here.
        """
        path = self._state_path(workload, node)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            raise NotFound(
                f"there is no final state of node {node} here",
                hint="a state comes when its node has finished, if the workload was submitted "
                "with --return-states",
                node=node,
                workload=workload,
            ) from None
        try:
            while chunk := await asyncio.to_thread(file.read, chunk_bytes):
                yield chunk
        finally:
            file.close()

    def _state_path(self, workload: WorkloadId, node: NodeId) -> Path:
        return self._folder / workload / "states" / f"{to_file_name(node)}.safetensors"


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def _read_points(path: Path) -> list[tuple[NodeId, Point]]:
    if not path.exists():
        return []
    points = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):  # the last line, torn by a crash
            plain = json.loads(line)
            points.append((NodeId(plain.pop("node")), Point(**plain)))
    return points


def _create(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _finish(file: IO[bytes], partial: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    partial.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(file: IO[bytes], partial: Path) -> None:
    """What is left of an upload; nothing, if it was finished."""
    with contextlib.suppress(OSError):  # of what it still had to write
        file.close()
    partial.unlink(missing_ok=True)
