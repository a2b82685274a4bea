"""Tasks as they travel: what one may carry, and as many in a message as it takes."""

from __future__ import annotations

import json
from collections import deque

from p2pdo.errors import ConfigError
from p2pdo.protocol.tasks import Task
from p2pdo.wire.plain import LIMIT, parse_plain
from p2pdo.wire.v1 import coordinator_pb2 as wire

ORDERS_BYTES = 1 << 20  # of payloads in one message, about; gRPC's limit is 8 MiB
MUCH = 2 << 20  # of payloads in one message: no new ones are added, which may be one of 4 MiB


def to_wire(task: Task) -> wire.Task:
    """A task as it is offered; one that was aborted says why, and nothing else."""
    return wire.Task(
        task_id=task.task_id,
        workload_id=task.workload,
        executor=task.executor,
        name=task.name,
        number=task.number,
        attempt=task.attempt,
        payload="" if task.is_aborted else task.payload,
        aborted=_reason_of(task) if task.is_aborted else "",
    )


def _reason_of(task: Task) -> str:
    return str(json.loads(task.result)["message"])


def next_batch(tasks: deque[Task]) -> tuple[list[Task], int]:
    """Takes what one message carries, and what was answered meanwhile; tells the payloads' size."""
    batch: list[Task] = []
    size = 0
    while tasks and size < ORDERS_BYTES:
        task = tasks.popleft()
        if task.is_open:
            size += len(task.payload)
            batch.append(task)
    return batch, size


def check_payload(payload: str) -> None:
    """Refuses what no task may carry.

    Raises:
        ConfigError: it is too large, or no JSON.
    """
    size = len(payload) if payload.isascii() else len(payload.encode())
    if size > LIMIT:
        raise ConfigError(
            f"a task's payload has {size} bytes, more than {LIMIT}",
            hint="data stays at the sites; send what names it",
        )
    try:
        parse_plain(payload)
    except ValueError as error:
        raise ConfigError(
            f"a task's payload is not JSON: {error}", hint="send plain data"
        ) from None
