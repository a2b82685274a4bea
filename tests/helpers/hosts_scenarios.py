"""Whole workloads on simulated hosts, and the seeded faults that they meet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from p2pdo.driving.patience import follow, persist
from p2pdo.driving.results import TaskResult
from p2pdo.driving.tasks import Tasks
from p2pdo.errors import P2pdoError
from p2pdo.node.executors import Executor, Task, WorkloadContext, task
from p2pdo.node.site import Services, default_executors
from p2pdo.node.workplace import Workplace
from p2pdo.reporting.digests import combine_digests
from p2pdo.simulation.hosts.deployment import COORDINATOR, USER, Deployment, run_hosts
from p2pdo.simulation.links.weather import Weather

NODES = ["a", "b", "c", "d"]
RUN: dict[str, Any] = {
    "kind": "optimization",
    "problem": {"name": "quadratic"},
    "algorithm": {"name": "gradient-tracking"},
    "nodes": 4,
    "rounds": 30,
    "observe_every": 10,
    "seed": 1,
    "lane": "grpc",
}
TASKS = 3
"""Of each kind, to each node."""
DEADLINE = 40.0
"""Seconds for a task, told to the driver."""
PROMISED = 200.0
"""Virtual seconds after which everything has ended, whatever happened."""
SETTLED = 60.0
"""Virtual seconds after which nothing is left of what has ended."""


class Work(Executor):
    """Tasks on the workload's thread and on the loop."""

    def __init__(self, _context: WorkloadContext) -> None:
        pass

    @task("double")
    def double(self, task: Task) -> object:
        return 2 * task.payload  # type: ignore[operator]

    @task("slow")
    async def slow(self, task: Task) -> object:
        await asyncio.sleep(0.3)
        return task.payload

    @task("fails")
    async def fails(self, task: Task) -> object:
        raise ValueError(f"cannot do {task.payload}")


@contextlib.asynccontextmanager
async def site(services: Services) -> AsyncIterator[Workplace]:
    async with default_executors(services) as base:
        yield replace(base, executors={**base.executors, "work": Work})


def deployment(seed: int, folder: Path, **settings: Any) -> Deployment:
    return Deployment(seed, folder, NODES, provide=site, **settings)


# ---- what is done ----


@dataclass
class Outcome:
    """What a run came to: its status, its states' digest, its error.

    "unknown": its submitter was refused, or gave up looking for the coordinator.
    """

    status: str
    digest: str | None = None
    error: dict[str, Any] = field(default_factory=dict)


async def run_to_the_end(network: Deployment, request: str, **settings: Any) -> Outcome:
    """Submits a run and follows it, as `p2pdo submit` and `watch` do."""
    spec = {**RUN, **settings}
    async with network.client() as client:
        try:
            workload = await persist(client, lambda: client.submit(spec, request))
            async for _ in follow(client, workload):
                pass
            end = await persist(client, lambda: client.workload(workload))
        except P2pdoError as error:
            return Outcome("unknown", error=dict(error.to_plain()))
    members = sorted(end.members, key=lambda member: member.index)
    told = [json.loads(member.result) for member in members if member.result]
    digest = None
    if end.status == "done":
        digest = combine_digests([bytes.fromhex(one["state_sha256"]) for one in told])
    return Outcome(end.status, digest, json.loads(end.error) if end.error else {})


@dataclass
class Driven:
    """What a driver was told: each result with its place, what it sent, how it ended."""

    results: list[TaskResult] = field(default_factory=list)
    sent: int = 0
    futures: list[TaskResult] = field(default_factory=list)
    error: P2pdoError | None = None


async def drive_tasks(network: Deployment) -> Driven:
    """Sends tasks of all kinds to all nodes and takes their results both ways."""
    driven = Driven()
    async with network.client() as client:
        try:
            async with Tasks(client, NODES, executor="work", keep=True) as tasks:
                sent = [
                    await tasks.broadcast(name, k, deadline=DEADLINE)
                    for k in range(TASKS)
                    for name in ("double", "slow", "fails")
                ]
                driven.sent = len(sent) * len(NODES)
                async for result in tasks.results():
                    driven.results.append(result)
                for broadcast in sent:
                    driven.futures += [result async for result in broadcast]
        except P2pdoError as error:
            driven.error = error
    return driven


# ---- what happens to it ----


