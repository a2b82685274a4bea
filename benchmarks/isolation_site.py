"""A site's own code for benchmarks/isolation.py: what is measured, and what disturbs it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, ClassVar

import numpy as np

from p2pdo.node.executors import Context, Executor, Task, task
from p2pdo.problems import Quadratic

PAUSE = 0.004  # seconds of a round in which its nodes compute nothing
DIMENSION = 60
ENOUGH = threading.Event()
"""Ends the loop in the node's own thread, which nothing else could."""


class Paced(Quadratic):
    """A little to compute, and a pause."""

    def gradient(self, x: Any) -> Any:
        time.sleep(PAUSE)
        return super().gradient(x)


class Counted(Paced):
    """Counts the iterations of node 0."""

    iterations: ClassVar[int] = 0

    def gradient(self, x: Any) -> Any:
        Counted.iterations += 1
        return super().gradient(x)


def counted(node: int, *_: Any) -> Quadratic:
    kind = Paced if node else Counted
    return kind(np.eye(DIMENSION), np.full(DIMENSION, float(node)))


class Work(Executor):
    """In the node's own process."""

    @task
    async def nothing(self, _task: Task) -> object:
        return None

    @task
    async def echo(self, task: Task) -> object:
        return task.payload

    @task
    def compute(self, task: Task) -> object:
        """Some 30 ms of numpy on the workload's thread, and what it was given."""
        matrix = np.ones((500, 500))
        for _ in range(10):
            matrix = matrix @ matrix / 500.0
        return task.payload * matrix[0, 0]

    @task
    def loop_here(self, _task: Task) -> object:
        while not ENOUGH.is_set():
            pass
        return None


class Crunch(Executor):
    """In a worker process."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    @task
    def process(self, _task: Task) -> object:
        return os.getpid()

    @task
    def rest(self, _task: Task, context: Context) -> object:
        while True:
            context.abort.wait(60)

    @task
    def crash(self, _task: Task) -> object:
        os.abort()

    @task
    def leak(self, _task: Task) -> object:
        """Up to its limit, where it raises; the next task begins with nothing."""
        try:
            while True:
                self._kept.append(bytearray(b"x" * 1_000_000))
        finally:
            self._kept.clear()

    @task
    def loop(self, _task: Task) -> object:
        while True:
            pass
