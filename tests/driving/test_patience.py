"""What drivers do while their coordinator is away, in virtual time; and when it is restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.driving.patience import PATIENCE, follow, persist
from p2pdo.errors import P2pdoError, Unreachable, WorkloadStopped
from p2pdo.testing import clock
from p2pdo.transports.host import THIS_HOST
from p2pdo.wire.v1 import coordinator_pb2 as pb

Script = Callable[[], AsyncIterator[pb.WorkloadEvent]]


def status(word: str, **error: str) -> pb.WorkloadEvent:
    told = json.dumps(error) if error else ""
    return pb.WorkloadEvent(status=pb.Workload(workload_id="w", status=word, error=told))


def result(task_id: str, value: object) -> pb.WorkloadEvent:
    told = pb.TaskResult(task_id=task_id, node="a", name="add", ok=True, payload=json.dumps(value))
    return pb.WorkloadEvent(result=told)


class Fake:
    """A client whose coordinator plays one script for each connection, then stays away."""

    host = THIS_HOST

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.sent = asyncio.Event()
        self.closed: list[str] = []

    async def watch(self, _workload: str, seen: int = 0) -> AsyncIterator[pb.WorkloadEvent]:
        if not self.scripts:
            raise Unreachable("nobody answers")
        async for event in self.scripts.pop(0)():
            yield event

    async def nodes(self) -> list[pb.Node]:
        return []

    async def submit(self, _spec: object, _request: str) -> str:
        return "w"

    async def send_tasks(self, _w: str, _r: str, tasks: list[Any]) -> list[str]:
        self.sent.set()
        return [f"t{i}" for i in range(len(tasks))]

    async def abort_tasks(self, *_about: object) -> list[str]:
        raise Unreachable("nobody answers")

    async def close_workload(self, workload: str) -> None:
        self.closed.append(workload)

    async def stop(self, _workload: str, _reason: str) -> str:
        raise Unreachable("nobody answers")


async def quiet_for_an_hour_then_lost() -> AsyncIterator[pb.WorkloadEvent]:
    yield status("running")
    await asyncio.sleep(3600)
    raise Unreachable("the coordinator was restarted")


async def ends() -> AsyncIterator[pb.WorkloadEvent]:
    yield result("t0", 7)
    yield status("done")


async def quiet() -> AsyncIterator[pb.WorkloadEvent]:
    yield status("running")
    await asyncio.Event().wait()


def test_a_coordinator_that_was_quiet_for_long_is_looked_for_all_the_same() -> None:
    async def main() -> list[str | None]:
        fake: Any = Fake(quiet_for_an_hour_then_lost, ends)
        return [event.WhichOneof("event") async for event in follow(fake, "w")]

    assert clock.run(main()) == ["status", "result", "status"]


@pytest.mark.parametrize("seed", range(20))
def test_each_result_is_told_once_and_in_order_however_often_the_coordinator_breaks(
    seed: int,
) -> None:
    """It is cut off after any number of events, and in the middle of the results of one step."""
    draw = random.Random(seed)  # noqa: S311
    total = 200

    class Breaking:
        breaks = 0
        host = THIS_HOST

        async def watch(self, _workload: str, seen: int) -> AsyncIterator[pb.WorkloadEvent]:
            assert 0 <= seen <= total
            yield status("running")
            while seen < total:
                for _ in range(draw.randrange(1, 9)):
                    if seen < total:
                        yield result(f"t{seen}", seen)
                        seen += 1
                if draw.random() < 0.2:
                    self.breaks += 1
                    raise Unreachable("killed")
                await asyncio.sleep(draw.random())
            yield status("done")

    async def main() -> list[str]:
        fake: Any = Breaking()
        told = [event async for event in follow(fake, "w")]
        assert fake.breaks
        return [event.result.task_id for event in told if event.HasField("result")]

    assert clock.run(main()) == [f"t{i}" for i in range(total)]


def test_a_coordinator_that_stays_away_is_given_up() -> None:
    async def main() -> float:
        fake: Any = Fake()
        with pytest.raises(Unreachable, match="nobody answers"):
            [_ async for _ in follow(fake, "w")]
        return asyncio.get_running_loop().time()

    assert PATIENCE < clock.run(main()) < PATIENCE + 5


def test_a_call_is_repeated_until_it_is_answered() -> None:
    async def main() -> str:
        answers: list[object] = [Unreachable("away"), Unreachable("away"), "here"]

        async def call() -> str:
            answer = answers.pop(0)
            if isinstance(answer, P2pdoError):
                raise answer
            return str(answer)

        client: Any = Fake()
        return await persist(client, call)

    assert clock.run(main()) == "here"


def test_results_that_are_told_after_the_end_are_not_lost() -> None:
    """Who comes back to a workload that is over is told its status first."""

    async def lost_after_sending(fake: Fake) -> AsyncIterator[pb.WorkloadEvent]:
        yield status("running")
        await fake.sent.wait()
        raise Unreachable("away")

    async def over() -> AsyncIterator[pb.WorkloadEvent]:
        yield status("done")
        await asyncio.sleep(1)
        yield result("t0", 7)

    async def main() -> None:
        fake: Any = Fake()
        fake.scripts = [lambda: lost_after_sending(fake), over]
        async with p2pdo.Tasks(fake, ["a"]) as tasks:
            first, second = (await tasks.broadcast("add", to=["a", "b"]))._futures
            assert (await first).value == 7
            with pytest.raises(WorkloadStopped, match="the workload was closed"):
                await second
        assert fake.closed == [], "it was closed by somebody else"

    clock.run(main())


def test_a_result_that_is_told_before_its_sender_knows_the_task_is_kept_for_it() -> None:
    """As when the answer to the sender was lost, and the coordinator has been restarted since."""

    async def main() -> None:
        fake: Any = Fake()
        told, answered = asyncio.Event(), asyncio.Event()

        async def early() -> AsyncIterator[pb.WorkloadEvent]:
            await fake.sent.wait()
            for value in (7, 8):  # the second time is nobody's
                yield result("t0", value)
            told.set()
            await asyncio.Event().wait()

        async def send_tasks(*_about: object) -> list[str]:
            fake.sent.set()
            await answered.wait()
            return ["t0"]

        fake.scripts, fake.send_tasks = [early], send_tasks
        async with p2pdo.Tasks(fake, ["a"]) as tasks:
            first = asyncio.create_task(tasks.send("add", to="a"))
            second = asyncio.create_task(tasks.send("add", to="a"))
            await told.wait()
            answered.set()
            assert (await (await first)).value == 8
            assert not (await second).done(), "one result is of one sender"
            assert not tasks._waiting._early

    clock.run(main())


def test_who_still_sends_when_the_driver_leaves_is_told() -> None:
    async def main() -> None:
        fake: Any = Fake(quiet)
        answered = asyncio.Event()

        async def send_tasks(*_about: object) -> list[str]:
            fake.sent.set()
            await answered.wait()
            return ["t0"]

        fake.send_tasks = send_tasks
        async with p2pdo.Tasks(fake, ["a"]) as tasks:
            sending = asyncio.create_task(tasks.send_and_wait("add", to="a", deadline=5))
            await fake.sent.wait()
        answered.set()
        with pytest.raises(WorkloadStopped, match="its driver was closed"):
            await sending

    clock.run(main())


def test_a_deadline_that_cannot_be_told_ends_the_wait_with_the_reason() -> None:
    async def main() -> None:
        fake: Any = Fake(quiet)
        async with p2pdo.Tasks(fake, ["a"]) as tasks:
            with pytest.raises(Unreachable):
                await tasks.send_and_wait("add", to="a", deadline=5)

    clock.run(main())


def test_a_driver_that_cannot_say_goodbye_says_what_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> float:
        fake: Any = Fake(quiet)
        async with p2pdo.Tasks(fake, ["a"]) as tasks:
            await tasks.send("add", to="a", deadline=1)
            await asyncio.sleep(2)  # its abort is on its way, and does not hold us
        return asyncio.get_running_loop().time()

    assert clock.run(main()) < PATIENCE / 2
    assert "when it is back: p2pdo stop w" in caplog.text


# ---- the real ones ----


class Gate(p2pdo.Executor):
    """Does a task at once, or when the test lets it."""

    def __init__(self, entered: asyncio.Event, opened: asyncio.Event) -> None:
        self.entered = entered
        self.opened = opened

    @p2pdo.task
    async def hold(self, task: p2pdo.Task) -> object:
        self.entered.set()
        await self.opened.wait()
        return task.payload

    @p2pdo.task
    def echo(self, task: p2pdo.Task) -> object:
        return task.payload


class Coordinator:
    """One that is killed and started again, at one address and on one folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.address = "127.0.0.1:0"
        self._settings = Settings(**settings)
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        serve = serving(self.folder, self.address, settings=self._settings, grace=0.0)
        self.address = await self._stack.enter_async_context(serve)

    async def stop(self) -> None:
        await self._stack.aclose()

    async def while_away(self, call: Awaitable[Any]) -> Any:
        """What a call comes to that begins while nobody answers."""
        await self.stop()
        under_way = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        await self.start()
        return await under_way


