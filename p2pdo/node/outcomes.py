"""How a task ended, as AFTER_TASK tells it to the site's own code.

    status    "ok", "failed" or "aborted", the words that its driver has for it
    result    what passed the filters, of a task that is ok; else None
    error     code, message, hint, node, workload and traceback of one that is not; else None

The error has all its words: a policy that redacts is about what leaves the site.
"""

from __future__ import annotations

from typing import Any

from p2pdo.node.context import WorkloadContext
from p2pdo.node.executors import Task, aborted
from p2pdo.node.failures import failure


def ok(task: Task, value: Any) -> dict[str, Any]:
    return {"task": task, "status": "ok", "result": value, "error": None}


def failed(task: Task, error: BaseException, context: WorkloadContext) -> dict[str, Any]:
    return _without_result(task, "failed", error, context)


def given_up(task: Task, context: WorkloadContext) -> dict[str, Any]:
    """Of a task that was to end, whatever its handler came to."""
    error = aborted(context.abort.reason or "the workload has ended")
    return _without_result(task, "aborted", error, context)


def _without_result(
    task: Task, status: str, error: BaseException, context: WorkloadContext
) -> dict[str, Any]:
    told = failure(error, node=context.node, workload=task.workload_id)
    return {"task": task, "status": status, "result": None, "error": told}
