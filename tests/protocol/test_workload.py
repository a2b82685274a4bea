"""The life of a workload, event by event."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.errors import LocalProtocolError
from p2pdo.protocol.workload import (
    CONFIG,
    RUN,
    RUN_PARTICIPANT,
    Optimization,
    Participation,
    TaskQueue,
)
from p2pdo.protocol.workload_words import (
    TERMINAL,
    TRANSITIONS,
    CancelTasks,
    CloseAsked,
    CreateTask,
    EndWorkload,
    Event,
    Move,
    NodeGone,
    Status,
    StatusChanged,
    StopAsked,
    TaskFailed,
    TaskSucceeded,
)
from p2pdo.types import NodeId, WorkloadId

W = WorkloadId("w")
A, B = NodeId("a"), NodeId("b")
ENDS = [EndWorkload(A, "done"), EndWorkload(B, "done")]


def machine(**changes: Any) -> Optimization:
    return Optimization(W, [A, B], **{"algorithm": "gradient-tracking"} | changes)


def configured(node: NodeId, **changes: Any) -> TaskSucceeded:
    return TaskSucceeded(node, CONFIG, {"dimension": 3, "smoothness": 2.0} | changes)


def running(**changes: Any) -> Optimization:
    m = machine(**changes)
    m.receive(configured(A))
    m.receive(configured(B))
    return m


def test_it_opens_with_one_config_task_per_node() -> None:
    assert machine().open([{"index": 0}, {"index": 1}]) == [
        CreateTask(A, CONFIG, {"index": 0}),
        CreateTask(B, CONFIG, {"index": 1}),
    ]


def test_it_runs_when_the_last_node_is_configured_with_the_largest_smoothness() -> None:
    m = machine()
    assert m.receive(configured(B, smoothness=8)) == []
    changed, *tasks = m.receive(configured(A))
    assert changed == StatusChanged(Status.RUNNING)
    assert [(task.node, task.name) for task in tasks] == [(A, RUN), (B, RUN)]  # type: ignore[union-attr]
    assert m.resolved["smoothness"] == 8.0
    assert m.resolved["dimension"] == 3
    parameters = m.resolved["parameters"]
    assert isinstance(parameters, dict)
    assert tasks[0].payload == {"parameters": parameters}  # type: ignore[union-attr]
    step_size = parameters["step_size"]
    assert isinstance(step_size, float)
    assert 0 < step_size <= 1 / 8


@pytest.mark.parametrize("smoothness", [10**400, -(10**400), 0, math.inf, "2", [2.0]])
def test_a_smoothness_that_is_none_is_as_good_as_none(smoothness: Any) -> None:
    m = machine(parameters={"step_size": 0.1})
    m.receive(configured(A, smoothness=smoothness))
    m.receive(configured(B))
    assert m.status is Status.RUNNING
    assert m.resolved["smoothness"] is None


def test_a_node_is_told_the_end_in_few_words_that_can_be_encoded() -> None:
    m = running()
    error = {"message": "no such file: \udcff" + "x" * 10**6, "traceback": "t" * 10**6, "more": "y"}
    told = [e.reason for e in m.receive(TaskFailed(A, RUN, error)) if isinstance(e, EndWorkload)]
    assert len(told) == 2
    assert told[0].startswith("failed: no such file: ?xxx")
    assert len(told[0].encode()) < 2000
    assert m.error is not None
    assert set(m.error) == {"code", "message", "node", "workload", "traceback"}
    assert len(str(m.error)) < 30_000


def test_a_reason_to_stop_is_told_in_few_words() -> None:
    m = running()
    told = [e.reason for e in m.receive(StopAsked("z" * 10**6)) if isinstance(e, EndWorkload)]
    assert all(len(reason) < 2000 for reason in told)


def test_a_given_step_size_needs_no_smoothness() -> None:
    m = machine(parameters={"step_size": 0.5})
    m.receive(configured(A, smoothness=None))
    m.receive(configured(B))
    assert m.status is Status.RUNNING
    parameters = m.resolved["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["step_size"] == 0.5


def test_it_is_done_when_the_last_node_has_finished() -> None:
    m = running()
    assert m.receive(TaskSucceeded(B, RUN, {})) == []
    assert m.receive(TaskSucceeded(A, RUN, {})) == [
        CancelTasks(),
        StatusChanged(Status.DONE),
        *ENDS,
    ]


def test_different_dimensions_fail_it_and_name_the_nodes() -> None:
    m = machine()
    m.receive(configured(A))
    m.receive(configured(B, dimension=4))
    assert m.status is Status.FAILED
    assert m.error is not None
    assert m.error["message"] == "the nodes' problems differ in dimension: 3 at a, 4 at b"


@pytest.mark.parametrize("smoothness", [None, 0, -1.0, float("inf"), float("nan"), "2"])
def test_no_step_size_and_no_smoothness_fails_it_with_the_remedy(smoothness: Any) -> None:
    m = machine()
    m.receive(configured(A))
    m.receive(configured(B, smoothness=smoothness))
    assert m.error is not None
    assert m.error["code"] == "config"
    assert "step_size" in str(m.error["hint"])


@pytest.mark.parametrize("result", [None, [], {}, {"dimension": "3"}, {"dimension": True}])
def test_a_config_result_without_a_dimension_fails_it(result: Any) -> None:
    m = machine()
    m.receive(TaskSucceeded(B, CONFIG, result))
    assert m.error is not None
    assert (m.status, m.error["node"]) == (Status.FAILED, "b")


def test_a_foreign_algorithm_gets_its_parameters_as_they_are() -> None:
    m = running(algorithm="Mine", is_foreign=True, parameters={"beta": 1})
    assert m.resolved["parameters"] == {"beta": 1}


def test_quadratic_costs_everywhere_take_the_safe_share_of_the_step_size() -> None:
    for is_quadratic, step_size in ((True, 0.0625), (False, 0.25)):
        m = machine(resolved={"safe_share": 0.25})
        m.receive(configured(A, smoothness=4, is_quadratic=True))
        m.receive(configured(B, smoothness=4, is_quadratic=is_quadratic))
        parameters = m.resolved["parameters"]
        assert isinstance(parameters, dict)
        assert parameters["step_size"] == step_size


def test_what_the_network_tells_is_taken_where_it_is_not_given() -> None:
    for parameters, taken in (({}, 0.75), ({"slem": 0.5}, 0.5)):
        told: dict[str, Any] = {"told_by_network": {"slem": 0.75}}
        m = running(algorithm="fastmix", parameters=parameters, resolved=told)
        assert m.resolved["parameters"] == {"slem": taken}


def test_what_the_costs_tell_is_taken_where_it_is_not_given() -> None:
    for parameters, taken in (({}, 4.0), ({"rho": 0.5}, 0.5)):
        m = machine(algorithm="dqm", parameters=parameters)
        m.receive(configured(A, smoothness=4.0, strong_convexity=3.0))
        m.receive(configured(B, smoothness=2.0, strong_convexity=5.0))
        assert m.resolved["parameters"] == {"rho": taken}  # √(L μ̄) = √(4 · 4)


def test_what_costs_and_graph_tell_together_is_taken() -> None:
    m = machine(algorithm="dual-decomposition", parameters={}, resolved={"degrees": [2.5, 4.0]})
    m.receive(configured(A, smoothness=4.0, strong_convexity=3.0))
    m.receive(configured(B, smoothness=2.0, strong_convexity=2.0))
    assert m.resolved["parameters"] == {"step_size": pytest.approx(0.9 * 2 / 4)}


def test_a_penalty_fits_the_costs_that_tell_and_is_one_for_others() -> None:
    for convexity, taken in (
        (2.0, math.sqrt(4 * 2) / 2.5),
        (0.0, 4 / math.sqrt(30) / 2.5),
        (None, 1),
    ):
        m = machine(algorithm="dinno", parameters={}, resolved={"degrees": [2.5, 4.0]})
        m.receive(configured(A, smoothness=4.0, strong_convexity=convexity))
        m.receive(configured(B, smoothness=2.0, strong_convexity=convexity))
        parameters = m.resolved["parameters"]
        assert isinstance(parameters, dict)
        assert parameters["rho"] == pytest.approx(taken)


@pytest.mark.parametrize("convexity", [None, -1.0, float("nan"), float("inf"), 10**400, "2"])
def test_a_convexity_that_nobody_tells_fails_what_needs_it_with_the_remedy(convexity: Any) -> None:
    m = machine(algorithm="dqm", parameters={})
    m.receive(configured(A, strong_convexity=1.0))
    m.receive(configured(B, strong_convexity=convexity))
    assert m.error is not None
    assert m.error["code"] == "config"
    assert "dqm needs rho" in str(m.error["message"])
    given = machine(algorithm="dqm", parameters={"rho": 1.0})
    given.receive(configured(A))
    given.receive(configured(B, strong_convexity=convexity))
    assert given.status is Status.RUNNING


def test_costs_that_are_only_convex_are_refused_by_what_needs_more() -> None:
    m = machine(algorithm="dqm", parameters={})
    m.receive(configured(A, strong_convexity=0.0))
    m.receive(configured(B, strong_convexity=0.0))
    assert m.error is not None
    assert "not strongly convex" in str(m.error["message"])


def test_the_first_cause_is_the_one_that_is_told() -> None:
    m = running()
    error = {
        "code": "task-failed",
        "message": "boom",
        "iteration": 7,
        "hint": "h",
        "traceback": "T",
    }
    effects = m.receive(TaskFailed(B, RUN, error))
    assert effects == [
        CancelTasks(),
        StatusChanged(Status.FAILED),
        EndWorkload(A, "failed: boom"),
        EndWorkload(B, "failed: boom"),
    ]
    assert m.error == error | {"node": "b", "workload": "w"}
    for later in (
        NodeGone(A, "node a left"),
        TaskFailed(A, RUN, {"message": "x"}),
        StopAsked("y"),
        configured(A),
        CloseAsked(),
    ):
        assert m.receive(later) == []
    assert m.error["message"] == "boom"


def test_a_lost_node_fails_it_at_the_last_iteration_that_was_heard() -> None:
    m = running()
    m.receive(NodeGone(B, "node b was lost: no sign of life for 10 s", 40))
    assert m.error == {
        "code": "workload-failed",
        "message": "node b was lost: no sign of life for 10 s",
        "hint": "see that b is up (p2pdo nodes) and why in its log; submit again",
        "node": "b",
        "workload": "w",
        "iteration": 40,
    }


def test_a_finished_node_is_still_needed() -> None:
    m = running()
    m.receive(TaskSucceeded(B, RUN, {}))
    m.receive(NodeGone(B, "node b left"))
    assert m.status is Status.FAILED


def test_stopping_tells_why() -> None:
    m = machine()
    assert EndWorkload(A, "stopped: enough") in m.receive(StopAsked("enough"))
    assert m.error == {
        "code": "workload-stopped",
        "message": "stopped: enough",
        "hint": "start it again when it may run to its end",
        "workload": "w",
    }
    m = machine()
    assert EndWorkload(A, "stopped") in m.receive(StopAsked(""))


def test_it_closes_itself() -> None:
    assert machine().receive(CloseAsked()) == []


def test_a_restored_machine_is_where_its_results_had_brought_it() -> None:
    m = machine()
    m.restore([configured(A), configured(B), TaskSucceeded(A, RUN, {})])
    assert m.status is Status.RUNNING
    assert StatusChanged(Status.DONE) in m.receive(TaskSucceeded(B, RUN, {}))


def test_a_queue_is_done_once_it_is_closed_and_nothing_is_open() -> None:
    q = TaskQueue(W, [A, B])
    q.add(2)
    assert q.receive(TaskFailed(A, "t", {"message": "no"})) == []
    assert q.receive(NodeGone(A, "node a left")) == []
    assert q.receive(CloseAsked()) == []
    with pytest.raises(LocalProtocolError):
        q.add(1)
    assert q.receive(TaskSucceeded(A, "t", None)) == [
        CancelTasks(),
        StatusChanged(Status.DONE),
        *ENDS,
    ]
    assert q.receive(CloseAsked()) == []


def test_an_empty_queue_is_done_when_it_is_closed() -> None:
    q = TaskQueue(W, [A])
    assert StatusChanged(Status.DONE) in q.receive(CloseAsked())


def test_a_queue_can_be_stopped() -> None:
    q = TaskQueue(W, [A])
    q.add(1)
    assert CancelTasks() in q.receive(StopAsked("x"))
    assert q.status is Status.STOPPED


def test_a_move_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(LocalProtocolError):
        machine()._move(Move.FINISH)


NODES = st.sampled_from([A, B])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    NODES.map(configured),
    NODES.map(lambda node: TaskSucceeded(node, RUN, {})),
    NODES.map(lambda node: TaskFailed(node, RUN, {"message": "x"})),
    NODES.map(lambda node: NodeGone(node, "gone")),
    st.just(StopAsked("x")),
    st.just(CloseAsked()),
)


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=8))
def test_whatever_happens_every_member_is_told_the_end_once(events: list[Event]) -> None:
    m = machine()
    told: list[NodeId] = []
    for event in events:
        before = m.status
        if isinstance(event, TaskSucceeded) and event.name == RUN and before is not Status.RUNNING:
            continue  # no such task exists yet
        effects = m.receive(event)
        told += [effect.node for effect in effects if isinstance(effect, EndWorkload)]
        if m.status is not before:
            assert m.status in TRANSITIONS[before].values()
            assert StatusChanged(m.status) in effects
        assert (m.error is not None) == (m.status in {Status.FAILED, Status.STOPPED})
    assert sorted(told) == ([A, B] if m.status in TERMINAL else [])


def test_a_participants_run_needs_no_dimension_and_passes_its_parameters() -> None:
    m = Participation(W, [A, B], parameters={"lr": 0.1})
    assert m.receive(TaskSucceeded(A, CONFIG, {})) == []
    changed, *tasks = m.receive(TaskSucceeded(B, CONFIG, {}))
    assert changed == StatusChanged(Status.RUNNING)
    assert tasks == [
        CreateTask(node, RUN_PARTICIPANT, {"parameters": {"lr": 0.1}}) for node in (A, B)
    ]
