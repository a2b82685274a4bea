"""A site's own code for benchmarks/abort.py: work that iterates, and a node that is waited for.

Whoever leaves an exchange, with its values or because the workload is over, notes when: by the
clock that all processes of a host share. The last note is when this node has left for good.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

import p2pdo
from p2pdo.node import edges
from p2pdo.problems import Quadratic
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports.shared_memory.lane import SharedMemoryLane

STRAGGLER = "n0"
LATE = 50  # the straggler's iteration: until then all are at work
LEFT = [0.0]
"""When an exchange at this node was left last."""

ENOUGH = threading.Event()
"""Lets the straggler go: its own code is what no abort can interrupt."""


class NotedExchanger(Exchanger):
    """By the link: on the loop, where the driver of an algorithm waits."""

    async def exchange(self, outgoing: Any) -> Any:
        try:
            return await super().exchange(outgoing)
        finally:
            LEFT[0] = time.monotonic()


class NotedLane(SharedMemoryLane):
    """By memory: on the workload's thread."""

    def publish(self, outgoing: Any) -> Any:
        return _noted(super().publish, outgoing)

    def collect(self, tag: Any) -> Any:
        return _noted(super().collect, tag)


def _noted(call: Any, argument: Any) -> Any:
    try:
        return call(argument)
    finally:
        LEFT[0] = time.monotonic()


def note_algorithms() -> None:
    """From now on this node's exchanges are noted."""
    edges.Exchanger, edges.SharedMemoryLane = NotedExchanger, NotedLane  # type: ignore[misc]


class Straggling(Quadratic):
    """Goes on for ever, but for the straggler, whose code does not come back in one iteration."""

    in_place = False
    calls = 0

    def gradient(self, x: Any) -> Any:
        self.__dict__["calls"] = self.calls + 1
        if self.calls == LATE:
            ENOUGH.wait()
        return super().gradient(x)


def iterating(node: int, *_: Any) -> Quadratic:
    return Quadratic(np.eye(10), np.full(10, float(node)))


def straggling(node: int, *_: Any) -> Quadratic:
    return (Quadratic if node else Straggling)(np.eye(10), np.full(10, float(node)))


@p2pdo.participant
def mixing(me: Any, late: int = 0) -> None:
    """The same in a loop of its author's, on the workload's thread by either lane."""
    x = np.full(10, float(me.node))
    try:
        for number in me.rounds():
            if number == late and me.name == STRAGGLER:
                ENOUGH.wait()
            x = me.mix(x)
    finally:
        LEFT[0] = time.monotonic()
