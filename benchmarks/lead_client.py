"""How fast one Lead Client serves a hundred clients, over a real coordinator and real gRPC.

    python benchmarks/lead_client.py [--json] [--repeat 3]

The node is this process. The coordinator, with its database, and the user who sends the tasks are
another one. Handlers sleep 20 ms on their clients' threads.

    at once    400 tasks for 100 clients wait at the coordinator when the node opens its stream.
               Wall time from the first arrival to the last result, against 1.3 × the work of the
               client that got most; beside it, the same sleeps on a hundred bare threads.
    paced      every client gets a task each 40 ms, or as fast as the coordinator takes them.
    blocked    one client is blocked for 2 s while 100 others get a task each 400 ms: the time
               from a task's arrival at the Lead Client to the start of its handler.
    no-op      tasks per second with asynchronous handlers that do nothing, end to end; in the
               node alone: p2pdo bench router.

Every run checks that nothing was lost and that no client's tasks were reordered. The best of
`--repeat` runs counts for throughput and walls, the median run for latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from p2pdo.transports import rpc  # before anything that imports grpc

# isort: split
from p2pdo.coordinator.serving import serving
from p2pdo.node.control import Control
from p2pdo.node.control_words import Identity
from p2pdo.node.executors import Executor, Handler, Task, WorkloadContext
from p2pdo.node.lead_client import LeadClient
from p2pdo.node.workplace import Workplace
from p2pdo.types import WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as pb, coordinator_pb2_grpc as pb_grpc

NODE = "n1"
CLIENTS = 100
TASKS = 400
SLEEP = 0.020
WALL_BOUND = 1.3  # × the longest client's own work
START_BOUND_MS = 10.0  # from arrival to the handler's start, median and p95

Plan = list[tuple[float, int, str, Any, int]]
"""What to send: (seconds from now, which workload, the task's name, its payload, how many)."""


# ---- the other process: a coordinator and its user ----


class Hub:
    """A coordinator with its user, told what to do by method name."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._workloads: list[str] = []

    async def submit(self, count: int) -> None:
        """Makes workloads of kind "tasks" as soon as the node is there."""
        while not any(  # noqa: ASYNC110 - the node joins when it does
            node.name == NODE and node.state == "up"
            for node in (await self._user.ListNodes(pb.ListNodesRequest())).nodes
        ):
            await asyncio.sleep(0.01)
        spec = json.dumps({"kind": "tasks", "executor": "work", "nodes": [NODE]})
        for _ in range(count):
            request = pb.SubmitRequest(request_id=f"{time.perf_counter_ns()}", spec=spec)
            self._workloads.append((await self._user.Submit(request)).workload_id)

    async def send(self, plan: Plan) -> None:
        """Sends what is planned, each at its time, and returns when all is accepted."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for at, place, name, payload, count in sorted(plan, key=lambda entry: entry[0]):
                await asyncio.sleep(began + at - loop.time())
                group.create_task(self._send(self._workloads[place], name, payload, count))

    async def _send(self, workload: str, name: str, payload: Any, count: int) -> None:
        task = pb.NewTask(node=NODE, name=name, payload=json.dumps(payload))
        await self._user.SendTasks(
            pb.SendTasksRequest(
                workload_id=workload, request_id=f"{time.perf_counter_ns()}", tasks=[task] * count
            )
        )

    async def results(self, counts: list[int]) -> list[list[int]]:
        """So many results of each workload, in the order in which they were accepted."""
        return await asyncio.gather(
            *(
                self._results(workload, count)
                for workload, count in zip(self._workloads, counts, strict=True)
            )
        )

    async def _results(self, workload: str, count: int) -> list[int]:
        found: list[int] = []
        if count:
            call = self._user.Watch(pb.WatchRequest(workload_id=workload))
            async for event in call:
                if event.WhichOneof("event") == "result":
                    found.append(json.loads(event.result.payload))
                    if len(found) == count:
                        break
            call.cancel()
        return found


async def serve_hub() -> None:
    """Reads commands from stdin, one JSON [method, argument] a line, and answers each."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), "127.0.0.1:0") as address:
            print(json.dumps(address), flush=True)
            async with rpc.make_channel(address) as channel:
                hub = Hub(pb_grpc.CoordinatorStub(channel))
                while line := await reader.readline():
                    method, argument = json.loads(line)
                    answer = await getattr(hub, method)(argument)
                    print(json.dumps(answer), flush=True)


# ---- this process: the node ----


@dataclass
class Book:
    """What happened at the node: when tasks arrived, started and ended, and in which order."""

    arrived: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    order: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    last_end: float = 0.0

    def start(self, task: Task) -> None:
        self.started[task.task_id] = time.perf_counter()
        self.order[task.workload_id].append(task.number)

    def delays_ms(self) -> list[float]:
        return sorted(1e3 * (self.started[key] - self.arrived[key]) for key in self.started)


class Work(Executor):
    """Sleeps on its thread, or does nothing on the loop."""

    def __init__(self, _context: WorkloadContext, book: Book) -> None:
        self._book = book
        self._handlers: Mapping[str, Handler] = {"sleep": self._sleep, "nothing": self._nothing}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return self._handlers

    def _sleep(self, task: Task) -> object:
        self._book.start(task)
        time.sleep(task.payload)  # type: ignore[arg-type]
        self._book.last_end = time.perf_counter()
        return task.number

    async def _nothing(self, task: Task) -> object:
        self._book.order[task.workload_id].append(task.number)
        return task.number


class TimedLead:
    """Notes when tasks arrive at the Lead Client."""

    def __init__(self, lead: LeadClient, book: Book) -> None:
        self._lead = lead
        self._book = book
        self.stream_opened = lead.stream_opened

    @property
    def default_credit(self) -> int:
        return self._lead.default_credit

    def take_orders(self, tasks: Sequence[Task], ends: Sequence[tuple[WorkloadId, str]]) -> None:
        now = time.perf_counter()
        for task in tasks:
            self._book.arrived[task.task_id] = now
        self._lead.take_orders(tasks, ends)


class Rig:
    """A node that has joined the hub in the other process."""

    def __init__(self, hub: asyncio.subprocess.Process, serve: Callable[[], None]) -> None:
        self.book = Book()
        self.open_stream = serve
        self._hub = hub

    async def ask(self, method: str, argument: Any) -> Any:
        assert self._hub.stdin is not None
        assert self._hub.stdout is not None
        self._hub.stdin.write(json.dumps([method, argument]).encode() + b"\n")
        return json.loads(await self._hub.stdout.readline())

    async def check(self, counts: list[int]) -> None:
        """Waits for the results; nothing is lost, nothing reordered."""
        for numbers in await self.ask("results", counts):
            assert numbers == list(range(len(numbers)))
        for numbers in self.book.order.values():
            assert numbers == list(range(len(numbers)))
        assert sorted(map(len, self.book.order.values())) == sorted(filter(None, counts))


@contextlib.asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    hub = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--hub",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    assert hub.stdin is not None
    assert hub.stdout is not None
    try:
        address = json.loads(await hub.stdout.readline())
        async with (
            Control(address, Identity(NODE, "127.0.0.1:1")).joined(timeout=10) as control,
            asyncio.TaskGroup() as group,
        ):
            book = Book()
            executors = Workplace({"work": lambda context: Work(context, book)})
            async with LeadClient(
                NODE, executors, grant=control.grant, report=control.report
            ).running() as lead:
                serving_: list[asyncio.Task[None]] = []

                def serve() -> None:
                    orders = TimedLead(lead, book)
                    serving_.append(group.create_task(control.serve(orders)))

                made = Rig(hub, serve)
                made.book = book
                yield made
                for task in serving_:
                    task.cancel()
    finally:
        hub.stdin.close()
        await hub.wait()


async def at_once(clients: int = CLIENTS, tasks: int = TASKS) -> dict[str, float]:
    """Everything waits at the coordinator; one each, the rest at random."""
    counts = _shares(clients, tasks)
    async with rig() as node:
        await node.ask("submit", clients)
        await node.ask("send", [(0, i, "sleep", SLEEP, n) for i, n in enumerate(counts)])
        node.open_stream()
        await node.check(counts)
        wall = node.book.last_end - min(node.book.arrived.values())
        return {"wall_s": wall, "longest_s": max(counts) * SLEEP}


def _shares(clients: int, tasks: int) -> list[int]:
    """One task each, the rest at random, the same each time."""
    counts = [1] * clients
    rng = random.Random(1)  # noqa: S311
    for _ in range(tasks - clients):
        counts[rng.randrange(clients)] += 1
    return counts


async def at_once_by_hand(clients: int = CLIENTS, tasks: int = TASKS) -> float:
    """Seconds for the same sleeps on as many threads, each result awaited on the loop."""
    loop = asyncio.get_running_loop()

    def work(calls: queue.SimpleQueue[asyncio.Future[None] | None]) -> None:
        while (done := calls.get()) is not None:
            time.sleep(SLEEP)
            loop.call_soon_threadsafe(done.set_result, None)

    async def client(count: int) -> None:
        calls: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        threading.Thread(target=work, args=(calls,), daemon=True).start()
        for _ in range(count):
            done: asyncio.Future[None] = loop.create_future()
            calls.put(done)
            await done
        calls.put(None)

    began = time.perf_counter()
    await asyncio.gather(*map(client, _shares(clients, tasks)))
    return time.perf_counter() - began


async def paced(
    clients: int = CLIENTS, each: int = 4, pace: float = 0.040, blocked: float = 0.0
) -> dict[str, float]:
    """Each client's tasks `pace` seconds apart, clients spread evenly; one more may be blocked.

    Half of the clients get their first task when the others have had two.
    """
    plan: Plan = []
    for client in range(clients):
        late = 2 * pace if client % 2 else 0.0
        for k in range(each):
            plan.append(((k + client / clients) * pace + late, client, "sleep", SLEEP, 1))
    counts = [each] * clients + [1 if blocked else 0]
    if blocked:
        plan.append((0, clients, "sleep", blocked, 1))
    async with rig() as node:
        await node.ask("submit", clients + 1)
        node.open_stream()
        await node.ask("send", plan)
        await node.check(counts)
        delays = node.book.delays_ms()
        span = max(node.book.arrived.values()) - min(node.book.arrived.values())
        return {
            "median_ms": statistics.median(delays),
            "p95_ms": delays[int(0.95 * len(delays))],
            "max_ms": delays[-1],
            "arrivals_per_s": len(delays) / span,
        }


async def no_op(clients: int = CLIENTS, each: int = 200) -> dict[str, float]:
    """Everything waits at the coordinator; until the last result is there."""
    async with rig() as node:
        await node.ask("submit", clients)
        await node.ask("send", [(0, i, "nothing", None, each) for i in range(clients)])
        began = time.perf_counter()
        node.open_stream()
        await node.check([each] * clients)
        return {"tasks_per_s": clients * each / (time.perf_counter() - began)}


# ---- the table ----


def measure(repeat: int) -> dict[str, Any]:
    run = uvloop.run
    walls = [(run(at_once()), run(at_once_by_hand())) for _ in range(repeat)]
    pace = [run(paced()) for _ in range(repeat)]
    blocked = [run(paced(each=5, pace=0.4, blocked=2.0)) for _ in range(repeat)]
    no_ops = [run(no_op()) for _ in range(repeat)]
    best = min((ours for ours, _ in walls), key=lambda wall: wall["wall_s"])
    bare = min(theirs for _, theirs in walls) / best["longest_s"]
    return {
        "at_once": {
            **best,
            "ratio": best["wall_s"] / best["longest_s"],
            "bare_threads_ratio": bare,
            "bound": WALL_BOUND,
        },
        "paced": _median_run(pace),
        "blocked": {**_median_run(blocked), "bound_ms": START_BOUND_MS},
        "no_op": max(no_ops, key=lambda outcome: outcome["tasks_per_s"]),
    }


def _median_run(runs: list[dict[str, float]]) -> dict[str, float]:
    return sorted(runs, key=lambda outcome: outcome["p95_ms"])[len(runs) // 2]


def show(figures: Mapping[str, Any]) -> None:
    at, pace, block = figures["at_once"], figures["paced"], figures["blocked"]
    rows = [
        (f"at once: {TASKS} tasks, {CLIENTS} clients", _wall(at), f"≤ {WALL_BOUND} ×"),
        ("paced 40 ms: arrival → start", _delays(pace), ""),
        ("one blocked for 2 s: arrival → start", _delays(block), f"≤ {START_BOUND_MS:g} ms"),
        ("no-op, through the coordinator", f"{figures['no_op']['tasks_per_s']:,.0f} tasks/s", ""),
    ]
    for what, figure, bound in [("what", "measured", "bound"), *rows]:
        print(f"{what:<40}{figure:<58}{bound}")


def _wall(run: Mapping[str, float]) -> str:
    bare = f"(bare threads {run['bare_threads_ratio']:.2f} ×)"
    return f"{run['wall_s'] * 1e3:.0f} ms = {run['ratio']:.2f} × longest client {bare}"


def _delays(run: Mapping[str, float]) -> str:
    return (
        f"median {run['median_ms']:.1f}, p95 {run['p95_ms']:.1f}, max {run['max_ms']:.1f} ms "
        f"at {run['arrivals_per_s']:.0f}/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--hub", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hub:
        uvloop.run(serve_hub())
        return
    figures = measure(options.repeat)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
