"""What a workload leaves in files: metric points and, where it was asked for, final states.

    STATE/workloads/<id>/metrics.jsonl              one point a line, in order of arrival
    STATE/workloads/<id>/states/<node>.safetensors  whole or not there

All of it runs on threads: one that appends, so that lines keep their order, and the loop's own
for states. A state is synced to the disk before it has its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO

from p2pdo.coordinator.watching import Point
from p2pdo.errors import NotFound
from p2pdo.reporting.file_names import to_file_name
from p2pdo.storage.drafts import Draft
from p2pdo.storage.trouble import writing
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
            ConfigError: the disk does not take it.
        """
        path = self._state_path(workload, node)
        draft = Draft(path, number=next(self._uploads))
        hint = "let the coordinator write there, or submit without --return-states"
        what = "keep the final state at the coordinator, in"
        with writing(path, hint, what=what, node=node, workload=workload):
            file = await asyncio.to_thread(_create, draft.path)
            try:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_finish, file, draft)
            finally:
                await asyncio.to_thread(_discard, file, draft)

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


def _finish(file: IO[bytes], draft: Draft) -> None:
    file.close()
    draft.keep(durable=True)


def _discard(file: IO[bytes], draft: Draft) -> None:
    """What is left of an upload; nothing, if it was finished."""
    with contextlib.suppress(OSError):  # of what it still had to write
        file.close()
    draft.discard()
