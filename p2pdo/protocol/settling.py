"""Settling: all nodes find out together, at one iteration, that none of them moves any more.

A node's move is ‖x⁺ − x‖₂, what an iteration changed its decision variable by. Iterations are
parted into windows of as many exchanges as the network is hops wide. With every value, a node sends
the largest move of the window before that it knows of, and keeps the largest that it hears:

    window w      every node notes its own largest move
    window w + 1  that is passed on with each exchange: after `hops` of them all know the largest
    its end       if that is at most the tolerance, all end here

All nodes make the same exchanges, so their windows end at the same iterations, and at the end of
one all hold the same number: either all end or none. Nobody needs to see all states, nothing is
sent besides, and a run ends at most two windows after it could have.

What it says: in every iteration of a whole window no node moved by more than the tolerance. A
method that multiplies its distance to the limit by ρ in an iteration is then about tol/(1 − ρ)
from there, or nearer. It says nothing of the gap: what stands still is not always an optimum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from p2pdo.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settle:
    """When a run has settled.

    Attributes:
        tol: the largest move that is none.
        hops: within so many exchanges what one node knows has come to all; at least the diameter.
    """

    tol: float
    hops: int


def require_settle(tol: float) -> None:
    """Refuses a tolerance that is zero, negative, infinite or not a number."""
    if not (math.isfinite(tol) and tol > 0):
        raise ConfigError(
            f"settle must be a positive number, got {tol}", hint="for example --settle 1e-9"
        )


class Settling:
    """One node's part in it.

    Attributes:
        known: the largest move of the window before that is known here; it is sent.
    """

    def __init__(self, rule: Settle) -> None:
        self.known = math.inf  # nothing has been watched before the first window
        self._rule = rule
        self._own = 0.0  # the largest move of this window
        self._exchanges = 0  # of this window

    def hear(self, theirs: Iterable[float]) -> None:
        """An exchange brought what others know."""
        for move in theirs:
            self.known = max(self.known, move)
        self._exchanges += 1

    def complete(self, move: float) -> bool:
        """An iteration has moved by this; whether it is the last."""
        self._own = max(self._own, move if math.isfinite(move) else math.inf)
        if self._exchanges < self._rule.hops:
            return False
        is_settled = self.known <= self._rule.tol
        self.known, self._own, self._exchanges = self._own, 0.0, 0
        return is_settled
