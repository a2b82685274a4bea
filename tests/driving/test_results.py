"""What a task came to, as it was told: also by a node that says what nobody can read."""

from __future__ import annotations

import json

import pytest

from p2pdo.driving.results import TaskStatus, result_of
from p2pdo.errors import TaskAborted, TaskFailed, UnknownExecutor, UnknownTask
from p2pdo.wire.v1 import coordinator_pb2 as pb


def told(payload: str, *, ok: bool) -> pb.TaskResult:
    return pb.TaskResult(task_id="w-0-0", node="a", name="train", ok=ok, payload=payload)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TaskFailed("x"), TaskStatus.FAILED),
        (TaskAborted("x"), TaskStatus.ABORTED),
        (UnknownTask("x"), TaskStatus.UNKNOWN),
        (UnknownExecutor("x"), TaskStatus.UNKNOWN),
    ],
)
def test_a_status_follows_from_the_error(error: Exception, status: TaskStatus) -> None:
    assert isinstance(error, TaskFailed | UnknownTask | UnknownExecutor)
    result = result_of(told(json.dumps({**error.to_plain(), "traceback": "in fail"}), ok=False))
    assert (result.status, result.is_ok, result.traceback) == (status, False, "in fail")
    with pytest.raises(type(error), match="x") as caught:
        result.unwrap()
    assert caught.value.node == "a"


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("payload", ["", "{", "[" * 100_000])
def test_what_cannot_be_read_is_a_failure_of_that_node(payload: str, ok: bool) -> None:
    result = result_of(told(payload, ok=ok))
    assert result.status is TaskStatus.FAILED
    assert str(result.error).startswith("task 'train' at a: the answer cannot be read: ")


def test_an_array_that_is_none_is_a_failure_of_that_node() -> None:
    result = result_of(told('{"__array__": "AA==", "dtype": "float64", "shape": [3]}', ok=True))
    assert "an array that is none" in str(result.error)


def test_a_failure_that_is_no_error_is_told_as_it_is() -> None:
    result = result_of(told('"no data"', ok=False))
    assert (result.status, str(result.error)) == (
        TaskStatus.FAILED,
        "task 'train' at a: \"no data\"",
    )


def test_a_failures_words_name_task_and_node_once() -> None:
    plain = {"code": "task-failed", "message": "ValueError: no such ward", "hint": "look"}
    error = result_of(told(json.dumps(plain), ok=False)).error
    assert error is not None
    assert error.message == "task 'train' at a: ValueError: no such ward"
    assert (error.node, error.hint) == ("a", "look")
    there = "rank 1 at node 'a' was killed in task 'train'"
    error = result_of(told(json.dumps(plain | {"message": there}), ok=False)).error
    assert error is not None
    assert error.message == there
