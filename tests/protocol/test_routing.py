from __future__ import annotations

import json
from collections import defaultdict, deque
from dataclasses import replace

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2pdo.protocol.handed import Result, Task
from p2pdo.protocol.routing import UNREPORTED, Routing
from p2pdo.protocol.routing_books import Runs
from p2pdo.protocol.routing_words import (
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
from p2pdo.types import TaskId, WorkloadId

A, B = WorkloadId("a"), WorkloadId("b")


def task(workload: WorkloadId, number: int, *, attempt: int = 1, executor: str = "echo") -> Task:
    task_id = TaskId(f"{workload}-{number}")
    return Task(task_id, workload, executor, "say", number, attempt, payload=number)


def done(of: Task) -> Result:
    return Result(of.task_id, of.workload_id, of.attempt, ok=True, payload=str(of.number))


def routing(capacity: int = 2) -> Routing:
    return Routing("n1", ["echo", "sleep"], capacity=capacity)


def play(machine: Routing, *events: Event) -> list[Effect]:
    return [effect for event in events for effect in machine.receive(event)]


def reports(effects: list[Effect]) -> list[Result]:
    return [effect.result for effect in effects if isinstance(effect, Report)]


def deliveries(effects: list[Effect]) -> list[int]:
    return [each.number for e in effects if isinstance(e, Deliver) for each in e.tasks]


def test_the_first_task_of_a_workload_creates_its_client() -> None:
    machine = routing()
    first, second = task(A, 0), task(A, 1)
    assert play(machine, TasksArrived([first, second])) == [
        CreateClient(A, "echo"),
        Deliver(A, [first, second]),
    ]


def test_a_task_that_is_taken_frees_a_slot_and_raises_the_credit() -> None:
    machine = routing(capacity=2)
    play(machine, TasksArrived([task(A, 0)]))
    assert play(machine, ClientTook(A)) == [GrantCredit({A: 3})]


def test_a_full_workload_does_not_hold_up_another() -> None:
    machine = routing(capacity=2)
    play(machine, TasksArrived([task(A, 0), task(A, 1)]))
    assert deliveries(play(machine, TasksArrived([task(B, 0)]))) == [0]


def test_a_task_that_is_sent_again_is_not_delivered_again() -> None:
    machine = routing()
    play(machine, TasksArrived([task(A, 0)]))
    assert play(machine, TasksArrived([task(A, 0)])) == []


def test_the_result_of_a_task_that_was_offered_again_bears_the_newest_attempt() -> None:
    machine = routing()
    first = task(A, 0)
    play(machine, TasksArrived([first]), TasksArrived([replace(first, attempt=3)]))
    play(machine, TasksArrived([replace(first, attempt=2)]))
    (result,) = reports(play(machine, ClientTook(A), Finished(done(first))))
    assert result.attempt == 3


def test_a_task_that_is_answered_is_answered_again_with_what_is_remembered() -> None:
    machine = routing()
    first = task(A, 0)
    play(machine, TasksArrived([first]), ClientTook(A), Finished(done(first)))
    effects = play(machine, TasksArrived([replace(first, attempt=2)]))
    assert effects == [Report(replace(done(first), attempt=2))]


def test_an_old_acknowledgement_does_not_make_a_newer_report_forgotten() -> None:
    machine = routing()
    first = task(A, 0)
    play(machine, TasksArrived([first]), ClientTook(A), Finished(done(first)))
    play(machine, TasksArrived([replace(first, attempt=2)]), Acknowledged([done(first)]))
    assert reports(play(machine, TasksArrived([replace(first, attempt=2)])))


def test_a_task_whose_result_is_acknowledged_is_ignored_for_ever() -> None:
    machine = routing()
    first = task(A, 0)
    play(machine, TasksArrived([first]), ClientTook(A), Finished(done(first)))
    play(machine, Acknowledged([done(first)]))
    assert play(machine, TasksArrived([first])) == []


def test_an_unknown_executor_is_answered_with_the_nearest_known() -> None:
    machine = routing()
    (result,) = reports(play(machine, TasksArrived([task(A, 0, executor="ehco")])))
    error = json.loads(result.payload)
    assert not result.ok
    assert error["code"] == "unknown-executor"
    assert error["hint"].startswith("did you mean 'echo'?")
    assert (error["node"], error["workload"]) == ("n1", "a")


def test_tasks_for_an_unknown_executor_still_raise_the_credit() -> None:
    machine = routing(capacity=2)
    effects = play(machine, TasksArrived([task(A, n, executor="?") for n in range(2)]))
    assert effects[-1] == GrantCredit({A: 4})


def test_a_workload_has_one_executor() -> None:
    machine = routing()
    effects = play(machine, TasksArrived([task(A, 0), task(A, 1, executor="sleep")]))
    (result,) = reports(effects)
    assert "runs on 'echo', not 'sleep'" in result.payload


def test_the_end_closes_the_client_and_what_comes_late_is_dropped() -> None:
    machine = routing()
    first = task(A, 0)
    play(machine, TasksArrived([first]), ClientTook(A))
    assert play(machine, EndArrived(A, "done")) == [CloseClient(A)]
    assert play(machine, Finished(done(first)), ClientTook(A)) == []
    assert play(machine, TasksArrived([task(A, 1)])) == []
    assert not machine.workloads


def test_the_end_of_what_is_not_known_does_nothing() -> None:
    assert play(routing(), EndArrived(A, "stopped"), EndArrived(A, "stopped")) == []


def test_a_new_stream_is_told_every_credit() -> None:
    machine = routing(capacity=2)
    assert play(machine, StreamOpened()) == []
    play(machine, TasksArrived([task(A, 0), task(B, 7)]), ClientTook(A))
    assert play(machine, StreamOpened()) == [GrantCredit({A: 3, B: 9})]


def test_after_a_restart_of_the_node_credit_counts_from_the_first_number() -> None:
    machine = routing(capacity=2)
    play(machine, TasksArrived([task(A, 57)]))
    assert play(machine, ClientTook(A)) == [GrantCredit({A: 60})]


def test_a_restarted_client_gets_everything_again_that_is_not_answered() -> None:
    machine = routing(capacity=2)
    tasks = [task(A, n) for n in range(3)]
    play(machine, TasksArrived(tasks[:2]), ClientTook(A), TasksArrived(tasks[2:]))
    effects = play(machine, ClientRestarted(A))
    assert deliveries(effects) == [0, 1]
    assert play(machine, ClientTook(A)) == [Deliver(A, [tasks[2]])]  # taken before: no new credit
    assert play(machine, Finished(done(tasks[0])), ClientTook(A))[1:] == [GrantCredit({A: 4})]


def test_a_client_that_is_given_up_answers_what_it_had_and_what_will_come() -> None:
    machine = routing(capacity=2)
    play(machine, TasksArrived([task(A, 0), task(A, 1)]), ClientTook(A))
    effects = play(machine, ClientFailed(A, {"code": "task-failed", "message": "boom"}))
    assert [result.task_id for result in reports(effects)] == ["a-0", "a-1"]
    assert effects[-1] == GrantCredit({A: 4})
    (later,) = reports(play(machine, TasksArrived([task(A, 2)])))
    assert json.loads(later.payload)["message"] == "boom"
    assert play(machine, EndArrived(A, "failed")) == []


def test_what_a_member_asks_begins_a_workload_whose_credit_waits_for_its_first_task() -> None:
    machine = routing(capacity=2)
    assert play(machine, MemberAsked(A, "echo")) == [CreateClient(A, "echo")]
    assert play(machine, MemberAsked(A, "echo"), StreamOpened()) == []
    first = task(A, 57)
    assert play(machine, TasksArrived([first])) == [Deliver(A, [first])]
    assert play(machine, ClientTook(A), StreamOpened()) == [GrantCredit({A: 60})] * 2
    assert play(machine, EndArrived(A, "done")) == [CloseClient(A)]


def test_what_a_member_asks_begins_nothing_that_is_over_or_cannot_be() -> None:
    machine = routing()
    assert play(machine, EndArrived(A, "done"), MemberAsked(A, "echo")) == []
    assert play(machine, MemberAsked(B, "ehco")) == []
    assert play(machine, DrainAsked(), MemberAsked(B, "echo")) == []
    assert not machine.workloads


def test_a_client_that_is_given_up_before_its_first_task_answers_what_will_come() -> None:
    machine = routing()
    failed = ClientFailed(A, {"message": "boom"})
    play(machine, MemberAsked(A, "echo"))
    assert play(machine, failed, StreamOpened()) == []
    (result,) = reports(play(machine, TasksArrived([task(A, 0)])))
    assert json.loads(result.payload)["message"] == "boom"


def test_a_drained_node_grants_no_more_credit() -> None:
    machine = routing()
    play(machine, TasksArrived([task(A, 0)]), DrainAsked())
    assert play(machine, ClientTook(A)) == []
    assert machine.default_credit == 0


def test_what_has_begun_at_a_drained_node_goes_on_to_its_end() -> None:
    """By default it takes nothing any more, so what it takes of these is told by name."""
    machine = routing(capacity=4)
    assert play(machine, DrainAsked()) == []
    machine = routing(capacity=4)
    play(machine, TasksArrived([task(A, 7)]))
    assert play(machine, DrainAsked()) == [GrantCredit({A: 11})]
    on_its_way = play(machine, TasksArrived([task(B, 0)]))
    assert GrantCredit({B: 4}) in on_its_way


def test_a_stop_answers_everything_at_once() -> None:
    machine = routing()
    play(machine, TasksArrived([task(A, 0), task(B, 0)]), ClientTook(A))
    effects = play(machine, StopAsked({"message": "told to stop"}))
    assert len(reports(effects)) == 2
    assert [e for e in effects if isinstance(e, CloseClient)] == [CloseClient(A), CloseClient(B)]


def test_unacknowledged_results_stop_the_credit() -> None:
    machine = routing(capacity=2)
    tasks = [task(A, n) for n in range(UNREPORTED + 10)]
    for each in tasks:
        play(machine, TasksArrived([each]), ClientTook(A), Finished(done(each)))
    assert machine.credits[A] == UNREPORTED + 2
    play(machine, Acknowledged([done(each) for each in tasks[:5]]))
    assert machine.credits[A] == UNREPORTED + 7


def test_news_of_a_client_whose_workload_has_ended_means_nothing() -> None:
    machine = routing()
    play(machine, TasksArrived([task(A, 0)]), EndArrived(A, "done"))
    assert play(machine, ClientRestarted(A), ClientFailed(A, {"message": "boom"})) == []


def test_a_stop_has_no_client_to_close_where_the_executor_is_unknown() -> None:
    machine = routing()
    play(machine, TasksArrived([task(A, 0, executor="?")]))
    assert play(machine, StopAsked({"message": "told to stop"})) == []


def test_of_workloads_that_ended_long_ago_not_even_the_id_is_kept() -> None:
    machine = routing()
    for n in range(10_000):
        play(machine, EndArrived(WorkloadId(f"w{n}"), "done"))
    assert len(machine._ended) < 5_000
    assert play(machine, TasksArrived([task(WorkloadId("w9999"), 0)])) == []


def test_answered_tasks_leave_one_entry_however_many_they_were() -> None:
    machine = routing(capacity=2)
    for number in range(5000):
        each = task(A, number)
        play(machine, TasksArrived([each]), ClientTook(A), Finished(done(each)))
        play(machine, Acknowledged([done(each)]))
    state = machine._workloads[A]
    assert (len(state.answered), len(state.open), len(state.acknowledged)) == (0, 0, 1)


def test_runs_are_a_set() -> None:
    runs = Runs()
    for number in (5, 3, 4, 9, 0, 10):
        runs.add(number)
    assert [n for n in range(12) if n in runs] == [0, 3, 4, 5, 9, 10]
    assert (len(runs), runs.count) == (3, 6)


class World(RuleBasedStateMachine):
    """A coordinator, inboxes and clients around the machine, in any order of events.

    The coordinator keeps to the credit; streams break, and what is not acknowledged is sent
    again, under a higher attempt if it likes.
    """

    workloads = st.sampled_from([WorkloadId(w) for w in "abc"])

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 3
        self.machine = Routing("n", ["echo"], capacity=self.capacity)
        self.credit: dict[WorkloadId, int] = {}
        self.sent: dict[WorkloadId, int] = defaultdict(int)
        self.inbox: dict[WorkloadId, deque[Task]] = {}
        self.in_hand: dict[WorkloadId, Task | None] = {}
        self.received: dict[WorkloadId, list[int]] = defaultdict(list)
        self.under_way: list[Result] = []
        self.recorded: dict[WorkloadId, set[int]] = defaultdict(set)
        self.attempts: dict[TaskId, int] = {}
        self.ended: set[WorkloadId] = set()
        self.restarted: set[WorkloadId] = set()

    def feed(self, event: Event) -> None:
        for effect in self.machine.receive(event):
            match effect:
                case CreateClient(workload, _):
                    assert workload not in self.inbox
                    self.inbox[workload], self.in_hand[workload] = deque(), None
                case Deliver(workload, tasks):
                    self.inbox[workload].extend(tasks)
                    assert len(self.inbox[workload]) <= self.capacity, "put_nowait would fail"
                case GrantCredit(credits):
                    for workload, credit in credits.items():
                        assert credit >= self.credit.get(workload, 0), "credit fell"
                        self.credit[workload] = credit
                case Report(result):
                    self.under_way.append(result)
                case CloseClient(workload):
                    del self.inbox[workload], self.in_hand[workload]

    def limit(self, workload: WorkloadId) -> int:
        return self.credit.get(workload, self.machine.default_credit)

    def offer(self, workload: WorkloadId, number: int) -> Task:
        each = task(workload, number)
        return replace(each, attempt=self.attempts.setdefault(each.task_id, 1))

    @rule(workload=workloads, count=st.integers(1, 4))
    def new_tasks(self, workload: WorkloadId, count: int) -> None:
        if workload in self.ended:
            return
        count = min(count, self.limit(workload) - self.sent[workload])
        first = self.sent[workload]
        self.sent[workload] += max(count, 0)
        self.feed(TasksArrived([self.offer(workload, first + i) for i in range(count)]))

    @rule(workload=workloads, data=st.data())
    def an_old_task_again(self, workload: WorkloadId, data: st.DataObject) -> None:
        if self.sent[workload]:
            number = data.draw(st.integers(0, self.sent[workload] - 1))
            self.attempts[task(workload, number).task_id] += data.draw(st.integers(0, 1))
            self.feed(TasksArrived([self.offer(workload, number)]))

    @rule(workload=workloads)
    def client_works(self, workload: WorkloadId) -> None:
        if workload not in self.inbox:
            return
        if (each := self.in_hand[workload]) is not None:
            self.in_hand[workload] = None
            self.received[workload].append(each.number)
            self.feed(Finished(done(each)))
        elif self.inbox[workload]:
            self.in_hand[workload] = self.inbox[workload].popleft()
            self.feed(ClientTook(workload))

    @rule(workload=workloads)
    def a_member_asks(self, workload: WorkloadId) -> None:
        self.feed(MemberAsked(workload, "echo"))

    @rule(workload=workloads)
    def client_restarts(self, workload: WorkloadId) -> None:
        if workload in self.inbox:
            self.inbox[workload], self.in_hand[workload] = deque(), None
            self.restarted.add(workload)
            self.feed(ClientRestarted(workload))

    @rule()
    def stream_reopens(self) -> None:
        self.credit.clear()
        self.feed(StreamOpened())

    @precondition(lambda self: self.under_way)
    @rule(count=st.integers(1, 3))
    def coordinator_records(self, count: int) -> None:
        batch, self.under_way = self.under_way[:count], self.under_way[count:]
        current = [r for r in batch if r.attempt == self.attempts[r.task_id]]
        for result in current:
            self.recorded[result.workload_id].add(int(result.payload))
        self.feed(Acknowledged(current))

    @rule(workload=workloads)
    def workload_ends(self, workload: WorkloadId) -> None:
        if self.sent[workload] > 12:
            self.ended.add(workload)
            self.feed(EndArrived(workload, "done"))
            self.feed(TasksArrived([self.offer(workload, 0)]))
            assert workload not in self.inbox

    @invariant()
    def order_is_kept_and_nothing_runs_twice(self) -> None:
        for numbers in self.received.values():
            assert numbers == list(range(len(numbers)))

    @invariant()
    def whatever_is_offered_finds_a_free_slot(self) -> None:
        for workload in self.inbox.keys() - self.restarted:
            assert not self.machine._workloads[workload].waiting

    def teardown(self) -> None:
        """Without further trouble everything that was sent is answered."""
        for _ in range(200):
            for workload in list(self.inbox):
                self.client_works(workload)
            for result in self.under_way:
                if result.attempt < self.attempts[result.task_id]:  # refused: offered again
                    self.feed(TasksArrived([self.offer(result.workload_id, int(result.payload))]))
            self.coordinator_records(len(self.under_way) or 1)
        for workload, count in self.sent.items():
            if workload not in self.ended:
                assert self.recorded[workload] == set(range(count))
                assert self.machine.open_tasks(workload) == 0


World.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_any_order_of_events = World.TestCase
