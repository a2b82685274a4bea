"""The life of a workload: events in, effects out.

An optimization:

    CONFIGURING  one `config` task per node: each answers with its problem's dimension, L and μ
        │        all answered: equal dimensions? L = max; the parameters are resolved
        ▼
    RUNNING      one `run_algorithm` task per node
        │        all answered
        ▼
    DONE

A workload of kind "tasks" is RUNNING while its submitter sends tasks one by one, and DONE once it
is closed and nothing is open; a task that fails is an answer like any other.

Whatever goes wrong in an optimization ends it, and the first cause is the one that is told: a
task's error with its node and iteration; a member that is lost, leaves or is restarted at any
time before the end, because a node that has finished still serves its slower neighbours. Then
open tasks are cancelled. `EndWorkload` goes to every member exactly once, when the whole workload
is terminal, and not to a node that has merely finished.

No clock, no disk, no names of files: whoever runs a machine records what it did. A machine that
was lost with its process is rebuilt by replaying the accepted results, see `restore`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.base import CostBounds
from p2pdo.errors import (
    LONGEST,
    ConfigError,
    LocalProtocolError,
    P2pdoError,
    WorkloadFailed,
    WorkloadStopped,
    from_plain,
    legible,
)
from p2pdo.protocol.assignment import resolved_parameters
from p2pdo.protocol.tasks_of_runs import CONFIG, RUN, RUN_PARTICIPANT
from p2pdo.protocol.workload_words import (
    TERMINAL,
    TRANSITIONS,
    Breached,
    CancelTasks,
    CloseAsked,
    ControllerFailed,
    ControllerFinished,
    CreateTask,
    Effect,
    EndWorkload,
    Event,
    Move,
    NodeGone,
    Status,
    StatusChanged,
    StopAsked,
    TaskAborted,
    TaskFailed,
    TaskSucceeded,
)
from p2pdo.types import NodeId, Plain, WorkloadId

_REASON_LIMIT = 1000  # characters: a node is told the ends of many workloads in one message


@dataclass(slots=True)
class _Machine:
    """What both kinds share: a status, its legal moves, and how an end is told."""

    workload: WorkloadId
    members: Sequence[NodeId]
    status: Status
    error: Mapping[str, Plain] | None = None  # Invariant: set exactly if FAILED or STOPPED
    resolved: dict[str, Plain] = field(default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def reason(self) -> str:
        """Why it ended, for the members."""
        if self.error is None:
            return str(self.status)
        message = legible(str(self.error.get("message")), _REASON_LIMIT)
        return f"failed: {message}" if self.status is Status.FAILED else message

    def _move(self, move: Move) -> list[Effect]:
        try:
            self.status = TRANSITIONS[self.status][move]
        except KeyError:
            raise LocalProtocolError(
                f"workload {self.workload}: {move} while {self.status}"
            ) from None
        changed: list[Effect] = [StatusChanged(self.status)]
        if not self.is_terminal:
            return changed
        ends = [EndWorkload(node, self.reason) for node in self.members]
        return [CancelTasks(), *changed, *ends]

    def _fail(self, error: P2pdoError) -> list[Effect]:
        error.workload = error.workload or self.workload
        self.error = error.to_plain()
        return self._move(Move.FAIL)

    def _stop(self, reason: str, hint: str | None) -> list[Effect]:
        because = f": {reason}" if reason else ""
        stopped = WorkloadStopped(f"stopped{because}", hint=hint, workload=self.workload)
        self.error = stopped.to_plain()
        return self._move(Move.STOP)


@dataclass(slots=True)
class Optimization(_Machine):
    """A run of one algorithm.

    Attributes:
        algorithm: its catalogue name.
        parameters: as submitted.
        is_foreign: it was named by `where`. This process does not import it, so its parameters
            pass as they are: its launcher has resolved them.
    """

    algorithm: str = ""
    parameters: Mapping[str, Plain] = field(default_factory=dict)
    is_foreign: bool = False
    status: Status = Status.CONFIGURING
    _configured: dict[NodeId, Mapping[str, Plain]] = field(default_factory=dict)
    _finished: set[NodeId] = field(default_factory=set)

    def open(self, payloads: Sequence[Mapping[str, Plain]]) -> list[Effect]:
        """Hands out the `config` tasks; one payload per member, in index order."""
        return [
            CreateTask(node, CONFIG, payload)
            for node, payload in zip(self.members, payloads, strict=True)
        ]

    def restore(self, results: Sequence[TaskSucceeded]) -> None:
        """Replays the accepted results; the tasks that they led to exist already."""
        for result in results:
            self.receive(result)

    def receive(self, event: Event) -> list[Effect]:  # noqa: PLR0911 - an arm per event
        if self.is_terminal:
            return []
        match event:
            case TaskSucceeded():
                return self._take_result(event)
            case TaskFailed(node, _, told):
                return self._fail_as_told(node, told)
            case NodeGone(node, what, iteration):
                hint = f"see that {node} is up (p2pdo nodes) and why in its log; submit again"
                return self._fail(WorkloadFailed(what, hint=hint, node=node, iteration=iteration))
            case StopAsked(reason, hint):
                return self._stop(reason, hint)
            case Breached(error):
                return self._fail(error)
            case CloseAsked() | TaskAborted() | ControllerFinished() | ControllerFailed():
                return []  # it closes itself, and its tasks are its own
            case _:
                assert_never(event)

    def _fail_as_told(self, node: NodeId, error: Mapping[str, Plain]) -> list[Effect]:
        """Fails with a node's own words, its traceback included."""
        told = from_plain(dict(error))
        told.node, told.workload = told.node or node, told.workload or self.workload
        traceback = error.get("traceback")
        kept = {} if traceback is None else {"traceback": legible(str(traceback), 4 * LONGEST)}
        self.error = {**told.to_plain(), **kept}
        return self._move(Move.FAIL)

    def _take_result(self, done: TaskSucceeded) -> list[Effect]:
        if done.name == CONFIG:
            return self._take_configured(done.node, done.result)
        return self._take_finished(done.node)

    def _take_configured(self, node: NodeId, result: Plain) -> list[Effect]:
        if node in self._configured:  # one answer counts
            return []
        if not isinstance(result, dict) or not self._is_answer(result):
            return self._fail(
                WorkloadFailed(
                    f"node {node} did not tell its problem's dimension",
                    hint=f"its problem needs an int as dimension; or {node} has another version",
                    node=node,
                )
            )
        self._configured[node] = result
        if len(self._configured) < len(self.members):
            return []
        try:
            self.resolved.update(self._resolve())
        except P2pdoError as error:
            return self._fail(error)
        run = {"parameters": self.resolved["parameters"]}
        return [
            *self._move(Move.CONFIGURE),
            *(CreateTask(member, self._run_task(), run) for member in self.members),
        ]

    def _run_task(self) -> str:
        return RUN

    def _is_answer(self, result: Mapping[str, Plain]) -> bool:
        return type(result.get("dimension")) is int

    def _resolve(self) -> dict[str, Plain]:
        dimension = self._common_dimension()
        smoothness = self._smoothness()
        if not self.is_foreign:
            cls = catalogue.find(self.algorithm)
            told = self.resolved.get("told_by_network")
            known = {**(told if isinstance(told, dict) else {}), **self.parameters}
            bounds = self._bounds(smoothness)
            parameters = resolved_parameters(cls, known, smoothness, self._share(), bounds)
        else:
            parameters = dict(self.parameters)
        resolved = {"dimension": dimension, "smoothness": smoothness, "parameters": parameters}
        return {**resolved, **self._monitored()}

    def _monitored(self) -> dict[str, Plain]:
        """What the monitor looks at, as every node has told it.

        Raises:
            ConfigError: they do not agree.
        """
        told = [result.get("invariants") for result in self._configured.values()]
        if told[0] is None:
            return {}
        if any(names != told[0] for names in told):
            raise ConfigError(
                f"the nodes do not agree on what {self.algorithm} keeps",
                hint="run one version of p2pdo and of the algorithm everywhere",
            )
        return {"invariants": told[0]}

    def _common_dimension(self) -> int:
        """The dimension of everybody's problem.

        Raises:
            ConfigError: they differ; names one node of each.
        """
        witness: dict[Plain, NodeId] = {}
        for node in self.members:
            witness.setdefault(self._configured[node]["dimension"], node)
        if len(witness) > 1:
            told = ", ".join(f"{d} at {node}" for d, node in witness.items())
            raise ConfigError(
                f"the nodes' problems differ in dimension: {told}",
                hint="give every node data with the same columns",
            )
        (dimension,) = witness
        assert isinstance(dimension, int)
        return dimension

    def _share(self) -> float:
        """What a method takes of 1/L: all, or where every cost is quadratic its safe share."""
        are_quadratic = all(result.get("is_quadratic") for result in self._configured.values())
        share = self.resolved.get("safe_share", 1.0) if are_quadratic else 1.0
        return float(share) if isinstance(share, int | float) else 1.0

    def _smoothness(self) -> float | None:
        """L = maxᵢ Lᵢ; None where a node does not tell a usable one."""
        known = self._told("smoothness")
        return max(known) if known and min(known) > 0 else None

    def _bounds(self, smoothness: float | None) -> CostBounds | None:
        """What all costs tell; None where a node does not tell something usable."""
        known = self._told("strong_convexity")
        if smoothness is None or not known or min(known) < 0:
            return None
        least, mean = min(self._told("smoothness")), sum(known) / len(known)
        return CostBounds(smoothness, least, min(known), mean, *self._degrees())

    def _degrees(self) -> tuple[float, float]:
        """The mean number of neighbours, and the largest."""
        match self.resolved.get("degrees"):
            case [int() | float() as mean, int() | float() as largest]:
                return mean, largest
            case _:  # a workload that was accepted before these were told
                return 1.0, 1.0

    def _told(self, name: str) -> list[float]:
        """Every node's constant of that name; nothing where one is missing or not finite."""
        told = [_number(result.get(name)) for result in self._configured.values()]
        return [] if any(math.isnan(one) for one in told) else told

    def _take_finished(self, node: NodeId) -> list[Effect]:
        self._finished.add(node)
        return self._move(Move.FINISH) if len(self._finished) == len(self.members) else []


