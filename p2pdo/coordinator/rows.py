"""Records to rows and back. The columns are in `store.MIGRATIONS`.

What a task carries, and what it was answered, have tables of their own: a row that loses a large
text leaves its page as empty as it is, and a page without rows is used again. So a task that is
done costs some 300 bytes.

A writer captures its values when it is made: the record may have changed again by the time that
the store's thread runs it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from p2pdo.coordinator.nodes import NodeRecord, NodeState
from p2pdo.coordinator.store import Write
from p2pdo.protocol.tasks import Task, TaskState
from p2pdo.types import NodeId, Plain, TaskId, WorkloadId


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """A workload as it is kept; `error`, `resolved` and `progress` are plain data.

    Attributes:
        members: names and addresses, in index order.
        created: by the wall clock, for people to read.
        ended: its end's place among all durable events; 0 while it is not over.
        forgotten: how many results were pruned with its tasks.
        acknowledged: how many of its first results were told for good.
    """

    workload: WorkloadId
    request_id: str
    spec: str
    members: list[list[str]]
    created: float
    status: str
    is_closed: bool
    error: dict[str, Plain] | None
    resolved: dict[str, Plain]
    progress: dict[str, list[float]]
    ended: int
    forgotten: int = 0
    acknowledged: int = 0


def write_node(node: NodeRecord) -> Write:
    values = (
        node.name,
        node.boot_id,
        node.address,
        node.version,
        int(node.return_states),
        str(node.state),
        node.joined,
    )
    return lambda db: _run(
        db,
        "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "boot_id = excluded.boot_id, address = excluded.address, version = excluded.version, "
        "return_states = excluded.return_states, state = excluded.state, joined = excluded.joined",
        [values],
    )


def write_workload(row: WorkloadRow) -> Write:
    values = (
        row.workload,
        row.request_id,
        row.spec,
        json.dumps(row.members),
        row.created,
        row.status,
        int(row.is_closed),
        json.dumps(row.error),
        json.dumps(row.resolved),
        json.dumps(row.progress),
        row.ended,
        row.forgotten,
        row.acknowledged,
    )
    return lambda db: _run(
        db,
        "INSERT INTO workloads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET "
        "status = excluded.status, is_closed = excluded.is_closed, error = excluded.error, "
        "resolved = excluded.resolved, progress = excluded.progress, ended = excluded.ended, "
        "forgotten = excluded.forgotten, acknowledged = excluded.acknowledged",
        [values],
    )


def write_new_tasks(tasks: Iterable[Task]) -> Write:
    values, payloads = [], []
    for task in tasks:
        values.append(
            (
                task.task_id,
                task.workload,
                task.node,
                task.number,
                task.executor,
                task.name,
                str(task.state),
                task.attempt,
                task.digest,
                task.recorded,
            )
        )
        payloads.append((task.task_id, task.payload))

    def write(db: sqlite3.Connection) -> None:
        _run(db, "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        _run(db, "INSERT INTO payloads VALUES (?, ?)", payloads)

    return write


def write_tasks(tasks: Iterable[Task]) -> Write:
    """What can change of a task; the payload of one that is not sent again goes."""
    values, results, done = [], [], []
    for task in tasks:
        values.append((str(task.state), task.attempt, task.digest, task.recorded, task.task_id))
        if task.result:
            results.append((task.task_id, task.result))
        if not task.payload:
            done.append((task.task_id,))

    def write(db: sqlite3.Connection) -> None:
        _run(
            db,
            "UPDATE tasks SET state = ?, attempt = ?, digest = ?, recorded = ? WHERE id = ?",
            values,
        )
        _run(db, "INSERT OR REPLACE INTO results VALUES (?, ?)", results)
        _run(db, "DELETE FROM payloads WHERE task = ?", done)

    return write


def drop_results(task_ids: Iterable[TaskId]) -> Write:
    """Leaves of these tasks how they ended, and the digest of their results."""
    values = [(task_id,) for task_id in task_ids]
    return lambda db: _run(db, "DELETE FROM results WHERE task = ?", values)


def write_send(workload: WorkloadId, request_id: str, task_ids: Sequence[TaskId]) -> Write:
    values = (workload, request_id, json.dumps(task_ids))
    return lambda db: _run(db, "INSERT INTO sends VALUES (?, ?, ?)", [values])


def delete_tasks(workload: WorkloadId) -> Write:
    """All that a workload of tasks has sent, and what it was answered."""

    def delete(db: sqlite3.Connection) -> None:
        for table in ("payloads", "results"):
            of_it = "SELECT id FROM tasks WHERE workload = ?"
            _run(db, f"DELETE FROM {table} WHERE task IN ({of_it})", [(workload,)])  # noqa: S608
        _run(db, "DELETE FROM tasks WHERE workload = ?", [(workload,)])
        _run(db, "DELETE FROM sends WHERE workload = ?", [(workload,)])

    return delete


def read_results(
    task_ids: Sequence[TaskId], limit: int
) -> Callable[[sqlite3.Connection], list[str]]:
    """The first of these results, until there are about `limit` characters, or one is dropped."""

    def read(db: sqlite3.Connection) -> list[str]:
        texts: list[str] = []
        size = 0
        for task_id in task_ids:
            row = db.execute("SELECT text FROM results WHERE task = ?", (task_id,)).fetchone()
            if row is None:
                break
            texts.append(str(row[0]))
            size += len(texts[-1])
            if size >= limit:
                break
        return texts

    return read


def _run(db: sqlite3.Connection, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    db.executemany(sql, rows)


@dataclass(frozen=True, slots=True)
class Everything:
    """What an earlier coordinator left."""

    nodes: list[NodeRecord]
    workloads: list[WorkloadRow]
    tasks: list[Task]
    sends: dict[tuple[WorkloadId, str], list[TaskId]]


_TASKS = """
SELECT id, workload, node, number, executor, name,
    CASE WHEN state IN ('pending', 'leased') AND digest = ''
        THEN coalesce((SELECT text FROM payloads WHERE task = id), '') ELSE '' END,
    state, attempt, digest,
    CASE WHEN state IN ('pending', 'leased')
            OR workload NOT IN
                (SELECT id FROM workloads WHERE json_extract(spec, '$.kind') = 'tasks')
            OR recorded = max(recorded) OVER (PARTITION BY workload, node)
        THEN coalesce((SELECT text FROM results WHERE task = id), '') ELSE '' END,
    recorded
