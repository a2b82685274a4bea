"""The `optimization` executor: one node's part in a run of an algorithm.

Two tasks. `config` brings the node's place in the topology; it makes the problem, opens the edges
to the neighbours and answers with what the step size depends on. `run_algorithm` brings the
resolved parameters and runs to the end. Iteration 0 starts when the neighbours' values are there;
there is no global barrier. A finished node keeps its edges open until the workload ends, because
slower neighbours still need what it sent.

Code never travels: problem and algorithm are names of this site's catalogues. Only a node that a
local run's launcher started (`allow_code`) reads parts and imports classes by their place.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import grpc.aio

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.data import encode
from p2pdo.data.parts import part_path, read_part
from p2pdo.errors import ConfigError, LocalProtocolError, P2pdoError, Unreachable
from p2pdo.node.control import Control
from p2pdo.node.edges import Assigned, Edges
from p2pdo.node.events import AFTER_ALGORITHM, BEFORE_ALGORITHM
from p2pdo.node.executors import Executor, ExecutorFactory, Task, WorkloadContext, task
from p2pdo.node.metering import Metering
from p2pdo.node.offers import Offers
from p2pdo.node.state_folder import UNWRITABLE, write_state
from p2pdo.participants.history import History
from p2pdo.protocol.asynchronous.auditing import auditor_of
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.judging import Report
from p2pdo.protocol.masking import Masks
from p2pdo.protocol.monitoring import Hiding, Watch
from p2pdo.protocol.plan import start_at
from p2pdo.protocol.settling import Settle
from p2pdo.protocol.settling_stepper import stepper_that
from p2pdo.protocol.tasks_of_runs import CONFIG, RUN
from p2pdo.reporting.digests import digest_of
from p2pdo.runtime.asynchronous import AsynchronousDriver, Mailbox
from p2pdo.runtime.compute import ShortInPlace, ThreadCompute, may_be_in_place
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.groups import task_group
from p2pdo.runtime.timeline import Timeline, timed_stepper_that
from p2pdo.storage.trouble import writing
from p2pdo.transports.observation import ObserverClient
from p2pdo.transports.peers import PeerLinks
from p2pdo.types import Array

MakeDriver: TypeAlias = Callable[..., Driver | AsynchronousDriver]

TIMELINE = "timeline.json"
"""In a workload's folder at its node: where its time went."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the executor uses of its node."""

    links: PeerLinks
    control: Control
    token: str | None
    state: Path
    allow_code: bool
    offers: Offers = field(default_factory=Offers)


def optimization(site: Site) -> ExecutorFactory:
    """The factory of this node's `optimization` executors."""
    return lambda context: Optimization(site, context)


