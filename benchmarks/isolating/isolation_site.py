"""A site's own code for benchmarks/isolation.py: what is measured, and what disturbs it."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, ClassVar, NoReturn

import numpy as np

from p2pdo.node.executors import Executor, Task, task
from p2pdo.problems import Quadratic

MEMORY = 512_000_000  # bytes of a bad worker's address space
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


class Bad:
    """What misbehaves."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []
        self._is_on = False
        self._told, self._tell = os.pipe()

    def start(self) -> int:
        """From now on SIGUSR1 and SIGUSR2 switch it on and off."""
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._switch)
        return os.getpid()

    def _switch(self, number: int, _frame: object) -> None:
        self._is_on = number == signal.SIGUSR1
        os.write(self._tell, b"!")

    def rest(self) -> NoReturn:
        while True:
            os.read(self._told, 1)

    def crash(self) -> NoReturn:
        os.abort()

    def leak(self) -> NoReturn:
        """Up to its limit, where it raises; the next time it begins with nothing."""
        try:
            while True:
                self._kept.append(bytearray(b"x" * 1_000_000))
        finally:
            self._kept.clear()

    def loop(self) -> NoReturn:
        while True:
            while self._is_on:
                pass
            os.read(self._told, 1)

    def loop_at_once(self) -> NoReturn:
        self._is_on = True
        self.loop()


class Crunch(Executor):
    """In a worker process."""

    def __init__(self) -> None:
        self._bad = Bad()

    @task
    def process(self, _task: Task) -> object:
        return self._bad.start()

    @task
    def rest(self, _task: Task) -> object:
        self._bad.rest()

    @task
    def crash(self, _task: Task) -> object:
        self._bad.crash()

    @task
    def leak(self, _task: Task) -> object:
        self._bad.leak()

    @task
    def loop(self, _task: Task) -> object:
        self._bad.loop()


class Limited(Executor):
    """In a worker process with a limit of CPU; the same under other names."""

    def __init__(self) -> None:
        self._bad = Bad()

    @task
    def limited_process(self, _task: Task) -> object:
        return self._bad.start()

    @task
    def limited_crash(self, _task: Task) -> object:
        self._bad.crash()

    @task
    def limited_leak(self, _task: Task) -> object:
        self._bad.leak()

    @task
    def limited_loop(self, _task: Task) -> object:
        self._bad.loop()
