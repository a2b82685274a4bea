"""What a task's accepted result means to its workload's machine."""

from __future__ import annotations

from p2pdo.errors import RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.tasks import Task, TaskState
from p2pdo.protocol.workload_words import TaskFailed, TaskSucceeded
from p2pdo.types import Plain
from p2pdo.wire.plain import parse_plain


def outcome_of(task: Task) -> TaskSucceeded | TaskFailed:
    """The event that the machine takes; a node may answer anything."""
    try:
        payload: Plain = parse_plain(task.result)
    except ValueError:
        error = RemoteProtocolError(f"node {task.node} answered {task.name} with no JSON")
        return TaskFailed(task.node, task.name, error.to_plain())
    if task.state is TaskState.SUCCEEDED:
        return TaskSucceeded(task.node, task.name, payload)
    if isinstance(payload, dict):
        return TaskFailed(task.node, task.name, payload)
    unsaid = WorkloadFailed(
        f"task {task.name} failed, and did not say why", hint=f"look at the log of {task.node}"
    )
    return TaskFailed(task.node, task.name, unsaid.to_plain())
