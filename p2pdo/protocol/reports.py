"""Reports: the nodes' states at observed iterations, one by one or all at once.

Where there are 10⁶ nodes, a million objects an observation are what one would wait for. There
`StackedReports` is the sequence of them: `states` holds all x, and a report is made for whoever
asks for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from p2pdo.protocol.counting import NO_CALLS, Calls
from p2pdo.types import Array, States


@dataclass(frozen=True, slots=True)
class Report:
    """One node's state at an observed iteration, with its counters up to there."""

    node: int
    iteration: int
    x: Array
    bytes_sent: int
    messages_sent: int
    calls: Calls = NO_CALLS
    dropped: int = 0


@dataclass(frozen=True, eq=False)
class StackedReports(Sequence[Report]):
    """One iteration.

    Attributes:
        states: every node's x, shape (N, d), read-only.
        degrees: how many nodes each sends to, shape (N,).
        bytes_each: what a node has sent to each of them up to here.
        messages_each: the same in messages.
        calls_each: what each has asked of its cost.
    """

    iteration: int
    states: Array
    degrees: Array
    bytes_each: int
    messages_each: int
    calls_each: Calls = NO_CALLS

    def __len__(self) -> int:
        return len(self.states)

    @overload
    def __getitem__(self, i: int) -> Report: ...
    @overload
    def __getitem__(self, i: slice) -> list[Report]: ...
    def __getitem__(self, i: int | slice) -> Any:
        places = range(len(self))[i]
        if isinstance(places, range):
            return [self._report(place) for place in places]
        return self._report(places)

    def _report(self, node: int) -> Report:
        degree = int(self.degrees[node])
        return Report(
            node,
            self.iteration,
            self.states[node],
            degree * self.bytes_each,
            degree * self.messages_each,
            self.calls_each,
        )

    @property
    def sent(self) -> tuple[int, int]:
        """(bytes, messages) of all nodes."""
        degrees = int(self.degrees.sum())
        return degrees * self.bytes_each, degrees * self.messages_each


def states_of(reports: Sequence[Report]) -> States:
    """Every node's x, in node order: a list, or the array of a stack."""
    if isinstance(reports, StackedReports):
        return reports.states
    return [report.x for report in reports]


def sent_by_all(reports: Sequence[Report]) -> tuple[int, int]:
    """(bytes, messages)."""
    if isinstance(reports, StackedReports):
        return reports.sent
    return sum(r.bytes_sent for r in reports), sum(r.messages_sent for r in reports)


def calls_of_all(reports: Sequence[Report]) -> Calls:
    if isinstance(reports, StackedReports):
        return reports.calls_each.times(len(reports))
    return sum((report.calls for report in reports), NO_CALLS)
