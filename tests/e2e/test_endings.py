"""A workload that is ended, in whatever state it is, leaves nothing: two hundred endings.

What belonged to it is free within two seconds, which the long test measures for all of them.

A coordinator and three nodes in this process. Before each ending the test notes what belongs to
the workload: tasks of the loop and threads, by their names, and worker processes. After it, each of
them is waited for, and no table of node or coordinator knows the workload any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.serving import serving
from p2pdo.driving.results import TaskStatus
from p2pdo.errors import WorkloadStopped
from p2pdo.node.client import ClientActor
from p2pdo.node.lead_client import INBOX, LeadClient
from p2pdo.node.messages import Mailroom
from p2pdo.node.workers.group import WorkerGroup
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports.peers import PeerLinks

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import ending_site as site  # noqa: E402 - by the name that the nodes know it by

sys.path.remove(str(HERE))

T = TypeVar("T")
NODES = ["n0", "n1", "n2"]
PROMISED = 2.0  # seconds from the asking to when nothing is left
LIMIT = 60.0
OF_THE_DRIVER = ("results", "acknowledging")
BETWEEN_NODES = ("link to", "writer")  # tasks of connections, which outlive what they carried
LEAK = 16 * 1024 * 1024  # bytes, for 200 workloads of which the coordinator keeps a record

CONFIGURATION = """
[node]
python_path = ["{here}"]

[executors.work]
path = "ending_site:Work"

[executors.slow]
path = "ending_site:Slow"

[executors.stubborn]
path = "ending_site:Stubborn"

[executors.crunch]
path = "ending_site:Crunch"
processes = 2

[executors.hanging]
path = "ending_site:Hanging"
args = {{ pipe = "{folder}/starting" }}
processes = 1

[problems]
costly = "ending_site:costly"
slow = "ending_site:slow"

[participants]
lonely = "ending_site:lonely"

[[handlers]]
events = ["AFTER_ALGORITHM"]
path = "ending_site:finished"
"""


class Place:
    """The network, and what its parts know of a workload."""

    def __init__(self, net: p2pdo.RemoteNetwork, folder: Path) -> None:
        self.net = net
        self.folder = folder
        self.took: list[float] = []  # seconds of each ending
        (self._desk,) = living(Desk)
        self._leads = living(LeadClient)
        self._rooms = living(Mailroom)
        self._links = living(PeerLinks)

    def knows(self, workload: str) -> list[str]:
        """Every table that still has it."""
        tables: dict[str, Any] = {}
        for lead in self._leads:
            tables[f"clients {lead._node}"] = {*lead._clients, *lead._actors}
            tables[f"supervisor {lead._node}"] = lead._supervisor._children
            tables[f"routing {lead._node}"] = lead._routing.workloads
        for room in self._rooms:
            tables[f"mail {room.node}"] = room._boxes
        for links in self._links:
            tables[f"links {links.node}"] = {w for p in links._peers.values() for w in p.ports}
        desk, book = self._desk, self._desk._book
        tables["active"] = {w for active in desk._active.values() for w in active}
        tables["pending"] = {w for queues in book._pending.values() for w in queues}
        tables["leased"] = {t.workload for leased in book._leased.values() for t in leased.values()}
        tables["open"] = book._open
        return [name for name, table in tables.items() if workload in table]


def living(cls: type[T]) -> list[T]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is cls]


def threads_of(workload: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if workload in thread.name]


def tasks_of(workload: str) -> list[asyncio.Task[Any]]:
    """Those of the nodes; the test's own driver has some too."""
    return [
        task
        for task in asyncio.all_tasks()
        if workload in task.get_name() and not task.get_name().startswith(OF_THE_DRIVER)
    ]


async def here(count: int = 1) -> None:
    """Returns when so many have entered."""
    for _ in range(count):
        assert await asyncio.to_thread(site.ENTERED.acquire, timeout=LIMIT)


async def read(pipe: Path) -> int:
    return int(await asyncio.to_thread(pipe.read_text))


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]


async def gone(process: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)


