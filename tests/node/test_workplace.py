"""A task's way through a workplace: handlers, filters, events, aborts, what an error tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.node.client import ClientActor
from p2pdo.node.context import Abort, Context
from p2pdo.node.events import (
    ABORT,
    AFTER_TASK,
    ALL,
    BEFORE_TASK,
    END_RUN,
    START_RUN,
    Event,
    on,
)
from p2pdo.node.executors import Executor, Handler, task, tasks_of
from p2pdo.node.failures import failure
from p2pdo.node.workplace import SITE, FilterOffer, Workplace
from p2pdo.protocol.handed import Result, Task
from p2pdo.types import TaskId, WorkloadId
from p2pdo.wire.plain import LIMIT

pytestmark = pytest.mark.asyncio


class Diary:
    """A component that hears everything."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.threads: set[str] = set()

    @on(ALL)
    def note(self, event: Event) -> None:
        self.heard.append(event.name)
        self.threads.add(threading.current_thread().name)


class Trainer(Executor):
    def __init__(self, diary: Diary | None = None) -> None:
        self.release = threading.Event()
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.diary = diary
        self.closed = False

    @task("train")
    def train(self, order: Task, context: Context) -> object:
        context.fire_event("best", loss=0.1)
        if self.diary is not None:
            self.diary.heard.append("handler")
        return {"weights": np.asarray(order.payload["weights"]) * 2.0, "loss": np.float64(0.5)}

    @task
    async def ask(self, order: Task, context: Context) -> object:
        context.fire_event("asked")
        return order.payload

    @task
    def stubborn(self, _order: Task) -> object:
        self.begun.set()
        self.release.wait()
        return "too late"

    @task
    def patient(self, _order: Task, context: Context) -> object:
        self.begun.set()
        try:
            context.abort.wait(3600)
        finally:
            self.ended.set()
        return None

    @task
    async def hang(self, _order: Task) -> object:
        self.begun.set()
        await asyncio.Event().wait()
        return None

    @task
    def fail(self, _order: Task) -> object:
        raise RuntimeError("patient 17 has no age")

    @task
    async def swallow(self, _order: Task) -> object:
        self.begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "never mind"

    @task
    def leave(self, _order: Task) -> object:
        sys.exit(3)

    @task
    async def leave_the_loop(self, _order: Task) -> object:
        sys.exit(3)

    @task
    async def await_a_cancelled_future(self, _order: Task) -> object:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    async def close(self) -> None:
        self.closed = True


class Other(Executor):
    @task
    def count(self, order: Task) -> object:
        return len(order.payload)


class Clinging(Executor):
    """Cannot be closed, or does not end."""

    def __init__(self, closed: list[str], name: str) -> None:
        self._closed = closed
        self._name = name

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {self._name: lambda _: None}

    async def close(self) -> None:
        if self._name == "fails":
            raise OSError("the disk is full")
        if self._name == "hangs":
            await asyncio.Event().wait()
        self._closed.append(self._name)


class Bench:
    """One client on a workplace, with its results."""

    def __init__(self, workplace: Workplace, executor: str = SITE) -> None:
        self.client = ClientActor(
            "n1",
            WorkloadId("w"),
            executor,
            workplace,
            took=lambda _: None,
            finished=self._finished,
            inbox=64,
        )
        self._results: asyncio.Queue[Result] = asyncio.Queue()
        self._sent = 0

    def _finished(self, result: Result) -> None:
        self._results.put_nowait(result)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        async with self.client.running():
            yield self

    def send(self, name: str, payload: Any = None, aborted: str = "") -> TaskId:
        task_id = TaskId(f"w-{self._sent}")
        order = Task(task_id, WorkloadId("w"), SITE, name, self._sent, 1, payload, aborted)
        self._sent += 1
        self.client.ref.try_tell(order)
        return task_id

    async def result(self) -> Any:
        async with asyncio.timeout(20):
            return json.loads((await self._results.get()).payload)

    async def do(self, name: str, payload: Any = None) -> Any:
        self.send(name, payload)
        return await self.result()


def place(trainer: Trainer | None = None, **more: Any) -> Workplace:
    trainer = trainer or Trainer()
    return Workplace(
        {"trainer": lambda _: trainer, "other": lambda _: Other()},
        tasks={
            **dict.fromkeys(tasks_of(Trainer), "trainer"),
            "count": "other",
        },
        **more,
    )


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    trainer.release.set()


