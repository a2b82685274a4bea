"""What a handler is given, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pdo.errors import P2pdoError
from p2pdo.types import Plain, TaskId, WorkloadId


@dataclass(frozen=True, slots=True)
class Task:
    """What a handler is given.

    Attributes:
        number: its place among this node's tasks of the workload, from 0.
        attempt: which offer of it this is, from 1.
        aborted: why it is not to be done any more; empty while it is.
    """

    task_id: TaskId
    workload_id: WorkloadId
    executor: str
    name: str
    number: int
    attempt: int
    payload: Any
    aborted: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task: `payload` is JSON text, what the handler returned or the error."""

    task_id: TaskId
    workload_id: WorkloadId
    attempt: int
    ok: bool
    payload: str


def failed(task: Task, error: P2pdoError | Mapping[str, Plain]) -> Result:
    """The task's result when it failed with this error."""
    plain = error.to_plain() if isinstance(error, P2pdoError) else error
    return Result(task.task_id, task.workload_id, task.attempt, ok=False, payload=json.dumps(plain))