class Faults:
    """Some of everything that the fault model tolerates, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        rng = self._rng = random.Random(f"faults {seed}")  # noqa: S311
        self.weather = Weather(
            delay=10 ** rng.uniform(-4, -1.3),
            loss=rng.choice([0.0, 0.0, 0.02]),
            duplicate=rng.choice([0.0, 0.1, 0.4]),
            cut=rng.choice([0.0, 0.0, 0.002, 0.01]),
            outage=rng.uniform(0.0, 2.0),
        )
        self.disk = rng.choice([0.0005, 0.01, 0.3])
        self.computing = 10 ** rng.uniform(-3, -1)
        self.is_coordinator_slow = rng.random() < 0.2
        makers = [self._coordinator, self._node, self._cut, self._partition]
        self.planned = sorted(
            ((rng.uniform(0.0, 3.0), rng.choice(makers)()) for _ in range(rng.randrange(1, 4))),
            key=lambda planned: planned[0],
        )

    def _coordinator(self) -> tuple[Any, ...]:
        return ("kill", COORDINATOR, self._rng.uniform(0.0, 15.0))

    def _node(self) -> tuple[Any, ...]:
        down = self._rng.choice([0.0, 1.0, 4.0, 8.0, 20.0, None])
        return ("kill", self._rng.choice(NODES), down)

    def _cut(self) -> tuple[Any, ...]:
        a, b = self._rng.sample([*NODES, COORDINATOR, USER], 2)
        return ("cut", a, b, self._rng.uniform(0.0, 12.0))

    def _partition(self) -> tuple[Any, ...]:
        everybody = [*NODES, COORDINATOR, USER]
        some = self._rng.sample(everybody, self._rng.randrange(1, 4))
        others = [name for name in everybody if name not in some]
        return ("part", some, others, self._rng.uniform(0.5, 25.0))

    def __str__(self) -> str:
        return str({**vars(self), "_rng": None})

    async def happen(self, network: Deployment) -> None:
        """All of them, at their times; ends when everything that comes back is back."""
        if self.is_coordinator_slow:
            for name in (*NODES, USER):
                slow = replace(self.weather, delay=0.7)
                network.network.weathers[frozenset((name, COORDINATOR))] = slow
        async with asyncio.TaskGroup() as group:
            for when, what in self.planned:
                group.create_task(self._happen(network, when, what))

    async def _happen(self, network: Deployment, when: float, what: tuple[Any, ...]) -> None:
        await asyncio.sleep(when)
        match what:
            case ("kill", name, down):
                network.kill(name)
                if down is None:
                    return
                await asyncio.sleep(down)
                if network.process(name).is_running:  # it was killed twice
                    return
                if name == COORDINATOR:
                    network.start_coordinator()
                else:
                    network.start_node(name, connect_timeout=60.0)
            case ("cut", a, b, outage):
                network.network.cut(a, b, outage)
            case ("part", some, others, lasts):
                network.network.part(some, others, lasts)

    def calm(self, network: Deployment) -> None:
        """From now on the links are good."""
        network.network.weather = Weather(delay=0.001)
        network.network.weathers.clear()


@dataclass
class Played:
    """One seed's story.

    Attributes:
        late: what had not ended when it was promised to.
        left: tasks of the loop that are there behind the end, and were not before.
        after: how a run went that was submitted when all was calm.
    """

    run: Outcome | None
    driven: Driven | None
    late: list[str]
    left: Counter[str]
    after: Outcome | None
    bugs: list[BaseException]
    trace: str
    lines: list[str]


def play(seed: int, folder: Path, faults: Faults | None = None) -> Played:
    """A run and a driver at once, under the seed's faults; then, when all is calm, another run."""

    async def main() -> Played:
        happening = faults or Faults(seed)
        times = {"disk": happening.disk, "computing": happening.computing}
        network = deployment(seed, folder, **times)
        async with network.running():
            await asyncio.sleep(20.0)  # until every channel and timer is at rest
            before = _tasks()
            network.network.weather = happening.weather
            work = {
                "run": asyncio.create_task(run_to_the_end(network, f"run {seed}")),
                "driver": asyncio.create_task(drive_tasks(network)),
                "faults": asyncio.create_task(happening.happen(network)),
            }
            _, late = await asyncio.wait(work.values(), timeout=PROMISED)
            lines = [name for name, one in work.items() if one in late]
            for one in late:
                one.cancel()
            happening.calm(network)
            alive = [name for name in NODES if network.process(name).is_running]
            await asyncio.sleep(SETTLED)
            left = _tasks() - before
            async with asyncio.timeout(PROMISED):
                after = await run_to_the_end(network, f"after {seed}", nodes=alive)
        trace = network.network.trace
        run, driven = (None if one in late else one.result() for one in list(work.values())[:2])
        return Played(run, driven, lines, left, after, network.bugs, trace.digest, trace.lines)

    return run_hosts(seed, main)


def _tasks() -> Counter[str]:
    return Counter(one.get_name() for one in asyncio.all_tasks())