async def begun(trainer: Trainer) -> None:
    assert await asyncio.to_thread(trainer.begun.wait, 20)


async def test_each_task_finds_the_executor_that_handles_it() -> None:
    async with Bench(place()).running() as bench:
        assert await bench.do("count", [1, 2, 3]) == 3
        assert await bench.do("ask", "hello") == "hello"
        unknown = await bench.do("trian")
        assert unknown["code"] == "unknown-task"
        assert unknown["message"] == "nobody at this node handles task 'trian'"
        assert unknown["hint"].startswith("did you mean 'train'?")


async def test_a_workload_may_name_one_executor() -> None:
    async with Bench(place(), "other").running() as bench:
        assert await bench.do("count", "ab") == 2
        unknown = await bench.do("train")
        assert unknown["message"] == "executor 'other' has no task 'train'"


async def test_arrays_go_in_and_come_out() -> None:
    weights = {"__array__": "AAAAAAAA8D8=", "dtype": "float64", "shape": [1]}
    async with Bench(place()).running() as bench:
        assert await bench.do("train", {"weights": weights}) == {
            "weights": {"__array__": "AAAAAAAAAEA=", "dtype": "float64", "shape": [1]},
            "loss": 0.5,
        }


async def test_components_hear_the_life_of_the_run_in_order_on_its_thread(
    trainer: Trainer,
) -> None:
    diary = trainer.diary = Diary()
    workplace = place(trainer, components={"diary": lambda: diary})
    async with Bench(workplace).running() as bench:
        await bench.do("train", {"weights": [1.0]})
        await bench.do("ask", 1)
    assert diary.heard == [
        START_RUN,
        *(BEFORE_TASK, "best", "handler", AFTER_TASK),
        *(BEFORE_TASK, "asked", AFTER_TASK),
        END_RUN,
    ]
    assert diary.threads == {"workload w"}


async def test_marks_of_one_listener_add_up() -> None:
    class Watch:
        def __init__(self) -> None:
            self.heard: list[str] = []

        @on(START_RUN)
        @on(BEFORE_TASK, AFTER_TASK)
        def note(self, event: Event) -> None:
            self.heard.append(event.name)

    watch = Watch()
    async with Bench(place(components={"watch": lambda: watch})).running() as bench:
        await bench.do("ask", 1)
    assert watch.heard == [START_RUN, BEFORE_TASK, AFTER_TASK]