async def end(place: Place, workload: str, how: Callable[[], Awaitable[object]]) -> None:
    """Ends a workload, and returns when nothing of it is left."""
    tasks, threads = tasks_of(workload), threads_of(workload)
    processes = [os.pidfd_open(pid) for pid in children()]
    began = time.monotonic()
    async with asyncio.timeout(LIMIT):
        await how()
        if tasks:
            await asyncio.wait(tasks)
        for process in processes:
            await gone(process)
        for thread in threads:
            await asyncio.to_thread(thread.join)
    place.took.append(time.monotonic() - began)
    assert [*tasks_of(workload), *threads_of(workload), *children()] == []
    assert place.knows(workload) == []


# ---- the states: each brings a workload there and ends it ----


async def stopped(run: p2pdo.RemoteRun) -> None:
    await run.stop("enough")
    with pytest.raises(WorkloadStopped, match="enough"):
        await run.result()


async def pending_at_the_coordinator(place: Place) -> None:
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver(NODES[:1]))
        sent = [await tasks.broadcast("wait") for _ in range(INBOX + 8)]
        await here()
        for broadcast in reversed(sent):
            await broadcast.abort("nobody wants it")
        for broadcast in sent:
            assert [result.status async for result in broadcast] == [TaskStatus.ABORTED]
        await end(place, tasks.workload_id, block.aclose)


async def in_the_inbox(place: Place) -> None:
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver())
        await tasks.broadcast("look")
        await here(3)
        await tasks.broadcast("wait")
        await end(place, tasks.workload_id, block.aclose)


async def on_its_thread(place: Place) -> None:
    await _in_hand(place, "look")


async def on_the_loop(place: Place) -> None:
    await _in_hand(place, "wait")


async def _in_hand(place: Place, name: str) -> None:
    """Aborted; then once more, and stopped."""
    async with place.net.driver() as tasks:
        held = await tasks.broadcast(name)
        await here(3)
        async with asyncio.timeout(LIMIT):
            await held.abort("nobody wants it")
            assert {result.status async for result in held} == {TaskStatus.ABORTED}
        await tasks.broadcast(name)
        await here(3)
        stop = place.net.client.stop
        await end(place, tasks.workload_id, lambda: stop(tasks.workload_id, "enough"))


async def a_driver_that_leaves(place: Place) -> None:
    """In the midst of a broadcast: some have answered, some are at it, some have not begun."""
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver())
        await tasks.broadcast("look", to="n0")
        await here()
        sending = asyncio.create_task(tasks.broadcast("wait"))
        await here(2)
        sending.cancel()
        await asyncio.wait({sending})
        await end(place, tasks.workload_id, block.aclose)


async def whose_executor_is_made(place: Place) -> None:
    """By a constructor that looks at nothing, on the workload's thread."""
    site.GATE.clear()
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver(executor="slow"))
        await tasks.broadcast("later")
        await here(3)

        async def close() -> None:
            await block.aclose()
            site.GATE.set()

        await end(place, tasks.workload_id, close)


async def that_does_not_let_go(place: Place) -> None:
    """What it waits for comes once the nodes have given it up."""
    site.GATE.clear()
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver())
        await tasks.broadcast("held")
        await here(3)
        clients = tasks_of(tasks.workload_id)

        async def close() -> None:
            await block.aclose()
            await asyncio.wait(clients)
            site.GATE.set()

        await end(place, tasks.workload_id, close)


async def in_worker_processes(place: Place) -> None:
    await _in_workers(place, "rest")


async def in_deaf_worker_processes(place: Place) -> None:
    await _in_workers(place, "spin")


async def _in_workers(place: Place, name: str) -> None:
    pipe = place.folder / "computing"
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver(["n0"]))
        await tasks.send(name, str(pipe), to="n0")
        pids = [await read(pipe.with_suffix(f".{rank}")) for rank in range(2)]
        assert sorted(pids) == sorted(children())
        await end(place, tasks.workload_id, block.aclose)


async def in_worker_processes_that_start(place: Place) -> None:
    async with contextlib.AsyncExitStack() as block:
        tasks = await block.enter_async_context(place.net.driver(["n0"]))
        await tasks.send("never", to="n0")
        assert await read(place.folder / "starting") in children()
        await end(place, tasks.workload_id, block.aclose)


