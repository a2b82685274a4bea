"""Tasks: whatever happens in whatever order, one result counts."""

from __future__ import annotations

import string

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from p2pdo.errors import LocalProtocolError
from p2pdo.protocol.tasks import (
    TRANSITIONS,
    Task,
    TaskBook,
    TaskMove,
    TaskState,
    Verdict,
    task_id_of,
    workload_id_of,
)
from p2pdo.types import NodeId, TaskId, WorkloadId

W, N = WorkloadId("w"), NodeId("a")
UNLIMITED = 10**9


def make(number: int = 0, node: NodeId = N, workload: WorkloadId = W, payload: str = "") -> Task:
    task_id = TaskId(f"{workload}-{node}-{number}")
    return Task(task_id, workload, node, number, "e", "t", payload)


def everything(_workload: WorkloadId, _first: int) -> int:
    return UNLIMITED


def test_a_request_always_makes_the_same_workload_id() -> None:
    assert workload_id_of("r") == workload_id_of("r") != workload_id_of("s")
    assert len(workload_id_of("r")) == 8
    assert set(workload_id_of("r")) <= set(string.ascii_lowercase + "234567")
    assert task_id_of(W, 2, 5) == "w-2-5"


def test_what_is_no_longer_open_keeps_nothing_of_what_was_asked() -> None:
    book = TaskBook([make(i, payload="x" * 100) for i in range(3)])
    book.pull(N, everything)
    book.report(N, make(0).task_id, attempt=1, ok=True, payload="1")
    book.expire(N)
    assert [book[make(i).task_id].payload for i in range(3)] == ["", "x" * 100, "x" * 100]
    book.cancel(W)
    assert [book[make(i).task_id].payload for i in range(3)] == ["", "", ""]


def test_the_first_result_of_the_lease_is_recorded_and_later_ones_are_told_apart() -> None:
    task = make()
    task.lease()
    assert task.report(attempt=1, ok=True, payload="1") is Verdict.RECORDED
    assert task.report(attempt=1, ok=True, payload="1") is Verdict.ALREADY_RECORDED
    assert task.report(attempt=1, ok=True, payload="2") is Verdict.CONFLICT
    assert task.report(attempt=1, ok=False, payload="1") is Verdict.CONFLICT
    assert (task.state, task.result) == (TaskState.SUCCEEDED, "1")


def test_a_result_of_an_expired_lease_has_no_effect() -> None:
    task = make()
    task.lease()
    task.expire()
    assert task.attempt == 2
    assert task.report(attempt=1, ok=True, payload="1") is Verdict.STALE_ATTEMPT
    assert task.report(attempt=2, ok=True, payload="1") is Verdict.CONFLICT  # not leased yet
    task.lease()
    assert task.report(attempt=2, ok=False, payload="x") is Verdict.RECORDED
    assert task.state is TaskState.FAILED


def test_a_result_of_a_cancelled_task_has_no_effect() -> None:
    task = make()
    task.lease()
    task.cancel()
    assert task.report(attempt=1, ok=True, payload="1") is Verdict.STALE_ATTEMPT
    assert task.result == ""


@pytest.mark.parametrize("state", list(TaskState))
@pytest.mark.parametrize("move", list(TaskMove))
def test_a_move_that_is_not_in_the_table_is_a_bug(state: TaskState, move: TaskMove) -> None:
    task = make()
    task.state = state
    if move in TRANSITIONS[state]:
        task._move(move)
        assert task.state is TRANSITIONS[state][move]
    else:
        with pytest.raises(LocalProtocolError):
            task._move(move)


def test_tasks_are_pulled_in_order_below_the_credit() -> None:
    book = TaskBook([make(2), make(0), make(1)])
    assert [t.number for t in book.pull(N, lambda _w, first: first + 2)] == [0, 1]
    assert [t.number for t in book.pull(N, lambda _w, _first: 2)] == []
    assert [t.number for t in book.pull(N, lambda _w, _first: 3)] == [2]


