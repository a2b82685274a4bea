"""A run's timelines as one file in the Trace Event Format, for Perfetto or chrome://tracing.

One process row a node. A span is a complete event: name, category, ph "X", ts and dur in
microseconds, pid (the node's index), tid, and its iteration. What was dropped, whose spans are
missing and from which moment of CLOCK_MONOTONIC times are counted is told in `otherData`.

They are not counted from the machine's start: Perfetto reads a number as a double, which after 104
days has no nanosecond left, so that spans that follow each other would overlap, and it drops those.

Format: "Trace Event Format", the Chromium project's document of 2016, sections 1 and 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from p2pdo.protocol.spans import COMPUTE, SEND, TURN, WAIT, Span
from p2pdo.types import Plain

_TOLD = (COMPUTE, WAIT, SEND, TURN)  # they do not lie in each other
_NAMES = {TURN: "other nodes' turns"}


@dataclass(frozen=True)
class NodeTimeline:
    """One node's spans, in the order of their ends; None where they are lost."""

    node: str
    spans: Sequence[Span] | None
    dropped: int = 0

    @classmethod
    def from_plain(cls, node: str, plain: Mapping[str, Any]) -> NodeTimeline:
        return cls(node, [Span(*span) for span in plain["spans"]], plain["dropped"])


@dataclass
class Shares:
    """Nanoseconds by what they went to, over all nodes.

    Attributes:
        total: from each node's first span to its last.
        worst: the node that waited longest for one neighbour: its name, the neighbour's, the ns,
            and the node's own total.
        dropped: spans that are not in the file.
        missing: nodes whose spans are lost.
    """

    total: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    worst: tuple[str, str, int, int] | None = None
    dropped: int = 0
    missing: list[str] = field(default_factory=list)

    def add(self, timeline: NodeTimeline) -> None:
        """Counts a node's time in."""
        self.dropped += timeline.dropped
        if timeline.spans is None:
            self.missing.append(timeline.node)
            return
        if not timeline.spans:
            return
        total = timeline.spans[-1].ended - min(span.began for span in timeline.spans)
        waits: Counter[str] = Counter()
        for what, began, ended, _, peer in timeline.spans:
            if what in _TOLD:
                self.by_kind[what] += ended - began
            if what == WAIT:
                waits[peer] += ended - began
        self.total += total
        for peer, waited in waits.items():
            if self.worst is None or waited > self.worst[2]:
                self.worst = (timeline.node, peer, waited, total)

    def to_plain(self) -> dict[str, Plain]:
        """Shares of the whole, from 0 to 1; the rest went to none of these."""
        whole = max(self.total, 1)
        worst: Plain = None
        if self.worst is not None:
            node, peer, waited, total = self.worst
            worst = {"node": node, "neighbour": peer, "share": waited / max(total, 1)}
        missing: list[Plain] = [*self.missing]
        shares: dict[str, Plain] = {what: self.by_kind[what] / whole for what in _TOLD}
        return {**shares, "worst_wait": worst, "dropped": self.dropped, "missing": missing}

    def in_words(self) -> str:
        """For people, in one line."""
        if not self.total:
            return "no spans"
        parts = [
            f"{_NAMES.get(what, what)} {self.by_kind[what] / self.total:.0%}"
            for what in _TOLD
            if self.by_kind[what]
        ]
        rest = self.total - sum(self.by_kind.values())
        parts.append(f"other {max(rest, 0) / self.total:.0%}")
        text = ", ".join(parts)
        if self.worst is not None:
            node, peer, waited, total = self.worst
            text += f"; longest: {node} waited {waited / max(total, 1):.0%} of its time for {peer}"
        if self.dropped:
            text += f"; {self.dropped:,} earlier spans were dropped"
        if self.missing:
            text += f"; nothing of {', '.join(self.missing)}"
        return text


def write_trace(
    path: Path, timelines: Iterable[NodeTimeline], about: Mapping[str, Plain], *, began: int
) -> Shares:
    """Writes the file, node by node; returns how the time was shared.

    Times are counted from `began` (ns), before which there are no spans.
    """
    shares, dropped = Shares(), {}
    with path.open("w", encoding="utf-8") as file:
        file.write('{"traceEvents":[')
        for index, timeline in enumerate(timelines):
            _write_events(file, index, timeline, began)
            shares.add(timeline)
            dropped[timeline.node] = timeline.dropped
        other = {
            "clock": "CLOCK_MONOTONIC",
            "began_ns": began,
            **about,
            "dropped_spans": dropped,
            "missing_nodes": shares.missing,
        }
        file.write(f'],\n"displayTimeUnit":"ns","otherData":{json.dumps(other)}}}\n')
    return shares


def _write_events(file: IO[str], pid: int, timeline: NodeTimeline, zero: int) -> None:
    name = json.dumps(timeline.node)
    comma = "," if pid else ""
    file.write(
        f'{comma}\n{{"name":"process_name","ph":"M","pid":{pid},"tid":0,"args":{{"name":{name}}}}}'
        f',\n{{"name":"process_sort_index","ph":"M","pid":{pid},"tid":0,'
        f'"args":{{"sort_index":{pid}}}}}'
    )
    file.writelines(_events(pid, timeline.spans or (), zero))


def _events(pid: int, spans: Iterable[Span], zero: int) -> Iterator[str]:
    names: dict[tuple[str, str], str] = {}
    for what, began, ended, iteration, peer in spans:
        if (what, peer) not in names:
            names[what, peer] = json.dumps(f"{what} for {peer}" if peer else what)
        yield (
            f',\n{{"name":{names[what, peer]},"cat":"{what}","ph":"X",'
            f'"ts":{_microseconds(began - zero)},"dur":{_microseconds(ended - began)},'
            f'"pid":{pid},"tid":0,"args":{{"iteration":{iteration}}}}}'
        )


def _microseconds(nanoseconds: int) -> str:
    whole, rest = divmod(nanoseconds, 1000)
    return f"{whole}.{rest:03d}"
