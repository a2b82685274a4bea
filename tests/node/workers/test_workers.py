"""Executors in worker processes, in the hands of a workload's client; the processes are real."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from worker_clients import COUNTER, HELPERS, Watched, client, my_children, spec

from p2pdo.errors import ConfigError
from p2pdo.node.events import Event, on
from p2pdo.node.executors import Context, Task
from p2pdo.node.filters import Filter
from p2pdo.node.workers.executor import worker_executor
from p2pdo.node.workers.spec import Part
from p2pdo.node.workplace import FilterOffer
from p2pdo.wire.plain import encode_data

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- a task ----


async def test_every_rank_knows_its_place() -> None:
    offers = {"site": {"data": "/data"}}
    told = spec(args={"greeting": "hi"}, components=COUNTER, site=offers["site"], threads=2, nice=3)
    async with client(told, **offers) as hub:
        said = await hub.do("where")
    environment = said.pop("environment")
    pid = said.pop("pid")
    assert pid != os.getpid()
    assert said.pop("nice") == os.nice(0) + 3
    assert said == {
        "rank": 0,
        "world_size": 2,
        "node": "n1",
        "workload": "w/1",
        "site": {"data": "/data"},
        "greeting": "hi",
        "count": 7,
        "imported": [],
    }
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
    assert [environment[name] for name in names] == ["0", "0", "2", "2", "127.0.0.1"]
    assert 1024 <= int(environment["MASTER_PORT"]) < 65536
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")


async def test_processes_start_at_the_first_task_and_end_with_the_workload(tmp_path: Path) -> None:
    counter = {"counter": Part("worker_site:Counter", {"folder": str(tmp_path)})}
    before = set(my_children())
    async with client(spec(args={"folder": str(tmp_path)}, components=counter)) as hub:
        assert set(my_children()) == before
        first = await hub.do("where")
        second = await hub.do("where")
        assert first["pid"] == second["pid"]
        assert len(set(my_children()) - before) == 2
    assert set(my_children()) == before
    assert names_in(tmp_path) == ["closed-0", "closed-1", "end-0", "end-1"]


async def test_plain_data_and_arrays_cross_both_ways() -> None:
    payload = {"text": "žluťoučký", "list": [1, 2.5, None, True], "dict": {"a": []}}
    array = np.arange(12.0).reshape(3, 4)
    async with client(spec()) as hub:
        assert await hub.do("echo", payload) == payload
        assert await hub.do("echo_later", payload) == [payload, True]
        assert await hub.do("echo_later", 1) == [1, True]  # on the same loop
        doubled = await hub.do("double", json.loads(encode_data({"array": array})))
    np.testing.assert_array_equal(doubled["array"], 2 * array)


async def test_large_payloads_cross() -> None:
    large = "x" * 7_000_000  # near gRPC's limit of a message
    async with client(spec()) as hub:
        assert await hub.do("give_much", 4_000_000) == "x" * 4_000_000
        await hub.send("echo", large)
        assert "the result has 7000002 bytes" in (await hub.answer())["message"]
        assert await hub.do("echo", 1) == 1


async def test_filters_stay_at_the_node() -> None:
    class Note:
        def __init__(self, sign: int) -> None:
            self._sign = sign

        def apply(self, data: Any, task: Task, context: Context) -> Any:
            return [*data, self._sign * os.getpid()]

    def offer(sign: int) -> FilterOffer:
        def make() -> Filter:
            return Note(sign)

        return FilterOffer("note", make)

    async with client(spec(), data_filters=[offer(1)], result_filters=[offer(-1)]) as hub:
        assert await hub.do("echo", []) == [os.getpid(), -os.getpid()]


async def test_ranks_meet_with_torch_as_it_stands() -> None:
    pytest.importorskip("torch")
    async with client(spec(path="worker_site:Meeting", tasks=["add"])) as hub:
        assert await hub.do("add", 10) == (10 + 0) + (10 + 1)
        assert await hub.do("add", 1) == (1 + 0) + (1 + 1)


async def test_a_script_is_named_by_its_path() -> None:
    async with client(spec(path=f"{HELPERS / 'worker_site.py'}:Site")) as hub:
        assert await hub.do("echo", 1) == 1


async def test_the_loop_is_never_blocked(tmp_path: Path) -> None:
    with blockbuster_ctx(scanned_modules=["p2pdo"]):
        async with client(spec(logs=tmp_path, components=COUNTER)) as hub:
            assert await hub.do("talk") is None
            assert await hub.do("fire")
            assert "SIGKILL" in (await hub.do("die", {"how": "sigkill"}))["message"]
            assert await hub.do("echo", 1) == 1


# ---- failures that leave the processes alive ----


@pytest.mark.parametrize("rank", [0, 1])
async def test_an_exception_in_any_rank_fails_the_task(rank: int) -> None:
    async with client(spec()) as hub:
        before = await hub.do("where")
        failed = await hub.do("fail", {"rank": rank})
        assert failed["code"] == "task-failed"
        assert failed["node"] == "n1"
        assert failed["message"] == (
            f"rank {rank} of executor 'trainer' at node 'n1': ValueError: cannot do it"
        )
        assert 'raise ValueError("cannot do it")' in failed["traceback"]
        assert (await hub.do("where"))["pid"] == before["pid"]


async def test_other_ranks_give_up_a_task_that_one_has_failed() -> None:
    async with client(spec()) as hub:
        before = await hub.do("where")
        assert "rank 1" in (await hub.do("fail_alone"))["message"]
        assert (await hub.do("where"))["pid"] == before["pid"]


async def test_what_the_site_redacts_stays_there() -> None:
    async with client(spec(), redacts=True) as hub:
        failed = await hub.do("fail", {"rank": 0})
        died = await hub.do("die", {"how": "exit"})
    assert failed["message"] == "rank 0 of executor 'trainer' at node 'n1': ValueError"
    assert died["message"] == (
        "rank 0 of executor 'trainer' at node 'n1' ended with exit code 3 in task 'die'"
    )
    for plain in (failed, died):
        assert "traceback" not in plain
        assert "cannot do it" not in json.dumps(plain)
        assert "last words" not in json.dumps(plain)


@pytest.mark.parametrize(
    ("name", "payload", "code", "words"),
    [
        ("refuse", None, "not-found", "no such column"),
        ("leave", None, "task-failed", "SystemExit: I leave"),
        ("fail_badly", None, "task-failed", "Mute: it cannot say what"),
        ("give_object", None, "task-failed", "object is no plain data"),
        ("give_much", 5_000_000, "task-failed", "the result has 5000002 bytes"),
        ("allocate", 1 << 40, "task-failed", "MemoryError at its limit of 1073741824 bytes"),
    ],
)
async def test_what_cannot_be_done_is_told(name: str, payload: Any, code: str, words: str) -> None:
    async with client(spec(processes=1, memory=1 << 30)) as hub:
        failed = await hub.do(name, payload)
        assert failed["code"] == code
        assert "rank 0 of executor 'trainer' at node 'n1'" in failed["message"]
        assert words in failed["message"]
        assert await hub.do("echo", 1) == 1


@pytest.mark.parametrize(
    ("settings", "words", "hint"),
    [
        ({"path": "no_such_module:Site"}, "there is no module 'no_such_module'", "PYTHONPATH"),
        ({"path": "p2pdo.nodes:Site"}, "there is no module 'p2pdo.nodes'", "mean 'node'?"),
        ({"path": "worker_site:Sit"}, "'worker_site' has no 'Sit'", "did you mean 'Site'?"),
        ({"path": "worker_site"}, "the path of executor 'trainer' is 'worker_site'", "module:Cl"),
        ({"path": "worker_site:NOT_CALLABLE"}, "is a int", "name a class"),
        ({"path": "worker_site:NoExecutor"}, "made a NoExecutor", "node.executors.Executor"),
        ({"path": "worker_site:Raising"}, "cannot start: OSError: no data here", ""),
        ({"path": "worker_site:Dying"}, "ended with exit code 4 while it started", "log file"),
        ({"args": {"colour": 1}}, "unexpected keyword argument 'colour'", "correct its args"),
        ({"tasks": ["echo", "ecko"]}, "has no task 'ecko'", "did you mean 'echo'?"),
        (
            {"components": {"counter": Part("worker_site:Count")}},
            "component 'counter': 'worker_site' has no 'Count'",
            "did you mean 'Counter'?",
        ),
    ],
)
async def test_what_cannot_start_is_told(settings: Any, words: str, hint: str) -> None:
    async with client(spec(processes=1, **settings)) as hub:
        for _ in range(2):  # the client lives on
            failed = await hub.do("echo", 1)
            assert failed["code"] == "task-failed"
            assert "rank 0 of executor 'trainer' at node 'n1'" in failed["message"]
            assert words in failed["message"]
            assert hint in failed.get("hint", "")


async def test_a_machine_without_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    async with client(spec()) as hub:
        failed = await hub.do("echo", 1)
        assert "rank 0 of executor 'trainer' at node 'n1' cannot start" in failed["message"]
        monkeypatch.undo()
        assert await hub.do("echo", 1) == 1


async def test_a_start_that_is_broken_off_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    async def broken(**_: Any) -> None:
        started.extend(my_children())
        for pid in started:
            os.kill(pid, signal.SIGSTOP)  # so that it cannot end by itself
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "open_unix_connection", broken)
    async with client(spec(processes=1)) as hub:
        assert "cannot start" in (await hub.do("echo", 1))["message"]
        assert started
        for pid in set(started) & set(my_children()):
            assert Watched([pid]).have_ended()


@pytest.mark.parametrize(
    "settings",
    [{"tasks": []}, {"processes": 0}, {"threads": 0}, {"memory": 0}, {"args": {"day": object()}}],
)
async def test_a_wrong_specification_is_refused(settings: Any) -> None:
    with pytest.raises(ConfigError, match="executor 'trainer'"):
        worker_executor(spec(**settings))


# ---- what they say ----


async def test_a_storm_of_prints_blocks_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with client(spec(logs=tmp_path)) as hub:
        assert await hub.do("print_much", 10_000_000) == "done"
        assert await hub.do("echo", 1) == 1
        assert await hub.do("log_much", 20_000) == "done"
    folder = tmp_path / "w%2F1"
    for rank in range(2):
        text = (folder / f"trainer.rank-{rank}.log").read_bytes()
        assert text.count(b"x") >= 10_000_000 * 99 // 100
        assert text.count(b"y") == 1_000_000
        assert text.count(b"logged") == 20_000
    assert 0 < len(caplog.records) < 10_000
    assert "more lines, only in" in caplog.text


async def test_prints_and_logs_reach_the_nodes_log_and_the_files_of_the_ranks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with client(spec(logs=tmp_path)) as hub:
        assert await hub.do("talk") is None
    for rank in range(2):
        words = [f"printed by {rank}", f"complained by {rank}", f"logged by {rank}"]
        words.append(f"a library in {rank}")
        text = (tmp_path / "w%2F1" / f"trainer.rank-{rank}.log").read_text()
        assert sorted(text.splitlines()) == sorted(words)
        for word in words:
            assert f"[rank {rank}] {word}" in caplog.messages
    levels = {record.levelno for record in caplog.records if "a library" in record.getMessage()}
    assert levels == {logging.WARNING}


# ---- events ----


class Listener:
    """At the node: notes what it hears, and says something before the task "heard"."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, int]] = []

    @on("rank-says", "node-says")
    def note(self, event: Event, context: Context) -> None:
        self.heard.append((event.name, event.data["value"], context.rank))

    @on("BEFORE_TASK")
    def speak(self, event: Event, context: Context) -> None:
        if event.data["task"].name == "heard":
            context.fire_event("node-says", value=1)


