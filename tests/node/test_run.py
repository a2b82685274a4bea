"""A node as a whole, against a coordinator over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from p2pdo.errors import ConfigError, Conflict, NotFound, Unreachable
from p2pdo.node.control import Control
from p2pdo.node.control_words import Identity, MetricPoint, Pull
from p2pdo.node.executors import Executor, Handler, Task, WorkloadContext
from p2pdo.node.run import NodeSettings, Stop, run_node
from p2pdo.node.site import Services
from p2pdo.node.workers.executor import worker_executor
from p2pdo.node.workers.spec import WorkerSpec
from p2pdo.node.workplace import Workplace
from p2pdo.types import WorkloadId

pytestmark = pytest.mark.asyncio

Open = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


class Gate:
    """Lets a test hold a handler, on the loop or on its thread."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.open = asyncio.Event()


class Everything(Executor):
    """One handler for each thing that a test needs."""

    closed: list[str] = []  # noqa: RUF012 - reset by each test that looks at it

    def __init__(self, context: WorkloadContext, gate: Gate) -> None:
        self._context = context
        self._gate = gate

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "echo": self._echo,
            "sleep": self._sleep,
            "where": lambda _: threading.current_thread().name,
            "hold": self._hold,
            "raise": self._raise,
            "refuse": self._refuse,
            "array": lambda _: {"value": object()},
            "nan": lambda _: float("nan"),
        }

    async def close(self) -> None:
        self.closed.append(self._context.workload_id)

    async def _echo(self, task: Task) -> object:
        return task.payload

    def _sleep(self, task: Task) -> object:
        time.sleep(task.payload)  # type: ignore[arg-type]
        return task.number

    async def _hold(self, _task: Task) -> object:
        self._gate.entered.set()
        try:
            await self._gate.open.wait()
        except asyncio.CancelledError:
            self._gate.cancelled.set()
            raise
        return "released"

    def _raise(self, task: Task) -> object:
        raise ValueError(f"cannot do {task.payload}")

    def _refuse(self, _task: Task) -> object:
        raise NotFound("no such column", hint="try age")


class Needed(Everything):
    needed_until_end = True


