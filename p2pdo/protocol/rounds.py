"""Rounds. Values come in tagged and in any order; exchanges go out whole and in order.

One `InEdge` per in-neighbour is a window of slots, one per sequence number from the next one that
will be taken. `Rounds` takes an exchange when every in-neighbour's slot for it is filled: the wait
is a predicate on (neighbour, sequence number), never one shared "all have arrived".

- a value before the window was taken already: a late duplicate, dropped;
- in the window and empty: stored; filled: an equal duplicate is dropped, a different one is an
  error that names the sender;
- beyond the window: the sender broke its credit, an error; so memory is bounded;
- from a stranger: an error, it fills nobody's place.

No clock, no socket. After an arrival take until nothing is whole: a fast neighbour may have
completed the next exchange already.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Tag
from p2pdo.types import Array, Value

WINDOW = 4
"""Values that a receiver keeps per in-neighbour, and a sender per out-neighbour.

Between neighbours on an undirected graph two would do; on a directed graph a fast node may be
ahead by more, and four keeps the credit's round trip out of the iteration.
"""

_PIECE = 1 << 20  # bytes that are compared at once


class InEdge:
    """What has arrived from one in-neighbour and was not taken yet."""

    def __init__(self, sender: str, window: int = WINDOW) -> None:
        self.sender = sender
        self.next = 0  # Invariant: everything below was taken.
        self._window = window
        self._slots: dict[int, tuple[Tag, Value]] = {}

    @property
    def credit_to(self) -> int:
        """Sequence numbers below this one have a slot."""
        return self.next + self._window

    @property
    def receive_next(self) -> int:
        """The first sequence number that has not arrived."""
        seq = self.next
        while seq in self._slots:
            seq += 1
        return seq

    def receive(self, seq: int, tag: Tag, value: Value) -> None:
        """Stores a value.

        Raises:
            RemoteProtocolError: the sender went beyond its credit, or sent two different values
                for one place.
        """
        if seq < self.next:
            return
        if seq >= self.next + self._window:
            raise RemoteProtocolError(
                f"{self.sender} sent value {seq} where its credit ends at {self.credit_to}",
                node=self.sender,
                iteration=tag.iteration,
            )
        held = self._slots.get(seq)
        if held is None:
            self._slots[seq] = (tag, value)
        elif held[0] != tag or not same_value(held[1], value):
            raise RemoteProtocolError(
                f"{self.sender} sent two different values for {tag}",
                hint="the sender is faulty or not who it says: remove it from the workload",
                node=self.sender,
                iteration=tag.iteration,
            )

    def peek(self) -> Tag | None:
        """The tag of the value to take next, if it is here."""
        slot = self._slots.get(self.next)
        return slot[0] if slot else None

    def take(self) -> Value:
        value = self._slots.pop(self.next)[1]
        self.next += 1
        return value

    @property
    def held(self) -> int:
        """How many values wait here; never more than the window."""
        return len(self._slots)


class Rounds:
    """The in-edges of one node, taken exchange by exchange."""

    def __init__(self, senders: Iterable[tuple[int, str]], window: int = WINDOW) -> None:
        self.edges = {index: InEdge(name, window) for index, name in senders}

    def receive(self, sender: int, seq: int, tag: Tag, value: Value) -> None:
        """Stores a value from in-neighbour `sender`; see `InEdge.receive`."""
        edge = self.edges.get(sender)
        if edge is None:
            raise RemoteProtocolError(
                f"a value came from node {sender}, which is no in-neighbour here",
                iteration=tag.iteration,
            )
        edge.receive(seq, tag, value)

    def take(self, tag: Tag) -> dict[int, Value] | None:
        """Every in-neighbour's value for the exchange `tag`, or None while one is missing.

        Raises:
            RemoteProtocolError: an in-neighbour is at another exchange; nodes disagree on the
                exchanges of this iteration and waiting would never end.
        """
        whole = True
        for edge in self.edges.values():
            theirs = edge.peek()
            if theirs is None:
                whole = False
            elif theirs != tag:
                raise disagreement(edge.sender, theirs, tag)
        if not whole:
            return None
        return {index: edge.take() for index, edge in self.edges.items()}

    def is_incomplete(self, tag: Tag) -> bool:
        """Whether `take(tag)` would give nothing, and raise nothing."""
        whole = True
        for edge in self.edges.values():
            theirs = edge.peek()
            if theirs is None:
                whole = False
            elif theirs != tag:
                return False
        return not whole

    def missing(self) -> list[str]:
        """The in-neighbours whose next value has not come."""
        return [edge.sender for edge in self.edges.values() if edge.peek() is None]


def disagreement(sender: str, theirs: Tag, ours: Tag) -> RemoteProtocolError:
    """What is told where an in-neighbour's next value is for another exchange than ours."""
    iteration = min(ours.iteration, theirs.iteration)  # one has gone on to the next
    return RemoteProtocolError(
        f"nodes disagree on the exchanges of iteration {iteration}: "
        f"here it is {ours}, at {sender} {theirs}",
        hint="how often a step exchanges must not depend on local data",
        node=sender,
        iteration=iteration,
    )


def same_value(a: Value, b: Value) -> bool:
    """Equal in structure, types and every bit."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and _same_bits(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray | tuple | dict) or isinstance(b, np.ndarray | tuple | dict):
        return False
    return type(a) is type(b) and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def _same_bits(a: Array, b: Array) -> bool:
    """Of two arrays of one dtype and shape; piece by piece, because a value may be large."""
    x, y = (np.ascontiguousarray(v).reshape(-1).view(np.uint8) for v in (a, b))
    return all(
        x[at : at + _PIECE].tobytes() == y[at : at + _PIECE].tobytes()
        for at in range(0, len(x), _PIECE)
    )