async def test_events_reach_listeners_on_both_sides_and_none_twice() -> None:
    listener = Listener()
    offers = {"components": {"listener": lambda: listener}}
    async with client(spec(components=COUNTER), **offers) as hub:
        heard = await hub.do("fire")
        assert heard == ["START_RUN", "BEFORE_TASK", "rank-says"]
        assert sorted(listener.heard) == [("rank-says", 0, 0), ("rank-says", 1, 1)]
        listener.heard.clear()
        heard = await hub.do("fire_later")
        assert heard[3:] == ["AFTER_TASK", "BEFORE_TASK"]  # its own waits for the coroutine's end
        assert sorted(listener.heard) == [("rank-says", 0, 0), ("rank-says", 1, 1)]
        listener.heard.clear()
        heard = await hub.do("heard")
    assert listener.heard == [("node-says", 1, 0)]
    assert heard[5:] == ["rank-says", "AFTER_TASK", "node-says 1 at rank 0", "BEFORE_TASK"]


async def test_an_event_that_cannot_cross_is_told_and_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Speaker:
        @on("BEFORE_TASK")
        def speak(self, event: Event, context: Context) -> None:
            context.fire_event("node-says", value=self)

    async with client(spec(components=COUNTER), components={"speaker": Speaker}) as hub:
        for _ in range(2):
            assert await hub.do("echo", 1) == 1
    assert "event node-says does not reach executor 'trainer': Speaker is no plain" in caplog.text