class Endings:
    """Notes how tasks end, and that none ends that has not begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[tuple[str, Any]] = []
        self.heard: list[str] = []

    @on(ALL)
    def note(self, event: Event) -> None:
        self.heard.append(event.name)

    @on(BEFORE_TASK)
    def begin(self, event: Event) -> None:
        self.begun.append(event.data["task"].name)

    @on(AFTER_TASK)
    def end(self, event: Event) -> None:
        assert self.begun.pop() == event.data["task"].name
        error = event.data["error"]
        what = event.data["result"] if error is None else error["message"]
        self.ended.append((event.data["status"], what))


async def test_the_end_of_a_task_is_heard_however_it_ends() -> None:
    endings = Endings()

    class Large(Executor):
        @task
        def count(self, _order: Task) -> object:
            return "x" * (LIMIT + 1)

    workplace = place(redacts=True, components={"endings": lambda: endings})
    large = {**workplace.executors, "other": lambda _: Large()}
    async with Bench(replace(workplace, executors=large)).running() as bench:
        for name in ("ask", "fail", "leave", "leave_the_loop", "await_a_cancelled_future"):
            await bench.do(name, "hello")
        await bench.do("count")
        await bench.do("nobody")  # it never began
    assert endings.ended == [
        ("ok", "hello"),
        ("failed", "RuntimeError: patient 17 has no age"),  # the site's own ears hear all of it
        ("failed", "SystemExit: 3"),
        ("failed", "SystemExit: 3"),
        ("failed", "CancelledError"),
        ("failed", f"the result has {LIMIT + 3} bytes, more than {LIMIT}"),
    ]
    assert endings.begun == []


@pytest.mark.parametrize("way", ["data", "result"])
@pytest.mark.parametrize("name", ["ask", "train"])
async def test_a_task_that_a_filter_fails_has_an_end_too(way: str, name: str) -> None:
    endings = Endings()
    offers: dict[str, Any] = {f"{way}_filters": [FilterOffer("privacy", Refuse)]}
    workplace = place(components={"endings": lambda: endings}, **offers)
    async with Bench(workplace).running() as bench:
        await bench.do(name, {"weights": [1.0]})
    ((status, words),) = endings.ended
    assert status == "failed"
    assert words.startswith(f"the task-{way} filter 'privacy' raised PermissionError")


@pytest.mark.parametrize("name", ["patient", "hang", "stubborn", "swallow"])
async def test_an_aborted_task_ends_once_and_after_its_handler(trainer: Trainer, name: str) -> None:
    endings = Endings()
    workplace = place(trainer, components={"endings": lambda: endings})
    async with Bench(workplace).running() as bench:
        task_id = bench.send(name)
        await begun(trainer)
        late = bench.send("fail")  # on the thread of a handler that may not heed
        bench.client.abort_task(task_id, "it took too long")
        await bench.result()
        if name == "stubborn":
            assert endings.ended == []
            bench.client.abort_task(late, "too late")
        trainer.release.set()
        await bench.result()
        await bench.do("count", "abcd")
    aborted, *others = endings.ended
    assert aborted == ("aborted", "aborted: it took too long")
    assert others[-1] == ("ok", 4)
    assert len(others) == (1 if name == "stubborn" else 2)
    assert endings.heard.index(AFTER_TASK) < endings.heard.index(ABORT)
    assert endings.begun == []


@pytest.mark.parametrize("name", ["patient", "hang"])
async def test_a_task_ends_with_its_workload_and_before_it(trainer: Trainer, name: str) -> None:
    endings = Endings()
    workplace = place(trainer, components={"endings": lambda: endings})
    async with Bench(workplace).running() as bench:
        bench.send(name)
        await begun(trainer)
    assert endings.ended == [("aborted", "aborted: the workload has ended")]
    assert endings.heard == [START_RUN, BEFORE_TASK, AFTER_TASK, END_RUN]


@pytest.mark.parametrize("name", ["patient", "hang"])
async def test_an_abort_is_heard_where_the_workload_ends_at_once(
    trainer: Trainer, name: str
) -> None:
    endings = Endings()
    workplace = place(trainer, components={"endings": lambda: endings})
    async with Bench(workplace).running() as bench:
        task_id = bench.send(name)
        await begun(trainer)
        bench.client.abort_task(task_id, "it took too long")  # and its driver is gone
    assert endings.ended == [("aborted", "aborted: it took too long")]
    assert endings.heard == [START_RUN, BEFORE_TASK, AFTER_TASK, ABORT, END_RUN]


async def test_a_listener_that_raises_disturbs_nothing() -> None:
    class Broken:
        @on(BEFORE_TASK)
        def note(self, _event: Event) -> None:
            raise ValueError("listener")

        @on(AFTER_TASK)
        async def wait(self, _event: Event, context: Context) -> None:
            await asyncio.sleep(0)
            raise ValueError(context.node)

    workplace = place(components={"broken": Broken})
    async with Bench(workplace).running() as bench:
        assert await bench.do("count", "abc") == 3


async def test_a_component_that_cannot_be_made_fails_the_tasks_with_its_name() -> None:
    def boom() -> object:
        raise OSError("no such disk")

    client = ClientActor(
        "n1",
        WorkloadId("w"),
        SITE,
        place(components={"store": boom}),
        took=lambda _: None,
        finished=lambda _: None,
        inbox=4,
    )
    with pytest.raises(Exception, match="component 'store' cannot be made: OSError: no such disk"):
        async with client.running():
            await asyncio.Event().wait()


class Add:
    def __init__(self, what: str) -> None:
        self._what = what

    def apply(self, data: Any, order: Task, context: Context) -> Any:
        return f"{data}{self._what}@{order.name}/{context.node}"


class Refuse:
    def apply(self, data: Any, _order: Task, _context: Context) -> Any:
        raise PermissionError(f"{data} is private")


async def test_filters_are_applied_in_order_to_the_tasks_they_concern() -> None:
    workplace = place(
        data_filters=[
            FilterOffer("a", lambda: Add("a")),
            FilterOffer("b", lambda: Add("b"), tasks=["train"]),
            FilterOffer("c", lambda: Add("c"), tasks=["ask"]),
        ],
        result_filters=[FilterOffer("d", lambda: Add("d"))],
    )
    async with Bench(workplace).running() as bench:
        assert await bench.do("ask", "x") == "xa@ask/n1c@ask/n1d@ask/n1"


@pytest.mark.parametrize("way", ["data", "result"])
async def test_a_filter_that_raises_lets_nothing_pass(way: str) -> None:
    offers = {f"{way}_filters": [FilterOffer("privacy", Refuse)]}
    async with Bench(place(**offers)).running() as bench:
        told = await bench.do("ask", "x")
        assert told["code"] == "task-failed"
        assert told["message"] == (
            f"the task-{way} filter 'privacy' raised PermissionError: x is private"
        )


async def test_a_site_that_redacts_tells_the_type_of_an_error_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Bench(place(redacts=True)).running() as bench:
        told = await bench.do("fail")
        assert told["message"] == "RuntimeError"
        assert "patient" not in json.dumps(told)
        assert "patient 17 has no age" in caplog.text
    async with Bench(place()).running() as bench:
        told = await bench.do("fail")
        assert told["message"] == "RuntimeError: patient 17 has no age"
        assert "in fail" in told["traceback"]


async def test_a_site_that_redacts_keeps_the_words_of_filters_and_constructors_too() -> None:
    def boom() -> Executor:
        raise OSError("patient 17 is not here")

    filtered = place(redacts=True, data_filters=[FilterOffer("privacy", Refuse)])
    async with Bench(filtered).running() as bench:
        told = await bench.do("ask", "patient 17")
        assert told["message"] == "the task-data filter 'privacy' raised PermissionError: …"
        assert "patient" not in json.dumps(told)
    workplace = place(redacts=True)
    unmade = {**workplace.executors, "other": lambda _: boom()}
    async with Bench(replace(workplace, executors=unmade)).running() as bench:
        told = await bench.do("count", "a")
        assert told["message"] == "OSError"
    error = ConfigError("component 'store' cannot be made: OSError: patient 17", hint="patient 17")
    error.__cause__ = OSError("patient 17")
    assert "patient" not in json.dumps(failure(error, node="n", workload="w", redacted=True))


@pytest.mark.parametrize("name", ["patient", "hang", "stubborn"])
async def test_an_abort_ends_the_task_in_hand_and_the_next_one_is_taken(
    trainer: Trainer, name: str
) -> None:
    diary = Diary()
    workplace = place(trainer, components={"diary": lambda: diary})
    async with Bench(workplace).running() as bench:
        task_id = bench.send(name)
        await begun(trainer)
        bench.client.abort_task(task_id, "it took too long")
        told = await bench.result()
        assert (told["code"], told["message"]) == ("task-aborted", "aborted: it took too long")
        trainer.release.set()
        assert await bench.do("count", "abcd") == 4
        assert ABORT in diary.heard


async def test_a_handler_that_swallows_its_abort_harms_no_later_one(trainer: Trainer) -> None:
    async with Bench(place(trainer)).running() as bench:
        for name in ("swallow", "hang", "swallow", "hang"):
            trainer.begun.clear()
            task_id = bench.send(name)
            await begun(trainer)
            bench.client.abort_task(task_id, "enough")
            await bench.result()
        assert await bench.do("count", "abcd") == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leave", "SystemExit: 3"),
        ("leave_the_loop", "SystemExit: 3"),
        ("await_a_cancelled_future", "CancelledError: something that it awaited was cancelled"),
    ],
)
async def test_a_handler_that_would_end_the_node_fails_its_task_alone(
    name: str, words: str
) -> None:
    async with Bench(place()).running() as bench:
        told = await bench.do(name)
        assert (told["code"], told["message"]) == ("task-failed", words)
        assert await bench.do("count", "ab") == 2


async def test_listeners_that_exit_disturb_nothing() -> None:
    class Leaving:
        @on(BEFORE_TASK)
        def leave(self, _event: Event) -> None:
            sys.exit(3)

        @on(AFTER_TASK)
        async def leave_the_loop(self, _event: Event) -> None:
            sys.exit(3)

    async with Bench(place(components={"leaving": Leaving})).running() as bench:
        assert await bench.do("count", "abc") == 3


async def test_an_executor_that_cannot_close_does_not_keep_others_open() -> None:
    class Stuck(Executor):
        @task
        def count(self, order: Task) -> object:
            return len(order.payload)

        async def close(self) -> None:
            raise OSError("no such disk")

    trainer = Trainer()
    workplace = place(trainer)
    stuck = {**workplace.executors, "other": lambda _: Stuck()}
    async with Bench(replace(workplace, executors=stuck)).running() as bench:
        await bench.do("ask", 1)
        await bench.do("count", "a")
    assert trainer.closed


async def test_an_abort_does_not_end_the_making_of_an_executor() -> None:
    made: list[Executor] = []
    release = asyncio.Event()
    entered = asyncio.Event()

    async def slowly(_context: Context) -> Executor:
        entered.set()
        await release.wait()
        made.append(Other())
        return made[-1]

    workplace = place()
    slow = {**workplace.executors, "other": slowly}
    async with Bench(replace(workplace, executors=slow)).running() as bench:
        first = bench.send("count", "a")
        await entered.wait()
        bench.client.abort_task(first, "its deadline passed")
        assert (await bench.result())["code"] == "task-aborted"
        bench.send("count", "ab")
        release.set()
        assert await bench.result() == 2
    assert len(made) == 1


async def test_an_executor_that_is_still_being_made_ends_with_its_workload() -> None:
    entered = asyncio.Event()
    ended = asyncio.Event()

    async def never(_context: Context) -> Executor:
        entered.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    workplace = place()
    async with Bench(
        replace(workplace, executors={**workplace.executors, "other": never})
    ).running() as bench:
        bench.send("count", "a")
        await entered.wait()
    assert ended.is_set()


async def test_what_is_asked_for_while_a_task_runs_is_not_kept_by_its_abort() -> None:
    abort = Abort()
    calls: list[str] = []

    def one() -> None:
        calls.append("one")

    abort.then(one)
    abort.then(lambda: calls.append("two"))
    abort.forget(one)
    abort.forget(one)
    abort.set("enough")
    abort.set("again")
    abort.then(lambda: calls.append("three"))
    assert (calls, abort.reason) == (["two", "three"], "enough")


async def test_a_task_that_is_aborted_before_its_turn_never_begins(trainer: Trainer) -> None:
    async with Bench(place(trainer)).running() as bench:
        bench.send("stubborn")
        await begun(trainer)
        waiting = bench.send("fail")
        bench.send("fail", aborted="never mind")
        bench.client.abort_task(waiting, "not needed")
        trainer.release.set()
        assert await bench.result() == "too late"
        assert [(await bench.result())["message"] for _ in range(2)] == [
            "aborted: not needed",
            "aborted: never mind",
        ]
        assert await bench.do("count", "a") == 1


async def test_the_end_of_the_workload_aborts_the_task_in_hand(trainer: Trainer) -> None:
    async with Bench(place(trainer)).running() as bench:
        bench.send("patient")
        await begun(trainer)
    assert await asyncio.to_thread(trainer.ended.wait, 20)


async def test_an_executor_that_cannot_be_closed_keeps_no_other_from_its_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pdo.node.workplace._CLOSING", 0.01)
    closed: list[str] = []
    names = ("first", "fails", "hangs", "last")
    makers = {name: lambda _, name=name: Clinging(closed, name) for name in names}
    async with Bench(Workplace(makers, tasks={name: name for name in names})).running() as bench:
        for name in names:
            await bench.do(name)
    assert closed == ["first", "last"]
    for name in ("fails", "hangs"):
        assert f"executor '{name}' could not be closed" in caplog.text
    assert "the disk is full" in caplog.text


async def test_a_client_that_is_ended_while_its_executor_is_made_leaves_no_thread() -> None:
    making, go_on = threading.Event(), threading.Event()

    def make() -> Executor:
        making.set()
        go_on.wait()
        return Other()

    async def factory(context: Context) -> Executor:
        return await context.compute.run(make)

    async with Bench(Workplace({"slow": factory}), "slow").running() as bench:
        bench.send("count", [])
        assert await asyncio.to_thread(making.wait, 20)
        (thread,) = (t for t in threading.enumerate() if t.name == "workload w")
    go_on.set()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