async def configuring(place: Place) -> None:
    """One node takes its time; nothing that it calls looks at an abort."""
    site.GATE.clear()
    run = await place.net.submit("dgd", "slow", nodes=NODES, rounds=5)
    await here(3)

    async def stop() -> None:
        await stopped(run)
        site.GATE.set()

    await end(place, run.workload_id, stop)


async def running(place: Place) -> None:
    run = await place.net.submit("gradient-tracking", "quadratic", nodes=NODES, rounds=10**8)
    async for metric in run.metrics():
        if metric.iteration:
            break
    await end(place, run.workload_id, lambda: stopped(run))


async def finished_and_serving(place: Place) -> None:
    site.GATE.clear()
    run = await place.net.submit(
        "dgd", "costly", nodes=NODES, rounds=site.ROUNDS, parameters={"step_size": 0.1}
    )
    await here(3)  # node 0 at its last gradient, and the others' ends

    async def stop() -> None:
        await stopped(run)
        site.GATE.set()

    await end(place, run.workload_id, stop)


async def in_a_mix(place: Place) -> None:
    run = await place.net.submit("lonely", nodes=NODES, rounds=10)
    await here()
    await end(place, run.workload_id, lambda: stopped(run))


STATES: dict[Callable[[Place], Awaitable[None]], int] = {
    pending_at_the_coordinator: 20,
    in_the_inbox: 20,
    on_its_thread: 20,
    on_the_loop: 20,
    a_driver_that_leaves: 20,
    whose_executor_is_made: 5,
    that_does_not_let_go: 5,
    in_worker_processes: 10,
    in_deaf_worker_processes: 5,
    in_worker_processes_that_start: 10,
    configuring: 10,
    running: 20,
    finished_and_serving: 15,
    in_a_mix: 20,
}
"""How often each; those that start processes take longer."""


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Place]:
    config = folder / "p2pdo.toml"
    config.write_text(CONFIGURATION.format(here=HERE, folder=folder))
    for pipe in ("starting", "computing.0", "computing.1"):
        os.mkfifo(folder / pipe)
    async with (
        serving(folder / "coordinator", "127.0.0.1:0") as address,
        running_nodes(NODES, address, folder, executors={}, config=config),
        p2pdo.connect(address) as net,
    ):
        yield Place(net, folder)


@pytest.fixture(autouse=True)
def _nobody_has_entered() -> Iterator[None]:
    yield
    site.GATE.set()
    while site.ENTERED.acquire(blocking=False):
        pass


def holdings() -> dict[str, int]:
    """What this process has that could grow; it may shrink, by what earlier tests have left."""
    gc.collect()
    threads = [t for t in threading.enumerate() if not t.name.startswith("asyncio_")]  # a pool
    return {
        "file descriptors": psutil.Process().num_fds(),
        "threads": len(threads),
        "tasks": sum(not task.get_name().startswith(BETWEEN_NODES) for task in asyncio.all_tasks()),
        **{cls.__name__: len(living(cls)) for cls in (ClientActor, Exchanger, WorkerGroup)},
    }


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_a_workload_that_is_ended_leaves_nothing(
    state: Callable[[Place], Awaitable[None]], tmp_path: Path
) -> None:
    async with asyncio.timeout(LIMIT), network(tmp_path) as place:
        await state(place)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_two_hundred_endings_leave_nothing(tmp_path: Path) -> None:
    assert sum(STATES.values()) == 200
    async with network(tmp_path) as place:
        for state in STATES:  # imports, pools and caches
            await state(place)
        before, memory = holdings(), psutil.Process().memory_info().rss
        took: defaultdict[str, list[float]] = defaultdict(list)
        for turn in range(max(STATES.values())):
            for state, times in STATES.items():
                if turn < times:
                    place.took.clear()
                    await state(place)
                    took[state.__name__] += place.took
        after = holdings()
        assert {what: (before[what], n) for what, n in after.items() if n > before[what]} == {}
        assert psutil.Process().memory_info().rss - memory < LEAK
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    late = {name: [s for s in seconds if s >= PROMISED] for name, seconds in took.items()}
    for name, seconds in took.items():
        print(f"{name}: median {medians[name]:.2f} s, worst {max(seconds):.2f} s")  # noqa: T201
    assert max(medians.values()) < PROMISED, medians
    # One alone may meet a machine that stands still.
    assert sum(len(seconds) for seconds in late.values()) <= 2, late