@contextlib.asynccontextmanager
async def network(
    folder: Path, gate: Gate, **settings: Any
) -> AsyncIterator[tuple[Coordinator, p2pdo.RemoteNetwork]]:
    coordinator = Coordinator(folder / "coordinator", **settings)
    await coordinator.start()
    try:
        async with (
            running_nodes(["a", "b"], coordinator.address, folder, executors={"g": lambda: gate}),
            p2pdo.connect(coordinator.address) as net,
        ):
            yield coordinator, net
    finally:
        await coordinator.stop()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_sends_aborts_and_results_go_through_a_restart_of_the_coordinator(
    tmp_path: Path,
) -> None:
    gate = Gate(asyncio.Event(), asyncio.Event())
    async with network(tmp_path, gate) as (coordinator, net), net.driver() as tasks:
        held = await tasks.send("hold", 1, to="a")
        await gate.entered.wait()
        broadcast = await coordinator.while_away(tasks.broadcast("echo", 2))
        given_up = await tasks.send("hold", 3, to="a")
        await coordinator.while_away(tasks.abort([given_up], "not needed"))
        assert (await given_up).status == "aborted"
        gate.opened.set()
        await coordinator.stop()  # results are under way to nobody
        await coordinator.start()
        assert (await held).value == 1
        assert sorted([result.node async for result in broadcast]) == ["a", "b"]
        assert (await tasks.send_and_wait("echo", 4, to="a")).value == 4
    assert not tasks._waiting._futures


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_driver_that_leaves_while_the_coordinator_is_restarted_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    gate = Gate(asyncio.Event(), asyncio.Event())
    async with network(tmp_path, gate) as (coordinator, net):
        tasks = await net.driver().__aenter__()
        assert (await tasks.send_and_wait("echo", 1, to="a")).is_ok
        await coordinator.while_away(tasks.__aexit__(None, None, None))
        (workload,) = await net.client.workloads()
        assert workload.status == "done"


async def endless(_tasks: p2pdo.Tasks) -> object:
    await asyncio.Event().wait()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_who_waits_for_a_controller_hears_that_a_restart_has_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(asyncio.Event(), asyncio.Event())
    async with network(tmp_path, gate, controllers={"endless": endless}) as (coordinator, net):
        watched = asyncio.Event()
        watch = net.client.watch

        async def noticed(workload_id: str, seen: int) -> AsyncIterator[pb.WorkloadEvent]:
            async for event in watch(workload_id, seen):
                watched.set()
                yield event

        monkeypatch.setattr(net.client, "watch", noticed)
        work = asyncio.create_task(net.control("endless"))
        await watched.wait()
        await coordinator.stop()
        await coordinator.start()
        with pytest.raises(P2pdoError, match="restarted while controller 'endless' ran"):
            await work
