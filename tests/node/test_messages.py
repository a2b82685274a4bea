"""Messages between the members of a workload, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talking_site import described

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.errors import ConfigError
from p2pdo.node.messages import METHOD, Message, on_message
from p2pdo.node.topics import nobody_answers
from p2pdo.protocol.handed import Task
from p2pdo.transports import rpc

pytestmark = pytest.mark.asyncio

Site = p2pdo.Context


class Auditor(p2pdo.Executor):
    def __init__(self, entered: threading.Event | None = None) -> None:
        self.entered = entered or threading.Event()
        self.busy = threading.Event()

    @on_message("rows")
    def rows(self, message: Message) -> object:
        return np.asarray(message.value) + 1.0

    @on_message("who")
    async def who(self, message: Message) -> object:
        return message.sender

    @on_message("fail")
    def fail(self, _message: Message) -> object:
        raise ValueError("no such column")

    @on_message("silent")
    async def silent(self, _message: Message) -> object:
        self.entered.set()
        await asyncio.Event().wait()
        return None

    @on_message("huge")
    def huge(self, _message: Message) -> object:
        return np.zeros(10**6)

    @on_message("release")
    def release(self, _message: Message) -> object:
        self.busy.set()
        return True

    @p2pdo.task
    async def ask(self, task: Task, context: Site) -> object:
        return described(await context.request(**task.payload))

    @p2pdo.task
    def ask_from_thread(self, task: Task, context: Site) -> object:
        return described(context.ask(**task.payload))

    @p2pdo.task
    async def ask_on_the_loop(self, task: Task, context: Site) -> object:
        return described(context.ask(**task.payload))

    @on_message("leave")
    async def leave(self, _message: Message) -> object:
        raise SystemExit(3)

    @p2pdo.task
    async def ask_wrongly(self, task: Task, context: Site) -> object:
        value = {"large": np.zeros(10**6), "set": {1}}[task.payload]
        return described(await context.request(["node-1"], "rows", value))

    @p2pdo.task
    async def everybody(self, _task: Task, context: Site) -> object:
        return await context.members()

    @p2pdo.task
    def compute(self, _task: Task) -> object:
        """Busy until somebody's message comes."""
        return self.busy.wait(20)

    @p2pdo.task
    async def listen(self, _task: Task, context: Site) -> object:
        context.on("own", lambda message: message.value * 2)
        return None


def network(**executors: Any) -> p2pdo.LocalNetwork:
    return p2pdo.local(nodes=3, executors=executors or {"auditor": Auditor})


async def begin(tasks: p2pdo.Tasks) -> None:
    """Has the workload begin at every node."""
    for result in await tasks.broadcast_and_wait("everybody"):
        assert result.unwrap() == tasks.nodes


@pytest.mark.parametrize("task", ["ask", "ask_from_thread"])
async def test_every_target_answers_by_itself(task: str) -> None:
    async with network() as net, net.driver() as tasks:
        await begin(tasks)

        async def ask(targets: list[str], topic: str, value: Any = None, **how: Any) -> Any:
            asked = {"targets": targets, "topic": topic, "value": value, **how}
            return (await tasks.send_and_wait(task, asked, to="node-0")).unwrap()

        rows = await ask(["node-2", "node-0"], "rows", np.arange(2.0))
        assert list(rows) == ["node-2", "node-0"]
        np.testing.assert_array_equal(rows["node-2"], [1.0, 2.0])
        assert await ask(["node-1"], "who") == {"node-1": "node-0"}
        failed = await ask(["node-1", "node-9"], "fail")
        assert failed["node-1"].startswith("task-failed: ValueError: no such column")
        assert failed["node-9"].startswith("not-found: node-9 takes no part in workload")
        unknown = await ask(["node-1"], "rosw")
        assert unknown["node-1"].startswith("not-found: nobody at node-1 answers 'rosw'")
        assert "did you mean 'rows'" in unknown["node-1"]
        silent = await ask(["node-1", "node-2"], "silent", timeout=0.2)
        assert silent["node-1"].startswith("deadline: node-1 did not reply within 0.2 s")
        huge = await ask(["node-1"], "huge")
        assert "bytes, more than 4194304" in huge["node-1"]
        assert await ask([], "rows") == {}


@pytest.mark.parametrize(
    ("kind", "words"), [("large", "bytes, more than 4194304"), ("set", "cannot travel as JSON")]
)
async def test_what_cannot_travel_is_refused_before_it_is_sent(kind: str, words: str) -> None:
    async with network() as net, net.driver() as tasks:
        result = await tasks.send_and_wait("ask_wrongly", kind, to="node-0")
        assert words in str(result.error)