class Node:
    """A running node: its settings, its wish to stop, its gate."""

    def __init__(self, coordinator: str, state: Path, **settings: Any) -> None:
        self.gate = Gate()
        self.stop = Stop()
        self.ready = asyncio.Event()
        self.services: Services | None = None
        self.settings = NodeSettings(
            coordinator=coordinator, name="n1", state=state, insecure=True, **settings
        )

    @contextlib.asynccontextmanager
    async def provide(self, services: Services) -> AsyncIterator[Workplace]:
        self.services = services
        yield Workplace(
            {
                "test": lambda context: Everything(context, self.gate),
                "needed": lambda context: Needed(context, self.gate),
                "broken": self._broken,
            }
        )

    @staticmethod
    def _broken(_context: WorkloadContext) -> Executor:
        raise OSError("no data here")

    async def run(self) -> None:
        await run_node(
            self.settings, self.provide, stop=self.stop, ready=lambda _: self.ready.set()
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        async with asyncio.TaskGroup() as group:
            life = group.create_task(self.run())
            await self.ready.wait()
            yield self
            self.gate.open.set()
            self.stop.ask()
            self.stop.ask()
            async with asyncio.timeout(20):
                await life


async def test_tasks_come_in_and_results_go_out(coordinator_factory: Open, tmp_path: Path) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running():
        await hub.send("w", "echo", *range(100))
        assert await hub.answers(100) == list(range(100))
        assert max(request.default_credit for request in hub.requests) == 32


async def test_polling_does_the_same(coordinator_factory: Open, tmp_path: Path) -> None:
    node_pull = Pull("poll", 0.02)
    async with (
        coordinator_factory() as hub,
        Node(hub.address, tmp_path, pull=node_pull).running(),
    ):
        await hub.send("w", "echo", *range(100))
        assert await hub.answers(100) == list(range(100))
        await hub.end("w")


async def test_a_plain_handler_runs_on_its_workloads_own_thread(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running():
        await hub.send("a", "where", None, None)
        assert await hub.answers(2) == ["workload a", "workload a"]
        await hub.send("b", "where", None)
        assert (await hub.answers(3))[2] == "workload b"


async def test_a_failing_handler_is_told_whole_and_the_next_task_is_handled(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running():
        await hub.send("w", "raise", "this")
        await hub.send("w", "refuse", None, first=1)
        await hub.send("w", "ecko", None, first=2)
        await hub.send("w", "array", None, first=3)
        await hub.send("w", "nan", None, first=4)
        await hub.send("w", "echo", "fine", first=5)
        raised, refused, unknown, array, nan, fine = await hub.answers(6)
        assert raised["code"] == "task-failed"
        assert raised["message"] == "ValueError: cannot do this"
        assert (raised["node"], raised["workload"]) == ("n1", "w")
        assert "in _raise" in raised["traceback"]
        assert (refused["code"], refused["hint"]) == ("not-found", "try age")
        assert unknown["code"] == "unknown-task"
        assert unknown["hint"].startswith("did you mean 'echo'?")
        assert "cannot travel as JSON" in array["message"]
        assert "cannot travel as JSON" in nan["message"]
        assert fine == "fine"
        assert [result.ok for result in hub.results] == [False] * 5 + [True]


async def test_an_executor_that_cannot_be_made_fails_its_tasks_and_no_others(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running():
        await hub.send("bad", "echo", 1, 2, executor="broken")
        await hub.send("none", "echo", 1, executor="tset")
        await hub.until(lambda: len(hub.results) == 3)
        await hub.send("good", "echo", 3)
        await hub.send("bad", "echo", 3, executor="broken", first=2)
        answers = await hub.answers(5)
        messages = [a["message"] for a in answers if isinstance(a, dict)]
        assert messages.count("OSError: no data here") == 3
        assert "node n1 has no executor 'tset'" in messages
        assert 3 in answers


async def test_a_client_that_is_given_up_tells_no_more_than_the_site_allows(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    class Redacting(Node):
        @contextlib.asynccontextmanager
        async def provide(self, services: Services) -> AsyncIterator[Workplace]:
            yield Workplace({"broken": self._broken}, redacts=True)

    async with coordinator_factory() as hub, Redacting(hub.address, tmp_path).running():
        await hub.send("bad", "echo", 1, executor="broken")
        (told,) = await hub.answers(1)
        assert told["message"] == "OSError"
        assert "no data here" not in str(told)


@pytest.mark.slow
async def test_worker_processes_that_die_again_and_again_fail_their_workload_and_no_other(
    coordinator_factory: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent / "workers")
    spec = WorkerSpec("work", "worker_site:Site", tasks=["die", "echo"])

    class Offering(Node):
        @contextlib.asynccontextmanager
        async def provide(self, services: Services) -> AsyncIterator[Workplace]:
            yield Workplace({"work": worker_executor(spec)})

    async with coordinator_factory() as hub, Offering(hub.address, tmp_path).running():
        await hub.send("bad", "die", *[{"how": "exit"}] * 5, executor="work")
        await hub.send("good", "echo", 7, executor="work")
        answers = await hub.answers(6)
        assert 7 in answers
        messages = [answer["message"] for answer in answers if answer != 7]
        assert sum("ended with exit code 3 in task" in message for message in messages) == 5
        assert sum("more than 3 times within 60 s" in message for message in messages) == 2


async def test_the_end_of_a_workload_cancels_its_handler_and_drops_what_waits(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    Everything.closed.clear()
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running() as node:
        await hub.send("w", "hold", None)
        await hub.send("w", "echo", 1, 2, first=1)
        await node.gate.entered.wait()
        await hub.end("w", "stopped")
        await asyncio.wait_for(node.gate.cancelled.wait(), 5)
        await hub.send("v", "echo", "other")
        assert await hub.answers(1) == ["other"]
        assert Everything.closed == ["w"]


async def test_a_blocked_workload_does_not_hold_up_another(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running() as node:
        await hub.send("slow", "hold", *range(50))  # more than its inbox holds
        await node.gate.entered.wait()
        await hub.send("quick", "echo", *range(200))
        assert await hub.answers(200) == list(range(200))


async def test_results_survive_the_coordinators_absence(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running() as node:
        await hub.send("w", "hold", None)
        await hub.send("w", "echo", *range(1, 10), first=1)
        await node.gate.entered.wait()
        await hub.stop()
        node.gate.open.set()
        await asyncio.sleep(0.3)
        await hub.start()
        assert await hub.answers(10) == ["released", *range(1, 10)]
        assert len(hub.joins) == 1


async def test_a_stream_that_ends_while_credit_is_told_is_opened_again() -> None:
    """Writing to a call that has ended raises before its reader has heard of the end."""

    class Ended:
        async def write(self, _request: object) -> None:
            raise asyncio.InvalidStateError("RPC already finished.")

    class NoOrders:
        default_credit = 32

    orders: Any = NoOrders()
    control = Control("127.0.0.1:1", Identity("n1", "127.0.0.1:2"))
    await control._tell_credits(Ended(), orders)  # raises nothing that would end the node
    await control._channel.close()


async def test_a_coordinator_that_forgot_the_node_is_joined_again_as_the_same_boot(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory(heartbeat=0.05) as hub, Node(hub.address, tmp_path).running():
        hub.known = False
        await hub.until(lambda: len(hub.joins) >= 2)
        assert hub.joins[0] == hub.joins[1]
        await hub.send("w", "echo", 1)
        assert await hub.answers(1) == [1]


async def test_a_coordinator_that_is_away_is_told_once_and_its_return_too(
    coordinator_factory: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with coordinator_factory(heartbeat=0.05) as hub, Node(hub.address, tmp_path).running():
        hub.away = True
        await hub.until(lambda: hub.heartbeats >= 4)
        hub.away = False
        missed = hub.heartbeats
        await hub.until(lambda: hub.heartbeats >= missed + 3)
        away, back = [record.getMessage() for record in caplog.records]
        assert away == "the coordinator is away; this node goes on and tries again"
        assert back == "the coordinator is back"


async def test_a_name_that_is_taken_ends_the_node(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory(taken_names={"n1"}) as hub:
        with pytest.raises(Conflict, match="'n1' is active already"):
            await Node(hub.address, tmp_path).run()


async def test_a_name_that_is_taken_while_we_were_away_ends_the_node(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory(heartbeat=0.05) as hub:
        node = Node(hub.address, tmp_path)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            life = group.create_task(expect_conflict(node))
            await node.ready.wait()
            hub.taken_names.add("n1")
            hub.known = False
            await life


async def expect_conflict(node: Node) -> None:
    with pytest.raises(Conflict):
        await node.run()


async def test_no_coordinator_is_told_after_the_connect_timeout(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(
        Unreachable, match=r"no coordinator answers at 127.0.0.1:1 \(tried for 0.3 s\)"
    ):
        await Node("127.0.0.1:1", tmp_path, connect_timeout=0.3).run()
    assert time.monotonic() - began < 2


async def test_a_wrong_token_is_refused(coordinator_factory: Open, tmp_path: Path) -> None:
    async with coordinator_factory(token="right") as hub:  # noqa: S106
        with pytest.raises(Unreachable, match="refused us"):
            await Node(hub.address, tmp_path, token="wrong", connect_timeout=0.3).run()  # noqa: S106
        async with Node(hub.address, tmp_path, token="right").running():  # noqa: S106
            await hub.send("w", "echo", 1)
            assert await hub.answers(1) == [1]


async def test_plaintext_beyond_loopback_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="refusing to speak plaintext"):
        await Node("example.org:7000", tmp_path).run()
    with pytest.raises(ConfigError, match="refusing to speak plaintext"):
        await Node("127.0.0.1:1", tmp_path, listen="0.0.0.0:0").run()


async def test_a_state_folder_that_it_makes_is_its_users_alone(tmp_path: Path) -> None:
    state = tmp_path / "far" / "state"
    with pytest.raises(Unreachable):
        await run_node(
            NodeSettings(
                "127.0.0.1:9", "n1", state, listen="127.0.0.1:0", insecure=True, connect_timeout=0.1
            )
        )
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


async def test_draining_finishes_what_is_here_and_says_goodbye(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub:
        node = Node(hub.address, tmp_path)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            life = group.create_task(node.run())
            await hub.send("w", "hold", None)
            await hub.send("w", "echo", 1, 2, first=1)
            await node.gate.entered.wait()
            node.stop.ask()
            await hub.until(lambda: hub.requests[-1].default_credit == 0)
            await hub.send("new", "echo", "not for us")
            node.gate.open.set()
            await life
        assert await hub.answers(3) == ["released", 1, 2]
        assert hub.left == ["n1"]
        assert [task.workload_id for task in hub.tasks] == ["new"]


async def test_draining_waits_for_the_end_of_a_workload_that_needs_the_node(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub:
        node = Node(hub.address, tmp_path)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            life = group.create_task(node.run())
            await hub.send("w", "echo", 1, executor="needed")
            await hub.answers(1)
            node.stop.ask()
            await hub.until(lambda: hub.requests[-1].default_credit == 0)
            await asyncio.sleep(0.1)
            assert not life.done()
            await hub.end("w")
            await life
        assert hub.left == ["n1"]


async def test_a_second_wish_to_stop_answers_what_is_open(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub:
        node = Node(hub.address, tmp_path)
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            life = group.create_task(node.run())
            await hub.send("w", "hold", None, None)
            await node.gate.entered.wait()
            node.stop.ask()
            node.stop.ask()
            await life
        answers = await hub.answers(2)
        assert [a["message"] for a in answers] == ["node n1 was told to stop"] * 2
        assert node.gate.cancelled.is_set()
        assert hub.left == ["n1"]


async def test_metrics_and_states_reach_the_coordinator(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running() as node:
        assert node.services is not None
        control = node.services.control
        await control.push_metrics(WorkloadId("w"), [MetricPoint(10, 0.5, 800, 20)], {})
        assert [(m.workload_id, m.points[0].iteration) for m in hub.metrics] == [("w", 10)]
        state = bytes(range(256)) * 10_000  # 2.5 chunks
        (tmp_path / "state").write_bytes(state)
        await control.push_state(WorkloadId("w"), state)
        await control.push_state(WorkloadId("w"), tmp_path / "state")
        await control.push_state(WorkloadId("w"), b"")
        assert hub.states == [("n1/w", state), ("n1/w", state), ("n1/w", b"")]


async def test_one_report_takes_whatever_is_ready(
    coordinator_factory: Open, tmp_path: Path
) -> None:
    async with coordinator_factory() as hub, Node(hub.address, tmp_path).running():
        for workload in range(20):
            await hub.send(f"w{workload}", "echo", *range(20))
        await hub.answers(400)
        assert len(hub.reports) < 200