def test_one_pull_is_bounded_in_bytes() -> None:
    book = TaskBook([make(i, payload="x" * 100) for i in range(5)])
    assert [len(book.pull(N, everything, max_bytes=150)) for _ in range(3)] == [2, 2, 1]


def test_expired_tasks_come_before_the_pending_ones_in_order() -> None:
    book = TaskBook([make(i) for i in range(4)])
    book.pull(N, lambda _w, _first: 3)
    assert [t.number for t in book.leased(N)] == [0, 1, 2]
    book.report(N, make(1).task_id, attempt=1, ok=True, payload="")
    book.expire(N)
    assert [(t.number, t.attempt) for t in book.pull(N, everything)] == [(0, 2), (2, 2), (3, 1)]


def test_a_task_is_unknown_to_anybody_but_its_node() -> None:
    book = TaskBook([make()])
    book.pull(N, everything)
    verdict = book.report(NodeId("b"), make().task_id, attempt=1, ok=True, payload="")
    assert verdict is Verdict.UNKNOWN_TASK
    assert make().task_id in book
    with pytest.raises(LocalProtocolError):
        book.add(make())


def test_cancelling_one_workload_leaves_the_others() -> None:
    other = WorkloadId("v")
    book = TaskBook([make(0), make(1), make(0, workload=other)])
    book.pull(N, lambda _w, _first: 1)
    assert len(book.cancel(W)) == 2
    assert not book.has_open(W)
    assert book.has_open(other)
    assert [t.workload for t in book.leased(N)] == [other]
    assert book.pull(N, everything) == []
    assert book.cancel(W) == []


def test_an_aborted_task_has_its_result_and_is_still_offered_until_its_node_gives_it_up() -> None:
    book = TaskBook([make(0), make(1)])
    book.pull(N, lambda _w, _first: 1)
    assert book.abort(make(0).task_id, "late")  # leased
    assert book.abort(make(1).task_id, "late")  # never sent
    assert not book.abort(make(0).task_id, "again")
    offered = book.pull(N, everything)
    assert [(task.number, task.is_aborted) for task in offered] == [(1, True)]
    for number in (0, 1):
        task = book[make(number).task_id]
        assert (task.result, task.recorded) == ("late", number + 1)
        verdict = book.report(N, task.task_id, attempt=1, ok=True, payload="too late")
        assert verdict is Verdict.CONFLICT
        assert (task.state, task.result) == (TaskState.FAILED, "late")
    assert not book.has_open(W)
    assert book.leased(N) == []


def test_an_aborted_task_of_a_lost_node_is_offered_to_it_again_with_the_mark() -> None:
    book = TaskBook([make()])
    book.pull(N, everything)
    book.abort(make().task_id, "late")
    book.expire(N)
    (task,) = book.pull(N, everything)
    assert task.is_aborted
    assert task.attempt == 2
    book.cancel(W)
    assert (task.state, task.result) == (TaskState.CANCELLED, "late")
    with pytest.raises(LocalProtocolError):
        task.abort("again")