class Optimization(Executor):
    """One workload's run at this node."""

    needed_until_end = True

    def __init__(self, site: Site, context: WorkloadContext) -> None:
        self._site = site
        self._context = context
        self._config: Assigned | None = None
        self._edges = Edges(site.links, context.workload_id)
        self._timeline: Timeline | None = None
        self._problem: Any = None
        self._start: Array | None = None

    async def close(self) -> None:
        self._edges.close()
        self._problem = self._start = None

    @task(CONFIG)
    async def configure(self, task: Task) -> object:
        config = self._config = Assigned.parse(task.payload)
        self._problem, self._start = await self._context.compute.run(self._load, config)
        most = config.spec["timeline"]
        self._timeline = None if most is None else Timeline(most)
        algorithm = self._class(config.spec["algorithm"])
        if issubclass(algorithm, AsynchronousAlgorithm):
            self._edges.open_asynchronous(config)
        else:
            self._edges.open(config, self._timeline)
        return {
            "dimension": int(self._problem.dimension),
            "smoothness": await self._constant("smoothness"),
            "strong_convexity": await self._constant("strong_convexity"),
            "is_quadratic": bool(getattr(self._problem, "is_quadratic", True)),
            **_kept(algorithm, config),
        }

    async def _constant(self, name: str) -> float | None:
        """One that the problem tells; eigenvalues take time."""
        constant = await self._context.compute.run(getattr, self._problem, name, None)
        return None if constant is None else float(constant)

    def _load(self, config: Assigned) -> tuple[Any, Array]:
        spec = config.spec
        parts = spec["problem"]["parts"]
        if parts is not None:
            self._require_code("a problem by its parts")
            return read_part(part_path(parts, config.place.node))
        problem = self._site.offers.problem(
            spec["problem"]["name"],
            config.place.node,
            config.nodes,
            partition=spec["partition"],
            seed=spec["seed"],
            dtype=spec["dtype"],
            parameters=spec["problem"]["parameters"],
        )
        start = start_at(
            problem,
            spec["start"],
            spec["algorithm"]["name"],
            node=config.place.node,
            seed=spec["seed"],
            dtype=spec["dtype"],
        )
        return problem, start

    @task(RUN)
    async def run_algorithm(self, task: Task) -> object:
        config, exchanger = self._config, self._edges.exchanger
        if config is None or exchanger is None or not isinstance(task.payload, dict):
            raise LocalProtocolError("run_algorithm came before config")
        parameters: Any = task.payload["parameters"]
        algorithm = self._algorithm(config.spec["algorithm"], parameters)
        metering = Metering(self._site.control, self._context, lambda: exchanger.lanes)
        monitor = _monitor(algorithm, config, exchanger, metering)
        drive = await self._context.compute.run(self._make, algorithm, config, exchanger, monitor)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with (
            metering.sent(),
            self._watching(config.spec, metering) as watch,
            self._recording(watch, config.spec),
        ):
            driver = drive(
                watch,
                rounds=config.spec["rounds"],
                observe_every=config.spec["observe_every"],
                judged=config.spec["tol"] is not None,
            )
            watch.driver = driver
            try:
                await self._tell(BEFORE_ALGORITHM, algorithm=algorithm, problem=self._problem)
                report = await driver.run()
                await self._tell(AFTER_ALGORITHM, algorithm=algorithm, x=report.x, report=report)
            finally:
                watch.driver = None  # what is large is let go with the run, not at some collection
                if self._timeline is not None:  # of a run that fails too
                    # Shielded: who is told to end twice would take it back before a thread has it.
                    write = partial(_write_timeline, self._folder, self._timeline)
                    await asyncio.shield(loop.run_in_executor(None, write))
        digest = await self._context.compute.run(digest_of, report.x)
        await self._keep_state(report.x, leaves=config.spec["return_states"])
        return {
            "iterations": report.iteration,
            "bytes_sent": report.bytes_sent,
            "messages_sent": report.messages_sent,
            "seconds": loop.time() - began,
            "state_sha256": digest.hex(),
            "header_bytes": self._edges.header_bytes,
            "lanes": exchanger.lanes,
        }

    def _make(
        self,
        algorithm: AnyAlgorithm,
        config: Assigned,
        exchanger: Exchanger,
        monitor: Watch | None,
    ) -> MakeDriver:
        """The first state, and what will drive it."""
        assert self._start is not None, "configured"
        arguments = (self._problem, config.place, self._start, config.spec["seed"])
        self._start = None  # it may be large, and is the state's from here on
        compute = steps = self._context.compute
        if isinstance(compute, ThreadCompute) and may_be_in_place(algorithm, self._problem):
            steps = ShortInPlace(compute)  # elsewhere there is no hop to save, or time is virtual
        if isinstance(algorithm, AsynchronousAlgorithm):
            assert isinstance(exchanger, Mailbox), "opened as such"
            most = config.spec["max_staleness"]
            member = Member(algorithm, *arguments, max_staleness=most)
            auditor = auditor_of(algorithm, config.monitor_every)
            member.watch = None if auditor is None else auditor.look
            return partial(AsynchronousDriver, member, exchanger, steps)
        settle, codec = _settle(config.spec), config.spec["codec"]
        make = stepper_that(settle, codec)
        if self._timeline is not None:
            make = timed_stepper_that(settle, self._timeline, codec)
        stepper = make(algorithm, *arguments)
        stepper.watch = monitor
        return partial(Driver, stepper, exchanger, compute, steps=steps)

    async def _tell(self, event: str, **data: Any) -> None:
        """Lets the site's components look at the run, before its first and after its last step."""
        if self._context.events is not None:
            await self._context.events.tell(event, self._context, **data)

    def _algorithm(self, spec: Mapping[str, Any], parameters: Mapping[str, Any]) -> AnyAlgorithm:
        return algorithms.build(self._class(spec), parameters)

    def _class(self, spec: Mapping[str, Any]) -> type[AnyAlgorithm]:
        self._site.offers.require_allowed("algorithms", spec["name"])
        if spec["where"] is None:
            return algorithms.find(spec["name"])
        self._require_code("an algorithm by its place")
        cls: type[AnyAlgorithm] = encode.load(spec["where"])
        return cls

    def _require_code(self, what: str) -> None:
        if not self._site.allow_code:
            raise ConfigError(
                f"this node was asked for {what}; code and data never travel to it",
                hint="submit a problem and an algorithm of the catalogues",
            )

    def _watching(
        self, spec: Mapping[str, Any], metering: Metering
    ) -> contextlib.AbstractAsyncContextManager[_Watch]:
        """Who is told of states: a launcher. Else counters go to the coordinator."""
        if spec["observer"] is not None:
            return _observed(spec["observer"], self._site)
        return contextlib.nullcontext(_Watch(lambda report: metering.tell(report, {})))

    @contextlib.asynccontextmanager
    async def _recording(self, watch: _Watch, spec: Mapping[str, Any]) -> AsyncIterator[None]:
        """Keeps every observed state in this site's history, where that was asked for.

        It is written on the workload's own thread, so a slow disk slows the steps and no queue
        grows.
        """
        if not spec["record"]:
            yield
            return
        compute, observe = self._context.compute, watch.observe
        history = History(self._folder)
        async with task_group() as group:

            def keep(report: Report) -> None:
                row = ("x", report.iteration, report.x)
                group.create_task(compute.run(history.append, *row), name="history")
                observe(report)

            watch.observe = keep
            yield
        await compute.run(history.close)

    @property
    def _folder(self) -> Path:
        return self._site.state / "workloads" / self._context.workload_id

    async def _keep_state(self, x: Array, *, leaves: bool) -> None:
        """Writes the final state at this site; sends it where the submitter may have it."""
        path = await self._context.compute.run(write_state, self._folder, x)
        if leaves:
            await self._site.control.push_state(self._context.workload_id, path)