def _number(told: Plain) -> float:
    """A constant that a node told; NaN for what is none that can be used."""
    try:
        number = float(told) if isinstance(told, int | float) else math.nan
    except OverflowError:  # an integer of four hundred digits
        return math.nan
    return number if math.isfinite(number) else math.nan


@dataclass(slots=True)
class Participation(Optimization):
    """A run of a participant: the same life, without a problem whose dimension must be known."""

    def _run_task(self) -> str:
        return RUN_PARTICIPANT

    def _is_answer(self, result: Mapping[str, Plain]) -> bool:  # noqa: ARG002 - any will do
        return True

    def _resolve(self) -> dict[str, Plain]:
        return {"parameters": dict(self.parameters)}


@dataclass(slots=True)
class TaskQueue(_Machine):
    """Tasks that a submitter sends one by one.

    Attributes:
        open_tasks: how many have no accepted result yet.
    """

    status: Status = Status.RUNNING
    open_tasks: int = 0
    is_closed: bool = False

    def add(self, count: int) -> None:
        """Counts tasks that were just created.

        Raises:
            LocalProtocolError: it is closed or over.
        """
        if self.is_closed or self.is_terminal:
            raise LocalProtocolError(f"workload {self.workload} takes no more tasks")
        self.open_tasks += count

    def receive(self, event: Event) -> list[Effect]:  # noqa: PLR0911 - an arm per event
        if self.is_terminal:
            return []
        match event:
            case TaskSucceeded() | TaskFailed() | TaskAborted():
                self.open_tasks -= 1
                return self._finish_if_done()
            case CloseAsked():
                self.is_closed = True
                return self._finish_if_done()
            case StopAsked(reason, hint):
                return self._stop(reason, hint)
            case NodeGone() | Breached():
                return []  # its tasks wait for it; and it has no monitor
            case ControllerFinished(result):
                self.resolved["result"] = result
                return self._move(Move.FINISH)
            case ControllerFailed(error):
                return self._fail(from_plain(dict(error)))
            case _:
                assert_never(event)

    def _finish_if_done(self) -> list[Effect]:
        return self._move(Move.FINISH) if self.is_closed and self.open_tasks == 0 else []


Machine: TypeAlias = Optimization | TaskQueue
