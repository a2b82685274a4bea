"""What the machine of `routing` knows of one workload."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from p2pdo.protocol.handed import Result, Task, failed
from p2pdo.types import Plain, TaskId


class Runs:
    """A set of numbers, kept as runs without gaps: the numbers 0 to 10⁶ are one entry."""

    def __init__(self) -> None:
        self.count = 0
        self._first = self._top = 0  # of the greatest run; one after the greatest
        self._end_of: dict[int, int] = {}  # a lower run's first number → the one after its last
        self._start_of: dict[int, int] = {}  # the same, the other way round

    def __contains__(self, number: int) -> bool:
        if number >= self._first:
            return number < self._top
        return any(start <= number < end for start, end in self._end_of.items())

    def __len__(self) -> int:
        """How many runs."""
        return len(self._end_of) + (self._first < self._top)

    def add(self, number: int) -> None:
        """Adds a number that is not there; most are the next one."""
        self.count += 1
        if number == self._top:
            self._top += 1
        elif number > self._top:
            self._keep(self._first, self._top)
            self._first, self._top = number, number + 1
        else:
            start = self._start_of.pop(number, number)
            if number + 1 == self._first:
                self._end_of.pop(start, None)
                self._first = start
            else:
                self._keep(start, self._end_of.pop(number + 1, number + 1))

    def _keep(self, start: int, end: int) -> None:
        if start < end:
            self._end_of[start] = end
            self._start_of[end] = start


@dataclass(slots=True)
class Books:
    """One workload's books.

    Attributes:
        executor: None where this node has no such executor.
        base: the number of the first task that came; None before that.
        credit: what was granted last. Invariant: it never falls.
        taken: how many different tasks have left the inbox.
        taken_before_restart: how many of those at the head of the inbox are counted in `taken`.
        in_inbox: delivered and not taken. Invariant: at most the capacity.
        open: accepted and not answered, in order of acceptance.
        waiting: the tail of `open` for which the inbox has no room.
        answered: results that the coordinator has not acknowledged, with their numbers.
        failed: why the client was given up.
    """

    executor: str | None
    base: int | None = None
    credit: int = 0
    taken: int = 0
    taken_before_restart: int = 0
    in_inbox: int = 0
    open: dict[TaskId, Task] = field(default_factory=dict)
    waiting: deque[Task] = field(default_factory=deque)
    answered: dict[TaskId, tuple[Result, int]] = field(default_factory=dict)
    acknowledged: Runs = field(default_factory=Runs)
    failed: Mapping[str, Plain] | None = None

    @property
    def has_client(self) -> bool:
        return self.executor is not None and self.failed is None

    def answer(self, task: Task, error: Mapping[str, Plain]) -> Result:
        """The result of a task that failed with this error, remembered."""
        result = failed(task, error)
        self.answered[task.task_id] = (result, task.number)
        return result

    def offer_again(self, task: Task) -> Result:
        """The remembered result, under the newest attempt."""
        result, number = self.answered[task.task_id]
        if task.attempt > result.attempt:
            result = replace(result, attempt=task.attempt)
            self.answered[task.task_id] = (result, number)
        return result