def _settle(spec: Mapping[str, Any]) -> Settle | None:
    """When the run has settled, if it is to end there."""
    return None if spec["settle"] is None else Settle(spec["settle"], spec["hops"])


def _kept(algorithm: type[AnyAlgorithm], config: Assigned) -> dict[str, list[str]]:
    """The names of what the monitor will look at; an asynchronous node looks by itself."""
    if config.monitor_every is None or issubclass(algorithm, AsynchronousAlgorithm):
        return {}
    return {"invariants": [each.name for each in algorithm.invariants]}


def _monitor(
    algorithm: AnyAlgorithm, config: Assigned, exchanger: Exchanger, metering: Metering
) -> Watch | None:
    """Who tells the monitor, if there is one."""
    if config.monitor_every is None or isinstance(algorithm, AsynchronousAlgorithm):
        return None
    hiding = Hiding(
        algorithm.invariants,
        config.monitor_every,
        config.spec["seed"],
        lambda: Masks(config.place.node, exchanger.secrets),
        metering.tell_monitor,
    )
    return hiding.take


def _write_timeline(folder: Path, timeline: Timeline) -> None:
    path = folder / TIMELINE
    with writing(path, UNWRITABLE):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(timeline.to_plain()))


class _Watch:
    """The driver's observer, and the way back to the driver once there is one."""

    def __init__(self, observe: Callable[[Report], None]) -> None:
        self.observe = observe
        self.driver: Driver | AsynchronousDriver | None = None

    def verdict(self, iteration: int, stop: bool) -> None:
        if self.driver is not None:
            self.driver.judge(iteration, stop=stop)

    def fail(self, error: P2pdoError) -> None:
        if self.driver is not None:
            self.driver.abort(error)


@contextlib.asynccontextmanager
async def _observed(address: str, site: Site) -> AsyncIterator[_Watch]:
    """States go to the launcher, its verdicts come back."""
    client = ObserverClient(address, site.token, site.control.host)
    watch = _Watch(client.observe)

    async def run() -> None:
        try:
            await client.run(watch.verdict)
        except grpc.aio.AioRpcError as error:
            watch.fail(
                Unreachable(
                    f"the run's launcher at {address} does not answer: {error.details()}",
                    hint="look at what the launcher says",
                )
            )

    async with task_group() as group:
        group.create_task(run(), name="observer")
        yield watch
        client.finish()  # the group waits until the launcher has all of it


__all__ = ["Optimization", "Site", "optimization"]
