"""The file in which a run tells where its time went, and what the nodes hand in for it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

from p2pdo.errors import ConfigError
from p2pdo.protocol.spans import spans_of_each
from p2pdo.reporting.timeline import NodeTimeline, Shares, write_trace
from p2pdo.runtime.timeline import Timeline
from p2pdo.types import Plain


class TimelineFile:
    """A run's timeline.

    Attributes:
        shares: how the time was shared; None until the file is written.
        trouble: why it could not be written, if it could not.
    """

    def __init__(self, path: Path, names: Sequence[str], about: dict[str, Plain]) -> None:
        self.path = path
        self.shares: Shares | None = None
        self.trouble: str | None = None
        self._names = names
        self._about = about
        self._began = monotonic_ns()  # before any of its nodes begins

    @property
    def spans_of_each(self) -> int:
        """What a node keeps."""
        return spans_of_each(len(self._names))

    def make(self) -> list[Timeline]:
        """For nodes in this process."""
        return [Timeline(self.spans_of_each) for _ in self._names]

    async def write(self, timelines: Sequence[Timeline]) -> None:
        """Of nodes in this process."""
        await self._write(
            lambda: (
                NodeTimeline(name, timeline.spans, timeline.dropped)
                for name, timeline in zip(self._names, timelines, strict=True)
            )
        )

    async def collect(self, place: Callable[[str], Path]) -> None:
        """Of nodes that have written theirs at `place(name)`; whoever was killed has none."""
        await self._write(lambda: _read(self._names, place))

    def in_words(self) -> str:
        """The file, and how the time was shared."""
        if self.shares is None:
            return f"no timeline: {self.trouble or 'the run did not begin'}"
        return f"timeline {self.path}: {self.shares.in_words()}"

    def to_plain(self) -> dict[str, Plain]:
        """The same as data."""
        shares = None if self.shares is None else self.shares.to_plain()
        return {"file": str(self.path), "shares": shares, "trouble": self.trouble}

    async def _write(self, timelines: Callable[[], Iterable[NodeTimeline]]) -> None:
        """Off the loop; to the end, also where the run is cancelled now."""
        writing = asyncio.ensure_future(asyncio.to_thread(self._write_here, timelines))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            raise

    def _write_here(self, timelines: Callable[[], Iterable[NodeTimeline]]) -> None:
        about = {**self._about, "spans_kept_per_node": self.spans_of_each}
        try:
            self.shares = write_trace(self.path, timelines(), about, began=self._began)
        except OSError as error:  # it is no part of the result
            self.trouble = f"cannot write {self.path}: {error.strerror}"


def check_timeline(path: Path, executor: str) -> None:
    """Refuses early what would fail at the end.

    Raises:
        ConfigError: the executor keeps none, or there is no such place for the file.
    """
    if executor not in ("processes", "inprocess"):
        raise ConfigError(
            f"the executor '{executor}' keeps no timeline: its nodes have no time of their own",
            hint="--on processes or --on inprocess, or leave --timeline out",
        )
    folder = path.resolve().parent
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError(
            f"cannot write the timeline {path}", hint="name a file in a folder that is there"
        )


def _read(names: Iterable[str], place: Callable[[str], Path]) -> Iterator[NodeTimeline]:
    for name in names:
        path = place(name)
        try:
            plain: Any = json.loads(path.read_bytes())
            path.unlink()  # a node's folder may stay, and this is in the file now
        except (OSError, ValueError):
            yield NodeTimeline(name, None)
        else:
            yield NodeTimeline.from_plain(name, plain)