async def test_a_node_that_computes_still_answers() -> None:
    async with network() as net, net.driver() as tasks:
        computing = await tasks.send("compute", to="node-1")
        asked = {"targets": ["node-1"], "topic": "release"}
        result = await tasks.send_and_wait("ask", asked, to="node-0")
        assert result.unwrap() == {"node-1": True}
        assert (await computing).unwrap() is True


class Store:
    """A component, which every executor is made beside."""

    @on_message("stored")
    def stored(self, _message: Message, context: Site) -> object:
        return [context.node, sorted(context.components)]


class Counter(p2pdo.Executor):
    @p2pdo.task
    async def count(self, _task: Task) -> object:
        return 0

    @on_message("counted")
    async def counted(self, message: Message, context: Site) -> object:
        return [message.sender, context.node]


async def test_who_is_asked_needs_no_task_of_the_workload_before(tmp_path: Path) -> None:
    """One task at one node asks all: the workload begins where it is asked, and the executor too.

    The tasks that come later find what the messages have made, and it ends with the workload.
    """
    config = tmp_path / "p2pdo.toml"
    config.write_text(f'[components.store]\npath = "{__file__}:Store"\n')
    ended = asyncio.Event()

    class Witness(Counter):
        async def close(self) -> None:
            ended.set()

    executors = {"auditor": Auditor, "counter": Witness}
    async with p2pdo.local(nodes=3, config=config, executors=executors) as net:
        async with net.driver() as tasks:
            nodes = ["node-0", "node-1", "node-2"]
            for topic, answers in (
                ("counted", [["node-0", node] for node in nodes]),
                ("stored", [[node, ["store"]] for node in nodes]),
            ):
                asked = {"targets": nodes, "topic": topic}
                told = (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap()
                assert told == dict(zip(nodes, answers, strict=True))
            asked = {"targets": ["node-1"], "topic": "nothing"}
            told = (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap()
            assert told["node-1"].startswith("not-found: nobody at node-1 answers 'nothing'")
            assert [r.unwrap() for r in await tasks.broadcast_and_wait("count")] == [0, 0, 0]
        async with asyncio.timeout(20):
            await ended.wait()


async def test_two_that_would_answer_one_topic_are_refused() -> None:
    words = "messages about 'counted' are answered by 'one' and by 'two'"

    class Other(p2pdo.Executor):
        @p2pdo.task
        async def other(self, _task: Task) -> object: ...

        @on_message("counted")
        async def counted(self, _message: Message) -> object: ...

    async with network(one=Counter, two=Other) as net:
        with pytest.raises(ConfigError, match=words):
            async with net.driver():
                pass


async def test_who_asks_about_a_workload_that_is_over_is_told(tmp_path: Path) -> None:
    """As a member would that has not heard of the end yet."""
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        running_nodes(["a", "b"], address, tmp_path, executors={"auditor": Auditor}),
        p2pdo.connect(address) as net,
    ):
        async with net.driver(["a", "b"]) as tasks:
            members = {m.name: m.address for m in await net.client.nodes()}
            await tasks.send_and_wait("everybody", to="a")
        request = {"workload": tasks.workload_id, "sender": "a", "topic": "who", "value": None}
        async with rpc.make_channel(members["b"]) as channel:
            call = channel.unary_unary(METHOD)
            answer = json.loads(await call(json.dumps(request).encode(), timeout=20))
            assert "does not begin workload" in answer["error"]["message"]
            answer = json.loads(
                await call(json.dumps({**request, "workload": "nix"}).encode(), timeout=20)
            )
        assert answer["error"]["code"] == "not-found"


async def test_a_topic_may_be_taken_up_at_run_time() -> None:
    async with network() as net, net.driver() as tasks:
        await tasks.broadcast_and_wait("listen")
        asked = {"targets": ["node-2"], "topic": "own", "value": 21}
        assert (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap() == {"node-2": 42}


async def test_only_members_may_ask() -> None:
    async with network() as net, net.driver(["node-0", "node-1"]) as tasks:
        asked = {"targets": ["node-2"], "topic": "who"}
        told = (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap()
        assert told["node-2"].startswith("not-found: node-2 takes no part in workload")


async def test_an_abort_ends_a_plain_handler_that_waits_for_replies() -> None:
    entered = threading.Event()
    async with (
        network(auditor=lambda: Auditor(entered)) as net,
        net.driver() as tasks,
    ):
        await begin(tasks)
        asked = {"targets": ["node-1"], "topic": "silent", "timeout": 3600.0}
        asking = await tasks.send("ask_from_thread", asked, to="node-0")
        assert await asyncio.to_thread(entered.wait, 20)
        await tasks.abort([asking], "enough")
        assert (await asking).status == "aborted"
        again = await tasks.send_and_wait("ask_from_thread", {**asked, "topic": "who"}, to="node-0")
        assert again.unwrap() == {"node-1": "node-0"}  # its thread is free again


async def test_a_coroutine_that_would_wait_for_itself_is_told_what_to_call() -> None:
    async with network() as net, net.driver() as tasks:
        asked = {"targets": ["node-1"], "topic": "who"}
        result = await tasks.send_and_wait("ask_on_the_loop", asked, to="node-0")
        assert "context.ask was called in a coroutine" in str(result.error)


async def test_a_handler_that_exits_ends_no_node() -> None:
    async with network() as net, net.driver() as tasks:
        await begin(tasks)
        asked = {"targets": ["node-1"], "topic": "leave"}
        told = (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap()
        assert told["node-1"].startswith("task-failed: SystemExit: 3")
        await begin(tasks)


async def test_a_site_that_redacts_keeps_the_words_of_its_message_handlers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text("[policy]\nredact = true\n")
    async with (
        p2pdo.local(nodes=2, config=config, executors={"auditor": Auditor}) as net,
        net.driver() as tasks,
    ):
        await begin(tasks)
        asked = {"targets": ["node-1"], "topic": "fail"}
        told = (await tasks.send_and_wait("ask", asked, to="node-0")).unwrap()
        assert told["node-1"].startswith("task-failed: ValueError (its words are kept")
        assert "no such column" in caplog.text


async def test_a_member_that_was_started_again_is_found_at_its_new_address(tmp_path: Path) -> None:
    def node(name: str, address: str) -> Any:
        return running_nodes([name], address, tmp_path, executors={"auditor": Auditor})

    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        node("a", address),
        p2pdo.connect(address) as net,
    ):
        asked = {"targets": ["b"], "topic": "who"}
        async with contextlib.AsyncExitStack() as stack:
            async with node("b", address):
                tasks = await stack.enter_async_context(net.driver(["a", "b"]))
                await begin(tasks)
                assert (await tasks.send_and_wait("ask", asked, to="a")).unwrap() == {"b": "a"}
            gone = (await tasks.send_and_wait("ask", asked, to="a")).unwrap()
            assert gone["b"].startswith("unreachable: b cannot be reached")
            async with node("b", address):
                await begin(tasks)
                assert (await tasks.send_and_wait("ask", asked, to="a")).unwrap() == {"b": "a"}


class Crier(p2pdo.Executor):
    """Fires an event where a message is answered."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.busy = threading.Event()

    @p2pdo.task
    async def begin(self, _task: Task, context: Site) -> None:
        async def cry(_message: Message) -> object:
            context.fire_event("cried")
            return "answered"

        context.on("cry", cry)

    @p2pdo.on("cried")
    def hear(self, _event: object) -> None:
        self.heard.set()

    @p2pdo.task
    async def ask(self, task: Task, context: Site) -> object:
        return described(await context.request([task.payload], "cry"))

    @p2pdo.task
    def compute(self, _task: Task) -> object:
        self.busy.wait(20)
        return self.heard.is_set()


async def test_what_a_coroutine_handler_fires_is_heard_at_once() -> None:
    """That is: without another task; and where the node's thread is busy, as soon as it is free."""
    criers: list[Crier] = []

    def make() -> Crier:
        criers.append(Crier())
        return criers[-1]

    async with network(crier=make) as net, net.driver() as tasks:
        await tasks.broadcast_and_wait("begin", to="node-0")
        await tasks.broadcast_and_wait("begin", to="node-1")
        asker, asked = criers[-2:]  # one was made to see what it can do
        ask = {"to": "node-0"}
        assert (await tasks.send_and_wait("ask", "node-1", **ask)).value == {"node-1": "answered"}
        assert await asyncio.to_thread(asked.heard.wait, 20)
        assert not asker.heard.is_set()
        asked.heard.clear()
        computing = await tasks.send("compute", to="node-1")
        assert (await tasks.send_and_wait("ask", "node-1", **ask)).value == {"node-1": "answered"}
        asked.busy.set()
        assert (await computing).value is False, "the thread was the task's"
        assert await asyncio.to_thread(asked.heard.wait, 20)


async def test_where_nobody_answers_anything_yet_the_hint_says_who_would() -> None:
    assert "known: slow" in str(nobody_answers("slwo", ["slow"], "q").hint)
    assert "first task" in str(nobody_answers("slow", [], "q").hint)
