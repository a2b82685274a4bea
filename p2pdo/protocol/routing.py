"""The Lead Client's routing: tasks in, one strict order per workload, results out.

Theory of operation. A node has one Lead Client and, per workload, one client with a bounded
inbox. This machine decides everything that the Lead Client does; it never waits and knows no
actor, clock or wire.

    arrived ──▶ waiting ──Deliver──▶ in the inbox ──ClientTook──▶ in hand ──Finished──▶ answered
                                                                                          │
                          forgotten, but for its number ◀──────Acknowledged───────────────┘

- *Order*: a workload's tasks are delivered in the order of their arrival, which is that of their
  numbers; another workload never delays them.
- *Credit* is absolute: the coordinator may send a workload's task number n while n < credit ≤
  first number + tasks taken + inbox capacity. So whatever was sent finds a free slot, and
  `Deliver` needs no waiting. It is raised when half an inbox has become free, not for each task.
  Tasks beyond it (a coordinator that broke the rule, or a client that was restarted) wait in
  `waiting`.
- *At least once in, once through*: a task that is known is not delivered again. If it is answered
  already, its result is reported again, under the newest attempt that was offered.
- *Bounded memory*: a workload's unacknowledged results stop its credit at `UNREPORTED`; an
  acknowledged result leaves only its number, and adjacent numbers are one run; a workload that has
  ended leaves only its id, and the oldest of those are forgotten.
- A member may ask about a workload before any task of it has come; then its client begins
  without one, and its credit at its first task.
- *Abort*: a task that was aborted is offered again with the reason. Where it is open, its client
  is told; where it is new, it goes the way of every task, so that numbers and credit stay whole,
  and the client answers it unread.
- A task of a workload that has ended is dropped. A task of a client that was given up is answered
  with the reason.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, assert_never

from p2pdo.errors import P2pdoError, UnknownExecutor, did_you_mean
from p2pdo.types import Plain, TaskId, WorkloadId

UNREPORTED = 1024
_ENDED_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Task:
    """What a handler is given.

    Attributes:
        number: its place among this node's tasks of the workload, from 0.
        attempt: which offer of it this is, from 1.
        aborted: why it is not to be done any more; empty while it is.
    """

    task_id: TaskId
    workload_id: WorkloadId
    executor: str
    name: str
    number: int
    attempt: int
    payload: Any
    aborted: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task: `payload` is JSON text, what the handler returned or the error."""

    task_id: TaskId
    workload_id: WorkloadId
    attempt: int
    ok: bool
    payload: str


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
    """Put the task into the client's inbox. There is room."""

    workload: WorkloadId
    task: Task


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


# ---- the machine ----


