"""The Lead Client's routing.

A task is WORKLOAD:NUMBER, with @ATTEMPT, /EXECUTOR or !REASON for an abort where it matters.

tasks T… · took W · finished T · acknowledged T · restarted W · failed W REASON · end W REASON ·
stream · drain · stop REASON
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from p2pdo.protocol import routing_words as r
from p2pdo.protocol.handed import Result, Task
from p2pdo.protocol.routing import Routing
from p2pdo.types import TaskId, WorkloadId


def interpreter(capacity: str = "2") -> Callable[[str], list[str]]:
    machine = Routing("n1", ["echo", "sleep"], capacity=int(capacity))
    return lambda line: [describe(effect) for effect in machine.receive(event(line))]


def event(line: str) -> r.Event:
    verb, *words = line.split()
    workload = WorkloadId(words[0]) if words else WorkloadId("")
    reason = " ".join(words[1:])
    events: dict[str, Callable[[], r.Event]] = {
        "tasks": lambda: r.TasksArrived([task(word) for word in words]),
        "took": lambda: r.ClientTook(workload),
        "finished": lambda: r.Finished(result(words[0])),
        "acknowledged": lambda: r.Acknowledged([result(word) for word in words]),
        "restarted": lambda: r.ClientRestarted(workload),
        "failed": lambda: r.ClientFailed(workload, {"message": reason}),
        "end": lambda: r.EndArrived(workload, reason),
        "stream": r.StreamOpened,
        "drain": r.DrainAsked,
        "stop": lambda: r.StopAsked({"message": " ".join(words)}),
    }
    return events[verb]()


def task(word: str) -> Task:
    match = re.fullmatch(r"(\w+):(\d+)(?:@(\d+))?(?:/(\w+))?(?:!(\w+))?", word)
    assert match, word
    workload, number, attempt, executor, aborted = match.groups()
    return Task(
        TaskId(f"{workload}:{number}"),
        WorkloadId(workload),
        executor or "echo",
        "say",
        int(number),
        int(attempt or 1),
        payload=None,
        aborted=aborted or "",
    )


def result(word: str) -> Result:
    of = task(word)
    return Result(of.task_id, of.workload_id, of.attempt, ok=True, payload='"done"')


def describe(effect: r.Effect) -> str:
    match effect:
        case r.CreateClient(workload, executor):
            return f"create client {workload} with {executor}"
        case r.Deliver(workload, delivered):
            return f"deliver {' '.join(each.task_id for each in delivered)} to {workload}"
        case r.GrantCredit(credits):
            return "grant " + " ".join(f"{workload}={n}" for workload, n in credits.items())
        case r.Report(reported):
            attempt = f"@{reported.attempt}" if reported.attempt > 1 else ""
            said = json.loads(reported.payload)
            words = said if isinstance(said, str) else said["message"]
            return (
                f"report {reported.task_id}{attempt} {'ok' if reported.ok else 'failed'}: {words}"
            )
        case r.AbortTask(workload, task_id, reason):
            return f"abort {task_id} of {workload}: {reason}"
        case r.CloseClient(workload):
            return f"close client {workload}"
