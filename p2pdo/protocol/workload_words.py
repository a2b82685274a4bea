"""What the machines of `workload` are told, what they have done, and the statuses between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from p2pdo.errors import P2pdoError
from p2pdo.types import NodeId, Plain


class Status(StrEnum):
    CONFIGURING = "configuring"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class Move(StrEnum):
    CONFIGURE = "configure"  # every node is configured
    FINISH = "finish"
    FAIL = "fail"
    STOP = "stop"


TRANSITIONS: Mapping[Status, Mapping[Move, Status]] = {
    Status.CONFIGURING: {
        Move.CONFIGURE: Status.RUNNING,
        Move.FAIL: Status.FAILED,
        Move.STOP: Status.STOPPED,
    },
    Status.RUNNING: {
        Move.FINISH: Status.DONE,
        Move.FAIL: Status.FAILED,
        Move.STOP: Status.STOPPED,
    },
    Status.DONE: {},
    Status.FAILED: {},
    Status.STOPPED: {},
}

TERMINAL = frozenset(status for status, moves in TRANSITIONS.items() if not moves)

# ---- events ----


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The first accepted result of a task."""

    node: NodeId
    name: str
    result: Plain


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The same with an error, as `P2pdoError.to_plain` describes it."""

    node: NodeId
    name: str
    error: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class TaskAborted:
    """A task was given up: that is its result."""

    node: NodeId
    name: str


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A member was lost, left or was restarted; `iteration` is the last that it told."""

    node: NodeId
    what: str
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    reason: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """No more tasks will come."""


@dataclass(frozen=True, slots=True)
class Breached:
    """The monitor found that what an algorithm keeps was not kept."""

    error: P2pdoError


@dataclass(frozen=True, slots=True)
class ControllerFinished:
    """The controller of a workload of tasks is done; `result` is JSON."""

    result: str


@dataclass(frozen=True, slots=True)
class ControllerFailed:
    """It is not, and will not be."""

    error: Mapping[str, Plain]


Event: TypeAlias = (
    TaskSucceeded
    | TaskFailed
    | TaskAborted
    | NodeGone
    | StopAsked
    | CloseAsked
    | Breached
    | ControllerFinished
    | ControllerFailed
)


# ---- effects ----


@dataclass(frozen=True, slots=True)
class CreateTask:
    node: NodeId
    name: str
    payload: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Cancel whatever is open."""


@dataclass(frozen=True, slots=True)
class EndWorkload:
    """Tell this member that the workload is over."""

    node: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class StatusChanged:
    status: Status


Effect: TypeAlias = CreateTask | CancelTasks | EndWorkload | StatusChanged