class Routing:
    """Routes for a node that has these executors, into inboxes of this capacity."""

    def __init__(self, node: str, executors: Collection[str], *, capacity: int = 32) -> None:
        self._node = node
        self._executors = executors
        self._capacity = capacity
        self._step = max(1, capacity // 2)  # the least by which credit is raised
        self._workloads: dict[WorkloadId, _Workload] = {}
        self._ended: dict[WorkloadId, None] = {}  # in the order in which they ended
        self._is_draining = False

    @property
    def default_credit(self) -> int:
        """What a workload that this node does not know yet may be sent."""
        return 0 if self._is_draining else self._capacity

    @property
    def credits(self) -> Mapping[WorkloadId, int]:
        return {
            workload: state.credit
            for workload, state in self._workloads.items()
            if state.base is not None
        }

    @property
    def workloads(self) -> Collection[WorkloadId]:
        """What has begun here and not ended."""
        return self._workloads.keys()

    def open_tasks(self, workload: WorkloadId) -> int:
        """How many of its tasks are here and not answered."""
        state = self._workloads.get(workload)
        return len(state.open) if state else 0

    def receive(self, event: Event) -> list[Effect]:  # noqa: C901, PLR0911 - an arm per event
        match event:
            case ClientTook(workload):
                return self.take(workload)
            case Finished(result):
                finished = self.finish(result)
                return [] if finished is None else [Report(finished)]
            case TasksArrived(tasks):
                return self._arrive(tasks)
            case Acknowledged(results):
                return self._acknowledge(results)
            case ClientRestarted(workload):
                return self._restart(workload)
            case ClientFailed(workload, error):
                return self._fail(workload, error)
            case EndArrived(workload, _):
                return self._end(workload)
            case MemberAsked(workload, executor):
                return self._ask(workload, executor)
            case StreamOpened():
                return self._tell_credits()
            case DrainAsked():
                self._is_draining = True
                return self._tell_credits()
            case StopAsked(error):
                return self._stop(error)
            case _:
                assert_never(event)

    def _tell_credits(self) -> list[Effect]:
        """What has begun goes on: also where this node takes nothing new by default any more."""
        told = self.credits
        return [GrantCredit(told)] if told else []

    def _arrive(self, tasks: Sequence[Task]) -> list[Effect]:
        effects: list[Effect] = []
        for task in tasks:
            state = self._workloads.get(task.workload_id)
            if state is None:
                if task.workload_id in self._ended:
                    continue
                state = self._begin(task.workload_id, task.executor)
                if state.executor is not None:
                    effects.append(CreateClient(task.workload_id, state.executor))
            if state.base is None:
                state.base, state.credit = task.number, task.number + self._capacity
                if self._is_draining:  # it was on its way
                    effects.append(GrantCredit({task.workload_id: state.credit}))
            if task.task_id in state.open:
                self._offer_again(state, task, effects)
            elif task.task_id in state.answered:
                effects.append(Report(state.offer_again(task)))
            elif task.number not in state.acknowledged:
                self._accept(state, task, effects)
        return effects

    def _offer_again(self, state: _Workload, task: Task, effects: list[Effect]) -> None:
        """Takes the newest attempt of a task that is here, and whether it was aborted since."""
        known = state.open[task.task_id]
        if task.aborted and not known.aborted:
            effects.append(AbortTask(task.workload_id, task.task_id, task.aborted))
        state.open[task.task_id] = _newer(known, task)

    def _begin(self, workload: WorkloadId, executor: str) -> _Workload:
        state = _Workload(executor if executor in self._executors else None)
        self._workloads[workload] = state
        return state

    def _ask(self, workload: WorkloadId, executor: str) -> list[Effect]:
        is_over = workload in self._ended or self._is_draining
        if is_over or workload in self._workloads or executor not in self._executors:
            return []
        self._begin(workload, executor)
        return [CreateClient(workload, executor)]

    def _accept(self, state: _Workload, task: Task, effects: list[Effect]) -> None:
        if state.failed is not None or task.executor != state.executor:
            error = state.failed or self._unknown_executor(task, state.executor)
            state.taken += 1
            effects.append(_answer(state, task, error))
            effects += self._grant(task.workload_id, state)
            return
        state.open[task.task_id] = task
        if state.waiting or state.in_inbox >= self._capacity:
            state.waiting.append(task)
            return
        state.in_inbox += 1
        effects.append(Deliver(task.workload_id, task))

    def _deliver(self, workload: WorkloadId, state: _Workload) -> list[Effect]:
        effects: list[Effect] = []
        while state.waiting and state.in_inbox < self._capacity:
            state.in_inbox += 1
            effects.append(Deliver(workload, state.waiting.popleft()))
        return effects

    def take(self, workload: WorkloadId) -> list[Effect]:
        """What `ClientTook` means: once per task, so it may be called without an event."""
        state = self._workloads.get(workload)
        if state is None or state.in_inbox == 0:  # the last words of a client that was closed
            return []
        state.in_inbox -= 1
        if state.taken_before_restart:
            state.taken_before_restart -= 1
        else:
            state.taken += 1
        granted = self._grant(workload, state)
        return self._deliver(workload, state) + granted if state.waiting else granted

    def _grant(self, workload: WorkloadId, state: _Workload) -> list[Effect]:
        """Raises the credit as far as what was taken, and not reported yet, allows."""
        if state.base is None:  # the first task brings the number that it counts from
            return []
        credit = state.base + self._capacity + state.taken
        if credit - state.credit < self._step or self._is_draining:
            return []
        credit = min(credit, state.base + self._capacity + state.acknowledged.count + UNREPORTED)
        if credit - state.credit < self._step:
            return []
        state.credit = credit
        return [GrantCredit({workload: credit})]

    def finish(self, result: Result) -> Result | None:
        """What `Finished` means, and what is to be reported; also called once per task."""
        state = self._workloads.get(result.workload_id)
        task = state.open.pop(result.task_id, None) if state else None
        if state is None or task is None:
            return None
        if task.attempt != result.attempt:
            result = replace(result, attempt=task.attempt)
        state.answered[result.task_id] = (result, task.number)
        return result

    def _acknowledge(self, results: Sequence[Result]) -> list[Effect]:
        touched: dict[WorkloadId, _Workload] = {}
        for result in results:
            state = self._workloads.get(result.workload_id)
            known = state.answered.get(result.task_id) if state else None
            if state is None or known is None or known[0].attempt > result.attempt:
                continue  # it was offered again meanwhile: the newer report is under way
            del state.answered[result.task_id]
            state.acknowledged.add(known[1])
            touched[result.workload_id] = state
        return [e for workload, state in touched.items() for e in self._grant(workload, state)]

    def _restart(self, workload: WorkloadId) -> list[Effect]:
        """Delivers again, in order, whatever the old client had not finished."""
        state = self._workloads.get(workload)
        if state is None:
            return []
        untaken = state.in_inbox + len(state.waiting) - state.taken_before_restart
        state.taken_before_restart = len(state.open) - untaken
        state.in_inbox = 0
        state.waiting = deque(state.open.values())
        return self._deliver(workload, state)

    def _fail(self, workload: WorkloadId, error: Mapping[str, Plain]) -> list[Effect]:
        state = self._workloads.get(workload)
        if state is None or state.failed is not None:
            return []
        untaken = state.in_inbox + len(state.waiting) - state.taken_before_restart
        state.taken += untaken
        state.in_inbox = state.taken_before_restart = 0
        state.failed = error
        state.waiting.clear()
        tasks = list(state.open.values())
        state.open.clear()
        answers: list[Effect] = [_answer(state, task, error) for task in tasks]
        return [*answers, *self._grant(workload, state)]

    def _end(self, workload: WorkloadId) -> list[Effect]:
        state = self._workloads.pop(workload, None)
        self._ended[workload] = None
        if len(self._ended) > _ENDED_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        return [CloseClient(workload)] if state is not None and state.has_client else []

    def _stop(self, error: Mapping[str, Plain]) -> list[Effect]:
        effects: list[Effect] = []
        for workload, state in self._workloads.items():
            if state.has_client:
                effects.append(CloseClient(workload))
            effects += self._fail(workload, error)
        return effects

    def _unknown_executor(self, task: Task, executor: str | None) -> Mapping[str, Plain]:
        if executor is not None:
            message = f"workload {task.workload_id} runs on '{executor}', not '{task.executor}'"
            hint = "a workload has one executor: submit another workload"
        else:
            message = f"node {self._node} has no executor '{task.executor}'"
            hint = did_you_mean(task.executor, sorted(self._executors))
        return UnknownExecutor(
            message, hint=hint, node=self._node, workload=task.workload_id
        ).to_plain()


class Runs:
    """A set of numbers, kept as runs without gaps: the numbers 0 to 10⁶ are one entry."""

    def __init__(self) -> None:
        self.count = 0
        self._first = self._top = 0  # of the greatest run; one after the greatest
        self._end_of: dict[int, int] = {}  # a lower run's first number → the one after its last
        self._start_of: dict[int, int] = {}  # the same, the other way round

    def __contains__(self, number: int) -> bool:
        if number >= self._first:
            return number < self._top
        return any(start <= number < end for start, end in self._end_of.items())

    def __len__(self) -> int:
        """How many runs."""
        return len(self._end_of) + (self._first < self._top)

    def add(self, number: int) -> None:
        """Adds a number that is not there; most are the next one."""
        self.count += 1
        if number == self._top:
            self._top += 1
        elif number > self._top:
            self._keep(self._first, self._top)
            self._first, self._top = number, number + 1
        else:
            start = self._start_of.pop(number, number)
            if number + 1 == self._first:
                self._end_of.pop(start, None)
                self._first = start
            else:
                self._keep(start, self._end_of.pop(number + 1, number + 1))

    def _keep(self, start: int, end: int) -> None:
        if start < end:
            self._end_of[start] = end
            self._start_of[end] = start


@dataclass(slots=True)
class _Workload:
    """One workload's books.

    Attributes:
        executor: None where this node has no such executor.
        base: the number of the first task that came; None before that.
        credit: what was granted last. Invariant: it never falls.
        taken: how many different tasks have left the inbox.
        taken_before_restart: how many of those at the head of the inbox are counted in `taken`.
        in_inbox: delivered and not taken. Invariant: at most the capacity.
        open: accepted and not answered, in order of acceptance.
        waiting: the tail of `open` for which the inbox has no room.
        answered: results that the coordinator has not acknowledged, with their numbers.
        failed: why the client was given up.
    """

    executor: str | None
    base: int | None = None
    credit: int = 0
    taken: int = 0
    taken_before_restart: int = 0
    in_inbox: int = 0
    open: dict[TaskId, Task] = field(default_factory=dict)
    waiting: deque[Task] = field(default_factory=deque)
    answered: dict[TaskId, tuple[Result, int]] = field(default_factory=dict)
    acknowledged: Runs = field(default_factory=Runs)
    failed: Mapping[str, Plain] | None = None

    @property
    def has_client(self) -> bool:
        return self.executor is not None and self.failed is None

    def offer_again(self, task: Task) -> Result:
        """The remembered result, under the newest attempt."""
        result, number = self.answered[task.task_id]
        if task.attempt > result.attempt:
            result = replace(result, attempt=task.attempt)
            self.answered[task.task_id] = (result, number)
        return result


def failed(task: Task, error: P2pdoError | Mapping[str, Plain]) -> Result:
    """The task's result when it failed with this error."""
    plain = error.to_plain() if isinstance(error, P2pdoError) else error
    return Result(task.task_id, task.workload_id, task.attempt, ok=False, payload=json.dumps(plain))


def _answer(state: _Workload, task: Task, error: Mapping[str, Plain]) -> Report:
    result = failed(task, error)
    state.answered[task.task_id] = (result, task.number)
    return Report(result)


def _newer(known: Task, offered: Task) -> Task:
    if offered.attempt <= known.attempt and not offered.aborted:
        return known
    attempt = max(known.attempt, offered.attempt)
    return replace(known, attempt=attempt, aborted=known.aborted or offered.aborted)