class TaskLife(RuleBasedStateMachine):
    """Pull, report, expire, cancel and restart in any order, against a plain record."""

    reports = Bundle("reports")

    @initialize()
    def begin(self) -> None:
        self.book = TaskBook()
        self.accepted: dict[TaskId, tuple[bool, str]] = {}
        self.count: dict[tuple[WorkloadId, NodeId], int] = {}
        self.tasks: list[Task] = []

    @rule(node=st.sampled_from("ab"), workload=st.sampled_from("vw"))
    def add(self, node: str, workload: str) -> None:
        key = (WorkloadId(workload), NodeId(node))
        number = self.count.get(key, 0)
        self.count[key] = number + 1
        task = make(number, key[1], key[0])
        self.tasks.append(task)
        self.book.add(task)

    @rule(place=st.integers(0, 20))
    def abort(self, place: int) -> None:
        if place >= len(self.tasks):
            return
        task = self.book[self.tasks[place].task_id]
        may = task.is_open and task.task_id not in self.accepted
        assert self.book.abort(task.task_id, "late") == may
        if may:
            self.accepted[task.task_id] = (False, "late")

    @rule(target=reports, node=st.sampled_from("ab"), credit=st.integers(0, 6))
    def pull(self, node: str, credit: int) -> object:
        taken = self.book.pull(NodeId(node), lambda _w, _first: credit)
        assert all(task.number < credit for task in taken)
        for one in {task.workload for task in taken}:
            numbers = [task.number for task in taken if task.workload == one]
            assert numbers == sorted(numbers)
        return multiple(*((task.node, task.task_id, task.attempt) for task in taken))

    @rule(report=reports, ok=st.booleans(), payload=st.sampled_from(["1", "2"]))
    def report(self, report: tuple[NodeId, TaskId, int], ok: bool, payload: str) -> None:
        node, task_id, attempt = report
        task = self.book[task_id]
        was = (task.state, task.attempt)
        verdict = self.book.report(node, task_id, attempt=attempt, ok=ok, payload=payload)
        if verdict is Verdict.RECORDED:
            assert task_id not in self.accepted
            assert was == (TaskState.LEASED, attempt)
            self.accepted[task_id] = (ok, payload)
        elif verdict is Verdict.ALREADY_RECORDED:
            assert self.accepted[task_id] == (ok, payload)
        elif verdict is Verdict.STALE_ATTEMPT:
            assert attempt < task.attempt or task.state is TaskState.CANCELLED
        else:
            assert self.accepted[task_id] != (ok, payload)

    @rule(node=st.sampled_from("ab"))
    def expire(self, node: str) -> None:
        self.book.expire(NodeId(node))
        assert self.book.leased(NodeId(node)) == []

    @rule(workload=st.sampled_from("vw"))
    def cancel(self, workload: str) -> None:
        self.book.cancel(WorkloadId(workload))

    @rule()
    def restart(self) -> None:
        self.book = TaskBook(self.tasks)

    @invariant()
    def the_accepted_result_stands(self) -> None:
        for task in self.tasks:
            answered = task.state in {TaskState.SUCCEEDED, TaskState.FAILED} or bool(task.recorded)
            assert answered == (task.task_id in self.accepted)
            if answered:
                ok, payload = self.accepted[task.task_id]
                assert (task.state is TaskState.SUCCEEDED) == ok
                assert task.result == payload

    @invariant()
    def results_have_one_order(self) -> None:
        places = [task.recorded for task in self.tasks if task.recorded]
        assert sorted(places) == list(range(1, len(places) + 1))

    @invariant()
    def what_is_open_is_known(self) -> None:
        for workload in map(WorkloadId, "vw"):
            is_open = any(task.is_open for task in self.tasks if task.workload == workload)
            assert self.book.has_open(workload) == is_open


TaskLife.TestCase.settings = settings(max_examples=100, deadline=None)
test_one_result_counts_in_any_order_of_events = TaskLife.TestCase


def test_a_payload_is_kept_for_as_long_as_it_may_be_sent() -> None:
    book = TaskBook([make(i, payload="model") for i in range(4)])
    book.pull(N, everything)
    book.expire(N)
    book.pull(N, everything)
    assert {make(i).task_id: book[make(i).task_id].payload for i in range(4)} == {
        make(i).task_id: "model" for i in range(4)
    }
    book.report(N, make(0).task_id, attempt=2, ok=True, payload="1")
    book.report(N, make(1).task_id, attempt=2, ok=False, payload="1")
    book.abort(make(2).task_id, "too late")
    book.cancel(W)
    assert [book[make(i).task_id].payload for i in range(4)] == [""] * 4
