"""A site's own code for the tests of endings: something to be ended in every state."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import p2pdo
from p2pdo.node.events import END_RUN, Event, on
from p2pdo.node.executors import Context, Executor, Task, task
from p2pdo.problems import Quadratic

GATE = threading.Event()
"""Holds whoever is slow at node 0; the test opens it."""

ENTERED = threading.Semaphore(0)
"""Released once for each who is there."""

ROUNDS = 5


class Work(Executor):
    """In the node's own process."""

    @task
    def look(self, _task: Task, context: Context) -> object:
        """On its thread; looks at the abort."""
        ENTERED.release()
        while True:
            context.abort.wait(60)

    @task
    async def wait(self, _task: Task) -> object:
        ENTERED.release()
        await asyncio.Event().wait()
        return None


class Crunch(Executor):
    """In worker processes."""

    @task
    def rest(self, task: Task, context: Context) -> object:
        """Heeds an abort."""
        _sign(f"{task.payload}.{context.rank}")
        while True:
            context.abort.wait(60)

    @task
    def spin(self, task: Task, context: Context) -> object:
        """Heeds nothing."""
        _sign(f"{task.payload}.{context.rank}")
        while True:
            pass


class Slow(Executor):
    """Is made when the gate opens."""

    def __init__(self) -> None:
        ENTERED.release()
        GATE.wait()

    @task
    def later(self, _task: Task) -> object:
        return None


class Stubborn(Executor):
    """Ends as badly as it can: its thread is busy, its close does not return, and it listens."""

    @task
    def held(self, _task: Task) -> object:
        ENTERED.release()
        GATE.wait()
        return None

    @on(END_RUN)
    def note(self, _event: Event) -> None:
        """Waits for the thread."""

    async def close(self) -> None:
        await asyncio.Event().wait()


class Hanging(Executor):
    """Never gets ready."""

    def __init__(self, pipe: str) -> None:
        _sign(pipe)
        threading.Event().wait()

    @task
    def never(self, _task: Task) -> object:
        return None


def _sign(pipe: str) -> None:
    """Wakes the test that reads the pipe."""
    Path(pipe).write_text(str(os.getpid()))


def finished(_event: Event) -> None:
    """Told after the last step of an algorithm."""
    ENTERED.release()


class Costly(Quadratic):
    """At node 0, its last gradient comes when the gate opens."""

    calls: ClassVar[int] = 0

    def gradient(self, x: Any) -> Any:
        Costly.calls += 1
        if Costly.calls > ROUNDS:  # the first call is a check before the first round
            ENTERED.release()
            GATE.wait()
        return super().gradient(x)


def costly(node: int, *_: Any) -> Quadratic:
    """As long as the others can finish without it."""
    Costly.calls = 0
    kind = Quadratic if node else Costly
    return kind(np.eye(2), np.full(2, float(node)))


def slow(node: int, *_: Any) -> Quadratic:
    """Is made at node 0 when the gate opens."""
    ENTERED.release()
    if node == 0:
        GATE.wait()
    return Quadratic(np.eye(2), np.full(2, float(node)))


@p2pdo.participant
def lonely(me: Any) -> None:
    """Node 0 leaves the others alone with what they have to mix."""
    if me.node == 0:
        ENTERED.release()
        while not me.aborted:
            threading.Event().wait(0.001)
        return
    for k in me.rounds():
        if k == 1:
            ENTERED.release()
        me.mix(np.zeros(2))
