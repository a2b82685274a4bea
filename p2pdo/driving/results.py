"""What a task came to, as its driver sees it."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from p2pdo.errors import P2pdoError, TaskAborted, UnknownExecutor, UnknownTask, from_plain
from p2pdo.types import NodeId, TaskId
from p2pdo.wire.plain import LARGE, decode_data, parse_plain
from p2pdo.wire.v1 import coordinator_pb2 as pb


def count_links(workload: pb.Workload) -> dict[str, int]:
    """How many pairs of neighbours exchanged by which lane, as the members reported it."""
    ends = Counter(
        lane
        for member in workload.members
        if member.result
        for lane in json.loads(member.result).get("lanes", {}).values()
    )
    return {lane: count // 2 for lane, count in sorted(ends.items())}


def count_headers(workload: pb.Workload) -> int:
    """Bytes of gRPC frames around all values, as the members reported them."""
    results = [json.loads(member.result) for member in workload.members if member.result]
    return sum(int(result.get("header_bytes", 0)) for result in results)


class TaskStatus(StrEnum):
    """How a task ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"  # nobody at the node handles it
    ABORTED = "aborted"  # its deadline, its driver, or the end of its workload


@dataclass(frozen=True, eq=False)
class TaskResult:
    """One node's answer to one task.

    Attributes:
        name: the task's.
        value: what the handler returned, with its arrays; None unless it is ok.
        error: what went wrong, with node and workload; None if nothing did.
        traceback: the handler's, where the site tells it.
        place: which result of its workload it is, from 1, in the order in which they were accepted.
    """

    task_id: TaskId
    node: NodeId
    name: str
    status: TaskStatus
    value: Any = None
    error: P2pdoError | None = None
    traceback: str = ""
    place: int = 0

    @property
    def is_ok(self) -> bool:
        return self.status is TaskStatus.OK

    def unwrap(self) -> Any:
        """The value.

        Raises:
            P2pdoError: what went wrong.
        """
        if self.error is not None:
            raise self.error
        return self.value


def result_of(told: pb.TaskResult) -> TaskResult:
    """A result as the coordinator tells it."""
    task_id, node = TaskId(told.task_id), NodeId(told.node)
    try:
        data: Any = parse_plain(told.payload)
        if told.ok:
            value = decode_data(data)
            return TaskResult(task_id, node, told.name, TaskStatus.OK, value, place=told.place)
    except ValueError as why:
        data = {"code": "task-failed", "message": f"the answer cannot be read: {why}"}
    error = _error_in(data, node, told.name)
    traceback = str(data.get("traceback", "")) if isinstance(data, dict) else ""
    return TaskResult(
        task_id, node, told.name, _status_of(error), None, error, traceback, told.place
    )


async def read_result(told: pb.TaskResult) -> TaskResult:
    """The same; a large one is read on a thread."""
    if len(told.payload) > LARGE:
        return await asyncio.to_thread(result_of, told)
    return result_of(told)


async def results_in(events: AsyncIterator[pb.WorkloadEvent]) -> AsyncIterator[TaskResult]:
    """The results among a workload's events."""
    async for event in events:
        if event.HasField("result"):
            yield await read_result(event.result)


def _error_in(data: Any, node: NodeId, name: str) -> P2pdoError:
    """What went wrong, with the place in its words: whoever raises it has no result at hand."""
    plain = data if isinstance(data, dict) else {"code": "task-failed", "message": json.dumps(data)}
    words = str(plain.get("message") or "unknown error")
    names_node = re.search(rf"(?<![\w-]){re.escape(node)}(?![\w-])", words)
    if not (names_node and f"'{name}'" in words):
        words = f"task '{name}' at {node}: {words}"
    return from_plain({"node": node, **plain, "message": words})


def _status_of(error: P2pdoError) -> TaskStatus:
    if isinstance(error, UnknownTask | UnknownExecutor):
        return TaskStatus.UNKNOWN
    return TaskStatus.ABORTED if isinstance(error, TaskAborted) else TaskStatus.FAILED
