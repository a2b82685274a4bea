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

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from typing import assert_never

from p2pdo.errors import UnknownExecutor, did_you_mean
from p2pdo.protocol.handed import Result, Task
from p2pdo.protocol.routing_books import Books
from p2pdo.protocol.routing_words import (
    AbortTask,
    Acknowledged,
    ClientFailed,
    ClientRestarted,
    ClientTook,
    CloseClient,
    CreateClient,
    Deliver,
    DrainAsked,
    Effect,
    EndArrived,
    Event,
    Finished,
    GrantCredit,
    MemberAsked,
    Report,
    StopAsked,
    StreamOpened,
    TasksArrived,
)
from p2pdo.types import Plain, WorkloadId

UNREPORTED = 1024
_ENDED_REMEMBERED = 4096


class Routing:
    """Routes for a node that has these executors, into inboxes of this capacity."""

    def __init__(self, node: str, executors: Collection[str], *, capacity: int = 32) -> None:
        self._node = node
        self._executors = executors
        self._capacity = capacity
        self._step = max(1, capacity // 2)  # the least by which credit is raised
        self._workloads: dict[WorkloadId, Books] = {}
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
        delivered: dict[WorkloadId, list[Task]] = {}
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
                self._accept(state, task, effects, delivered)
        effects.extend(starmap(Deliver, delivered.items()))
        return effects

    def _offer_again(self, state: Books, task: Task, effects: list[Effect]) -> None:
        """Takes the newest attempt of a task that is here, and whether it was aborted since."""
        known = state.open[task.task_id]
        if task.aborted and not known.aborted:
            effects.append(AbortTask(task.workload_id, task.task_id, task.aborted))
        state.open[task.task_id] = _newer(known, task)

    def _begin(self, workload: WorkloadId, executor: str) -> Books:
        state = Books(executor if executor in self._executors else None)
        self._workloads[workload] = state
        return state

    def _ask(self, workload: WorkloadId, executor: str) -> list[Effect]:
        is_over = workload in self._ended or self._is_draining
        if is_over or workload in self._workloads or executor not in self._executors:
            return []
        self._begin(workload, executor)
        return [CreateClient(workload, executor)]

    def _accept(
        self,
        state: Books,
        task: Task,
        effects: list[Effect],
        delivered: dict[WorkloadId, list[Task]],
    ) -> None:
        if state.failed is not None or task.executor != state.executor:
            error = state.failed or self._unknown_executor(task, state.executor)
            state.taken += 1
            effects.append(Report(state.answer(task, error)))
            effects += self._grant(task.workload_id, state)
            return
        state.open[task.task_id] = task
        if state.waiting or state.in_inbox >= self._capacity:
            state.waiting.append(task)
            return
        state.in_inbox += 1
        if task.workload_id in delivered:
            delivered[task.workload_id].append(task)
        else:
            delivered[task.workload_id] = [task]

    def _deliver(self, workload: WorkloadId, state: Books) -> list[Effect]:
        room = min(self._capacity - state.in_inbox, len(state.waiting))
        if room <= 0:
            return []
        state.in_inbox += room
        return [Deliver(workload, [state.waiting.popleft() for _ in range(room)])]

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

    def _grant(self, workload: WorkloadId, state: Books) -> list[Effect]:
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
        touched: dict[WorkloadId, Books] = {}
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
        answers: list[Effect] = [Report(state.answer(task, error)) for task in tasks]
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


def _newer(known: Task, offered: Task) -> Task:
    if offered.attempt <= known.attempt and not offered.aborted:
        return known
    attempt = max(known.attempt, offered.attempt)
    return replace(known, attempt=attempt, aborted=known.aborted or offered.aborted)