FROM tasks ORDER BY number, id
"""
"""All tasks, without what stays on disk: payloads that will not be sent again, and of a workload
of tasks all results but each node's latest, see `results`."""


def read_everything(db: sqlite3.Connection) -> Everything:
    return Everything(
        [
            NodeRecord(
                NodeId(name),
                boot_id,
                address,
                version,
                return_states=bool(return_states),
                state=NodeState(state),
                joined=joined,
            )
            for name, boot_id, address, version, return_states, state, joined in db.execute(
                "SELECT name, boot_id, address, version, return_states, state, joined "
                "FROM nodes ORDER BY name"
            )
        ],
        [_workload(row) for row in db.execute("SELECT * FROM workloads ORDER BY created, id")],
        [_task(row) for row in db.execute(_TASKS)],
        {
            (WorkloadId(workload), request_id): json.loads(task_ids)
            for workload, request_id, task_ids in db.execute("SELECT * FROM sends")
        },
    )


def _workload(row: tuple[object, ...]) -> WorkloadRow:
    workload, request_id, spec, members, created, status, closed, error, *rest = row
    resolved, progress, ended, forgotten, acknowledged = rest
    return WorkloadRow(
        WorkloadId(str(workload)),
        str(request_id),
        str(spec),
        json.loads(str(members)),
        float(str(created)),
        str(status),
        bool(closed),
        json.loads(str(error)),
        json.loads(str(resolved)),
        json.loads(str(progress)),
        int(str(ended)),
        int(str(forgotten)),
        int(str(acknowledged)),
    )


def _task(row: tuple[object, ...]) -> Task:
    task_id, workload, node, number, executor, name, payload, state, attempt, *rest = row
    digest, result, recorded = rest
    return Task(
        TaskId(str(task_id)),
        WorkloadId(str(workload)),
        NodeId(str(node)),
        int(str(number)),
        str(executor),
        str(name),
        str(payload),
        TaskState(str(state)),
        int(str(attempt)),
        str(digest),
        str(result),
        int(str(recorded)),
    )
