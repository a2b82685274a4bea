"""Tasks per second through the Lead Client, against routers written by hand.

All do the same: tasks of many workloads come in waves that fit the inboxes; each workload's go one
after another, in order, to an asynchronous handler that returns the task's number; a wave is over
when all its results are out. Making the tasks is part of it, for all alike.

    lead client    what a node has: supervised clients, credit, at-least-once books, executors
    by hand        a queue and a coroutine per client; the handler is looked up, and its value
                   becomes a Result in JSON
    bare queues    the same queues; no handler, no JSON, no Result
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from p2pdo.benchmarks.spread import Spread, plain
from p2pdo.benchmarks.windows import check_repeat
from p2pdo.errors import ConfigError
from p2pdo.node.executors import Executor, Result, Task, task
from p2pdo.node.lead_client import INBOX, LeadClient
from p2pdo.node.workplace import Workplace
from p2pdo.types import Plain, TaskId, WorkloadId

_MOST_CLIENTS = 10_000
_WAVE = INBOX // 2  # tasks of a client that are under way at a time


@dataclass(frozen=True)
class Load:
    """So many clients with so many tasks each."""

    clients: int = 100
    each: int = 500

    def check(self) -> None:
        """Refuses what cannot be measured.

        Raises:
            ConfigError: with what to ask for instead.
        """
        if not 1 <= self.clients <= _MOST_CLIENTS:
            raise ConfigError(
                f"--clients must be 1 to {_MOST_CLIENTS:,}, got {self.clients}",
                hint="--clients 100",
            )
        if self.each < 1:
            raise ConfigError(f"--tasks must be one or more, got {self.each}", hint="--tasks 500")

    def waves(self) -> Iterator[list[Task]]:
        for first in range(0, self.each, _WAVE):
            yield [
                Task(TaskId(f"{i}-{k}"), WorkloadId(str(i)), "work", "number", k, 1, None)
                for k in range(first, min(first + _WAVE, self.each))
                for i in range(self.clients)
            ]


@dataclass(frozen=True)
class Pace:
    """Tasks a second, and CPU microseconds a task."""

    rate: float
    cpu_us: float


class _Wave:
    """Waits until so many results are out."""

    def __init__(self) -> None:
        self._missing = 0
        self._is_over = asyncio.Event()

    def begins(self, tasks: int) -> None:
        self._missing = tasks
        self._is_over.clear()

    def out(self, results: int) -> None:
        self._missing -= results
        if not self._missing:
            self._is_over.set()

    async def over(self) -> None:
        await self._is_over.wait()


class _Numbers(Executor):
    @task
    async def number(self, task: Task) -> object:
        return task.number


async def lead_client(load: Load) -> Pace:
    """Through the Lead Client; there is no coordinator, so what it reports is taken at once."""
    wave = _Wave()

    async def report(results: Sequence[Result]) -> Sequence[Result]:
        wave.out(len(results))
        return results

    offered = Workplace({"work": lambda _context: _Numbers()})
    lead = LeadClient("node", offered, grant=lambda _credits: None, report=report)
    async with lead.running():
        return await _paced(load, wave, lead.take_orders)


async def by_hand(load: Load) -> Pace:
    """Through a router without supervision, credit, books, or a way to stop a task."""
    wave = _Wave()
    inboxes: dict[str, asyncio.Queue[Task]] = {}
    outbox: asyncio.Queue[Result] = asyncio.Queue()

    async def number(task: Task) -> object:
        return task.number

    handlers: dict[str, Callable[[Task], Awaitable[object]]] = {"number": number}

    async def client(inbox: asyncio.Queue[Task]) -> None:
        while True:
            task = await inbox.get()
            value = json.dumps(await handlers[task.name](task))
            outbox.put_nowait(Result(task.task_id, task.workload_id, task.attempt, True, value))

    async def report() -> None:
        while True:
            await outbox.get()
            wave.out(1)

    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(report())]

        def take_orders(tasks: Sequence[Task]) -> None:
            for task in tasks:
                if task.workload_id not in inboxes:
                    inboxes[task.workload_id] = asyncio.Queue(INBOX)
                    lives.append(group.create_task(client(inboxes[task.workload_id])))
                inboxes[task.workload_id].put_nowait(task)

        pace = await _paced(load, wave, take_orders)
        for life in lives:
            life.cancel()
    return pace


async def bare_queues(load: Load) -> Pace:
    """Through as many queues and coroutines, which do nothing else."""
    wave = _Wave()
    inboxes: dict[str, asyncio.Queue[Task]] = {}

    async def client(inbox: asyncio.Queue[Task]) -> None:
        while True:
            await inbox.get()
            wave.out(1)

    async with asyncio.TaskGroup() as group:
        lives: list[asyncio.Task[None]] = []

        def take_orders(tasks: Sequence[Task]) -> None:
            for task in tasks:
                if task.workload_id not in inboxes:
                    inboxes[task.workload_id] = asyncio.Queue(INBOX)
                    lives.append(group.create_task(client(inboxes[task.workload_id])))
                inboxes[task.workload_id].put_nowait(task)

        pace = await _paced(load, wave, take_orders)
        for life in lives:
            life.cancel()
    return pace


async def _paced(load: Load, wave: _Wave, take_orders: Callable[[Sequence[Task]], None]) -> Pace:
    began, cpu = time.perf_counter(), time.process_time()
    for tasks in load.waves():
        wave.begins(len(tasks))
        take_orders(tasks)
        await wave.over()
    count = load.clients * load.each
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return Pace(count / wall, 1e6 * used / count)


ROUTERS = {"lead client": lead_client, "by hand": by_hand, "bare queues": bare_queues}


@dataclass
class Routed:
    """What was measured of each router, in turns."""

    load: Load
    paces: dict[str, list[Pace]] = field(default_factory=lambda: {name: [] for name in ROUTERS})

    def rate(self, router: str) -> Spread | None:
        return Spread.of(pace.rate for pace in self.paces[router])

    def cpu_us(self, router: str) -> Spread | None:
        return Spread.of(pace.cpu_us for pace in self.paces[router])

    def share_of(self, router: str) -> Spread | None:
        """The Lead Client's tasks per CPU second as a share of another router's, turn by turn."""
        pairs = zip(self.paces["lead client"], self.paces[router], strict=True)
        return Spread.of(theirs.cpu_us / ours.cpu_us for ours, theirs in pairs)

    def to_plain(self) -> dict[str, Plain]:
        return {
            "clients": self.load.clients,
            "tasks_per_client": self.load.each,
            "routers": [
                {
                    "router": name,
                    "tasks_per_s": plain(self.rate(name)),
                    "cpu_us_per_task": plain(self.cpu_us(name)),
                    "lead_client_share": plain(self.share_of(name)),
                }
                for name in ROUTERS
            ],
        }


async def measure_routers(load: Load, repeat: int, tell: Callable[[str], None]) -> Routed:
    """Measures each router `repeat` times, in turns; `tell` hears how far it is.

    Raises:
        ConfigError: something does not fit.
    """
    load.check()
    check_repeat(repeat)
    routed = Routed(load)
    for turn in range(1, repeat + 1):
        for name, route in ROUTERS.items():
            pace = await route(load)
            routed.paces[name].append(pace)
            tell(f"run {turn} of {repeat}, {name}: {pace.rate:,.0f} tasks/s")
    return routed
