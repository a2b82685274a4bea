"""What the machine of `routing` is told, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from p2pdo.protocol.handed import Result, Task
from p2pdo.types import Plain, TaskId, WorkloadId

# ---- events ----


@dataclass(frozen=True, slots=True)
class TasksArrived:
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class ClientTook:
    """The client took the next task out of its inbox: a slot is free."""

    workload: WorkloadId


@dataclass(frozen=True, slots=True)
class Finished:
    result: Result


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The coordinator has these results, or does not want them any more."""

    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class ClientRestarted:
    """The client failed and is there anew, with an empty inbox."""

    workload: WorkloadId


@dataclass(frozen=True, slots=True)
class ClientFailed:
    """The client is given up; whatever it had and will get is answered with `error`."""

    workload: WorkloadId
    error: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class EndArrived:
    workload: WorkloadId
    reason: str


@dataclass(frozen=True, slots=True)
class MemberAsked:
    """A member of the workload asks something; this node is one too, with that executor."""

    workload: WorkloadId
    executor: str


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A new stream to the coordinator: it has to be told every credit."""


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """No new work: no more credit is granted."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Everything that is open is answered with `error`, now."""

    error: Mapping[str, Plain]


Event: TypeAlias = (
    TasksArrived
    | ClientTook
    | Finished
    | Acknowledged
    | ClientRestarted
    | ClientFailed
    | EndArrived
    | MemberAsked
    | StreamOpened
    | DrainAsked
    | StopAsked
)


# ---- effects ----


@dataclass(frozen=True, slots=True)
class CreateClient:
    workload: WorkloadId
    executor: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Put the tasks into the client's inbox, in order. There is room for all of them."""

    workload: WorkloadId
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class GrantCredit:
    """How many tasks of each workload the coordinator may send in all."""

    credits: Mapping[WorkloadId, int]


@dataclass(frozen=True, slots=True)
class Report:
    result: Result


@dataclass(frozen=True, slots=True)
class AbortTask:
    """The client has this task, in hand or in its inbox, and is to give it up."""

    workload: WorkloadId
    task_id: TaskId
    reason: str


@dataclass(frozen=True, slots=True)
class CloseClient:
    """End the client, also in the middle of a task."""

    workload: WorkloadId


Effect: TypeAlias = CreateClient | Deliver | GrantCredit | Report | AbortTask | CloseClient
