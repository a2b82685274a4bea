"""The `processes` executor: real daemons on this machine, one process a node, real gRPC.

    launcher ──stdin: token──▶ coordinator, node-0 … node-(N−1)      (each reports its port)
    launcher ──submit, watch──▶ coordinator ──tasks──▶ nodes ◀──values──▶ nodes
    launcher ◀──observed states, verdicts──▶ nodes

The launcher owns all the data, so it may observe states; they go to it directly. Every loopback
connection shows the run's token. When the launcher is gone, its children end and the coordinator
removes the work folder; when a child is gone, the run ends (`api.children`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Method
from p2pdo.api.children import LOOPBACK, Children, Happened
from p2pdo.api.jobs import Job
from p2pdo.api.parameters import parameters_of
from p2pdo.api.timelines import TimelineFile
from p2pdo.data import encode
from p2pdo.data.parts import check_part, part_path, write_part
from p2pdo.driving.client import Client
from p2pdo.driving.results import count_headers, count_links
from p2pdo.errors import LocalProtocolError, P2pdoError, from_plain
from p2pdo.node.optimization import TIMELINE
from p2pdo.participants.definition import require_plain
from p2pdo.protocol.asynchronous.auditing import has_ledger
from p2pdo.protocol.asynchronous.plan import MAX_STALENESS
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.transports import rpc
from p2pdo.transports.observation import ObserverServer
from p2pdo.types import Plain
from p2pdo.wire.v1 import coordinator_pb2 as pb

Tell = Callable[[Judgement], None]


class Carried(NamedTuple):
    """What carried the values; see `reporting.records.Summary`."""

    links: dict[str, int]
    header_bytes: int


async def run_processes(
    job: Job,
    judge: Judge,
    tell: Tell,
    *,
    folder: Path,
    is_temporary: bool,
    happened: Happened,
    request_id: str,
    timeline: TimelineFile | None = None,
) -> tuple[Sequence[Report], Carried]:
    """Runs the job in processes of its own; returns each node's resulting state, and by what way.

    `folder` takes the processes' logs, and their work while they run; the children remove that,
    or all of a temporary folder, if the launcher dies. `happened(event, fields)`
    is told of starts and ends. The `timeline` is written however the run ends.

    Raises:
        WorkloadFailed: a process died, or a node failed; with node and iteration.
    """
    work = make_work_folder(job, folder)
    token = secrets.token_hex(32)
    left_behind = work.parent if is_temporary else work
    handover: dict[str, Plain] = {"token": token, "ephemeral": str(left_behind), "allow_code": True}
    observer = _Observer(judge, tell)
    state = work.parent / "nodes" if job.record else work  # histories stay
    workload = workload_id_of(request_id)
    try:
        async with (
            _observing(observer.server, token) as observer_address,
            Children(folder / "logs", handover, lambda: _judged(judge), happened) as children,
        ):
            coordinator = await children.start_coordinator(work)
            names = [job.plan.name(node) for node in range(job.plan.nodes)]
            await children.start_nodes(names, coordinator, lambda name: state / name)
            async with Client(coordinator, token) as client:
                spec = _specification(job, work, observer_address, timeline)
                await children.watched(_run_workload(client, spec, request_id), observer.failure)
                ended = await client.workload(workload)
                carried = Carried(count_links(ended), count_headers(ended))
    finally:
        if timeline is not None:  # the children have ended, and have written theirs
            await timeline.collect(lambda name: state / name / "workloads" / workload / TIMELINE)
        shutil.rmtree(work, ignore_errors=True)
    _require_all(judge, job.plan)
    return judge.latest, carried


async def run_participants(
    spec: Mapping[str, Plain],
    names: Sequence[str],
    state: Callable[[str], Path],
    told: Callable[[pb.NetworkPoint], None],
    *,
    folder: Path,
    is_temporary: bool,
    happened: Happened,
    request_id: str,
) -> pb.Workload:
    """Runs a participant in processes of its own; returns the workload as it ended.

    `state` is the folder of a node, which stays. Nobody observes states: `told` is called with
    what the nodes tell the coordinator.

    Raises:
        WorkloadFailed: a process died, or a node failed; with node and round.
    """
    work = _make_private(folder)
    token = secrets.token_hex(32)
    left_behind = work.parent if is_temporary else work
    handover: dict[str, Plain] = {"token": token, "ephemeral": str(left_behind), "allow_code": True}
    reached = 0

    def tell(point: pb.NetworkPoint) -> None:
        nonlocal reached
        reached = point.iteration
        told(point)

    no_failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        async with Children(folder / "logs", handover, lambda: reached, happened) as children:
            coordinator = await children.start_coordinator(work)
            await children.start_nodes(names, coordinator, state)
            async with Client(coordinator, token) as client:
                await children.watched(_run_workload(client, spec, request_id, tell), no_failure)
                return await client.workload(workload_id_of(request_id))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _judged(judge: Judge) -> int:
    return judge.latest[0].iteration if judge.latest else 0


def _require_all(judge: Judge, plan: Plan) -> None:
    """A node reports its result after the launcher has its states; so all of them are here."""
    may_end_before = plan.settle is not None
    is_final = bool(judge.latest) and (may_end_before or _judged(judge) == plan.rounds)
    if judge.stopped_at is None and not is_final:
        raise LocalProtocolError("the workload is done, but its final states were not observed")


def check_crossing(job: Job) -> None:
    """Refuses what cannot cross to the nodes' processes; nothing has been written or started.

    Raises:
        ConfigError: a problem or the algorithm exists only here; says why, and what to change.
    """
    for problem in job.plan.problems:
        check_part(problem)
    algorithm = job.plan.algorithm
    _place_of(type(algorithm))
    for name, value in parameters_of(algorithm).items():
        require_plain(value, f"the parameter '{name}' of {type(algorithm).__name__}")


@contextlib.asynccontextmanager
async def serving_processes(
    names: Sequence[str],
    folder: Path,
    config: Path | None,
    happened: Happened = lambda _event, _fields: None,
) -> AsyncIterator[tuple[Client, Callable[[Awaitable[None]], Awaitable[None]]]]:
    """A coordinator and nodes with this configuration, in processes of their own.

    Gives the coordinator's client, and what does some work while all of them live and raises
    `WorkloadFailed` where one dies.
    """
    token = secrets.token_hex(32)
    handover: dict[str, Plain] = {"token": token, "ephemeral": str(folder), "allow_code": True}
    no_failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with Children(folder / "logs", handover, lambda: 0, happened) as children:
        coordinator = await children.start_coordinator(folder)
        await children.start_nodes(names, coordinator, lambda name: folder / name, config)
        async with Client(coordinator, token) as client:
            yield client, lambda work: children.watched(work, no_failure)


def make_work_folder(job: Job, folder: Path) -> Path:
    """Writes every node's problem and start, where only this user can read them."""
    work = _make_private(folder)  # the nodes' states come into it too
    parts = work / "parts"
    parts.mkdir(mode=0o700)
    for node, problem in enumerate(job.plan.problems):
        write_part(part_path(parts, node), problem, job.plan.starts[node])
    return work


