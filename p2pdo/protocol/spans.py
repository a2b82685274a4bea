"""Spans: what a node did, from when to when.

    compute      the author's step, from one exchange to the next; an iteration's end divides it
      mix        the weighted sums of what came
    send         handing the own values over
      room       of that, waiting until a neighbour has taken earlier ones
    wait         for an in-neighbour's value, and for whose
    turn         in one process: the values are here, another node is computing

Plain data, so that a report can be made of them without a runtime.
"""

from __future__ import annotations

from typing import NamedTuple

COMPUTE, MIX, SEND, ROOM, WAIT, TURN = "compute", "mix", "send", "room", "wait", "turn"

SPANS = 400_000
"""What all nodes of a run keep together: some fifty megabytes as a file."""


class Span(NamedTuple):
    """What was done, from when to when (ns), in which iteration; of a wait: for whom."""

    what: str
    began: int
    ended: int
    iteration: int
    peer: str


def spans_of_each(nodes: int) -> int:
    """How many a node keeps."""
    return max(1, SPANS // nodes)
