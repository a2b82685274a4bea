"""What `p2pdo results` tells of a workload of tasks. Looking acknowledges nothing."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.driving.client import Client
    from p2pdo.wire.v1 import coordinator_pb2 as pb

_WIDTH = 60  # characters of a value that are shown


def has(workload: pb.Workload) -> bool:
    return bool(json.loads(workload.spec).get("kind") == "tasks")


async def collect(client: Client, workload: pb.Workload) -> dict[str, Any]:
    """The results that are there and not acknowledged, and how many there are of what.

    Raises:
        NotFound: they are no longer kept.
    """
    from p2pdo.driving.results import result_of

    found: list[dict[str, Any]] = []
    left = workload.results - workload.acknowledged
    events = client.watch(workload.workload_id, workload.acknowledged)
    async with contextlib.aclosing(events):  # type: ignore[type-var]
        while len(found) < left:
            event = await anext(events)
            if event.HasField("result"):
                told = event.result
                value = json.loads(told.payload)
                found.append(
                    {
                        "place": told.place,
                        "task_id": told.task_id,
                        "node": told.node,
                        "name": told.name,
                        "status": str(result_of(told).status),
                        "value" if told.ok else "error": value,
                    }
                )
    return {
        "workload_id": workload.workload_id,
        "status": workload.status,
        "tasks": workload.tasks,
        "unanswered": workload.tasks - workload.results,
        "acknowledged": workload.acknowledged,
        "results": found,
    }


def show(console: Console, data: dict[str, Any]) -> None:
    from p2pdo.reporting.tables import headline, next_step, table

    headline(console, data["status"], data["workload_id"], "tasks")
    rows = [
        [row["place"], row["node"], row["name"], row["status"], _brief(row)]
        for row in data["results"]
    ]
    if rows:
        table(console, ["", "NODE", "TASK", "STATUS", "VALUE"], rows)
    told = f", {data['acknowledged']} were told to a driver before" if data["acknowledged"] else ""
    console.print(
        f"{len(rows)} results of {data['tasks']} tasks, {data['unanswered']} without one{told}",
        soft_wrap=True,
    )
    if data["status"] == "running":
        next_step(console, f"net.attach({data['workload_id']!r}) in a program takes it over")


def _in_words(value: Any) -> str:
    """As JSON, and arrays as lists: nobody reads the bytes that travel."""
    from p2pdo.wire.plain import decode_data

    try:
        return json.dumps(decode_data(value), default=_as_list)
    except ValueError:
        return json.dumps(value)


def _as_list(value: Any) -> Any:
    return str(value) if isinstance(value, complex) else value.tolist()


def _brief(row: dict[str, Any]) -> str:
    if "error" in row:
        error = row["error"]
        text = error.get("message", "") if isinstance(error, dict) else str(error)
    else:
        text = _in_words(row["value"])
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