def _make_private(folder: Path) -> Path:
    work = folder.resolve() / ".work"
    work.mkdir(parents=True, mode=0o700)
    return work


class _Observer:
    """Judges what the nodes report, and tells them; a failure of its own ends the run."""

    def __init__(self, judge: Judge, tell: Tell) -> None:
        self.server = ObserverServer(self._receive)
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._judge = judge
        self._tell = tell

    def _receive(self, report: Report) -> None:
        if self.failure.done():
            return
        try:
            for judgement in self._judge.receive(report):
                self._tell(judgement)
                self.server.tell(judgement)
        except P2pdoError as error:
            self.failure.set_exception(error)


@contextlib.asynccontextmanager
async def _observing(observer: ObserverServer, token: str) -> AsyncIterator[str]:
    server = rpc.make_server(token)
    observer.register(server)
    address = rpc.bind(server, LOOPBACK)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


def _specification(
    job: Job, work: Path, observer: str, timeline: TimelineFile | None
) -> dict[str, Plain]:
    plan = job.plan
    cls = type(plan.algorithm)
    return {
        "problem": {"name": job.problem, "parts": str(work / "parts")},
        "algorithm": {
            "name": algorithms.name_of(cls),
            "parameters": parameters_of(plan.algorithm),
            "where": _place_of(cls),
        },
        "nodes": [plan.name(i) for i in range(plan.nodes)],
        "topology": job.topology_data(),
        "weights": job.request.weights,
        "rounds": plan.rounds,
        "observe_every": plan.observe_every,
        "seed": plan.seed,
        "dtype": job.request.dtype,
        "observer": observer,
        "record": list(job.record),
        "lane": job.request.lane,
        "codec": plan.codec,
        "tol": plan.tol,
        "settle": None if plan.settle is None else plan.settle.tol,
        "timeline": None if timeline is None else timeline.spans_of_each,
        "max_staleness": job.request.max_staleness or MAX_STALENESS,
        "monitor": _monitor_of(plan),
    }


def _monitor_of(plan: Plan) -> int | str:
    """As it is asked of a coordinator; of one node nothing but its own part could be told."""
    every, algorithm = plan.monitor_every, plan.algorithm
    if isinstance(algorithm, AsynchronousAlgorithm):
        has_something = has_ledger(type(algorithm))
    else:
        has_something = bool(algorithm.invariants)
    return "off" if every is None or not has_something or plan.nodes == 1 else every


def _place_of(cls: type[Method]) -> str | None:
    """Where the nodes import the class from; None for one of the library."""
    return None if algorithms.is_of_the_library(algorithms.name_of(cls)) else encode.locate(cls)


async def _run_workload(
    client: Client,
    spec: Mapping[str, Plain],
    request_id: str,
    told: Callable[[pb.NetworkPoint], None] = lambda _point: None,
) -> None:
    """Submits and waits for the end; `told` is called with each metric.

    Raises:
        WorkloadFailed: as the coordinator tells it.
    """
    workload = await client.submit(spec, request_id)
    async for event in client.watch(workload):
        if event.WhichOneof("event") == "metric":
            told(event.metric)
        if event.WhichOneof("event") != "status":
            continue
        status = event.status
        if status.status == "failed":
            raise from_plain(json.loads(status.error))
        if status.status in ("done", "stopped"):
            return
