"""Gradient tracking written by hand over p2pdo's shared memory lane, and nothing else of p2pdo.

No stepper, no checks of values, no tags that change, no metrics, no event loop: what p2pdo's own
`gradient-tracking` on the same lane has to be held against. The recursion and the costs
½ ‖x − rank‖² are those of `p2pdo bench ring -a gradient-tracking`:

    x⁺ = (x_left + x + x_right)/3 − α y        y⁺ = (y_left + y + y_right)/3 + ∇f(x⁺) − ∇f(x)
"""

from __future__ import annotations

import argparse
from multiprocessing.connection import Connection

import numpy as np
from common import Array, arguments, in_processes, start, window

from p2pdo.environment import keep_memory
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.transports.shared_memory.lane import SharedMemoryLane

STEP_SIZE = np.float32(0.1)
_THIRD = np.float32(1 / 3)
_TAG = Tag(0, 0, EffectKind.MIX)


class Tracking:
    """One node's recursion, in place."""

    def __init__(self, x: Array, centre: float) -> None:
        self.x = x
        self._centre = np.float32(centre)
        self._g = x - self._centre
        self.y = self._g.copy()
        self._new_g, self._scaled = np.empty_like(x), np.empty_like(x)

    def take(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> None:
        """One iteration with the neighbours' (x, y)."""
        x, y, g, new_g, scaled = self.x, self.y, self._g, self._new_g, self._scaled
        np.multiply(y, STEP_SIZE, out=scaled)
        for own, one, other in zip((x, y), left, right, strict=True):
            np.add(own, one, out=own)
            np.add(own, other, out=own)
            np.multiply(own, _THIRD, out=own)
        np.subtract(x, scaled, out=x)
        np.subtract(x, self._centre, out=new_g)
        np.add(y, new_g, out=y)
        np.subtract(y, g, out=y)
        self._g, self._new_g = new_g, g


def worker(rank: int, options: argparse.Namespace, pipe: Connection) -> None:
    keep_memory()
    lane = SharedMemoryLane(rank)
    pipe.send(lane.offer)
    offers = pipe.recv()
    left, right = (rank - 1) % options.nodes, (rank + 1) % options.nodes
    for j in (left, right):
        if not lane.attach(j, str(j), offers[j]):
            raise SystemExit(f"no shared memory with {j}: {lane.why_not(j)}")
    lane.begin([left, right], [left, right], lambda: None)
    own = Tracking(start(rank, options.floats), rank)

    def step() -> None:
        sent = Outgoing(_TAG, (own.x, own.y))
        while not lane.publish(sent):
            pass
        while (inbox := lane.collect(_TAG)) is None:
            pass
        own.take(inbox[left], inbox[right])

    pipe.send(window(step, options.iterations))


if __name__ == "__main__":
    in_processes(worker, arguments(), meet=True, imports="p2pdo.transports.shared_memory.lane")
