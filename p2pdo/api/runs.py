"""Runs on this machine: a job, an executor, what it told on the way, and its result.

    dense, stacked, simulated    one thread, which is not the loop's
    inprocess                    the caller's loop
    processes                    daemons

A run is owned by its network's block and ends with it. Its failure is raised by `result()` and
`metrics()`, never lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from p2pdo.api.jobs import Job
from p2pdo.api.processes import run_processes
from p2pdo.errors import ConfigError, P2pdoError, WorkloadStopped, did_you_mean
from p2pdo.protocol.judging import Judge, Judgement, Report, consensus_error, mean_state
from p2pdo.reporting.digests import state_sha256
from p2pdo.reporting.pictures import Drawn, draw_if_possible
from p2pdo.reporting.records import Metric, Summary
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array, Plain

Executor: TypeAlias = Literal["dense", "stacked", "simulated", "inprocess", "processes"]
EXECUTORS: tuple[Executor, ...] = ("dense", "stacked", "simulated", "inprocess", "processes")


def check_executor(name: str) -> Executor:
    for executor in EXECUTORS:
        if executor == name:
            return executor
    raise ConfigError(f"unknown executor '{name}'", hint=did_you_mean(name, list(EXECUTORS)))


def check_processes(nodes: int) -> None:
    """Refuses what would bring the machine down: a node is an interpreter of its own."""
    processors = os.cpu_count() or 1
    most = max(64, 32 * processors)
    if nodes > most:
        raise ConfigError(
            f"{nodes:,} processes are too many for the {processors} processors of this machine",
            hint=f"--on inprocess, or at most {most} nodes",
        )


@dataclass(frozen=True, eq=False)
class Result:
    """What a run came to.

    Attributes:
        states: each node's final decision variable, in node order.
        metrics: every observed iteration.
        summary: the figures, as in the run folder's summary.json.
        pictures: those that were drawn into the run folder, where it is kept.
    """

    states: list[Array]
    metrics: list[Metric]
    summary: Summary
    pictures: Drawn = field(default_factory=Drawn)

    @property
    def x(self) -> Array:
        """The nodes' mean decision variable, shape (d,)."""
        return mean_state(self.states)

    def plot(self, path: Path | str) -> None:
        """Draws gap and consensus error against iterations; needs the extra 'plots'."""
        from p2pdo.reporting.plots import plot_convergence

        plot_convergence(self.metrics, Path(path), self.summary.problem, describe(self.summary))


def describe(summary: Summary) -> str:
    """One line for a plot's subtitle."""
    return f"{summary.algorithm} · {summary.topology} of {summary.nodes} · {summary.executor}"


class Run:
    """A run in progress on this machine."""

    def __init__(
        self, job: Job, executor: Executor, workload_id: str, request_id: str, folder: RunFolder
    ) -> None:
        self.job = job
        self.executor = executor
        self.workload_id = workload_id
        self.folder = folder
        self.is_temporary = False  # whether nobody wants the folder when the network is closed
        self.told: list[Metric] = []  # every metric so far
        self.on_metric: Callable[[Metric], None] = lambda _metric: None
        self._request_id = request_id
        self._judge = Judge(job.objective, job.plan.nodes, job.plan.tol)
        self._began = time.monotonic()
        self._first: float | None = None  # when the first observation was judged
        self._changed = asyncio.Event()  # set and replaced at every change
        self._stop_reason: str | None = None
        self._dead = 0
        self._work: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    # ---- for the caller ----

    async def result(self) -> Result:
        """The result, once it is there.

        Raises:
            WorkloadFailed: the run failed; says node and iteration.
        """
        return await asyncio.shield(self._outcome)

    async def metrics(self, every: int = 1) -> AsyncIterator[Metric]:
        """Each observed iteration that is a multiple of `every`, from the first on."""
        seen = 0
        while True:
            while seen < len(self.told):
                metric = self.told[seen]
                seen += 1
                if metric.iteration % every == 0:
                    yield metric
            if self._outcome.done():
                self._outcome.result()
                return
            await self._changed.wait()

    async def stop(self, reason: str = "stopped by its owner") -> None:
        """Stops the run; `result()` raises `WorkloadStopped`."""
        if self._outcome.done():
            return
        self._stop_reason = reason
        if self._work is not None:  # else it has not begun, and will not
            self._work.cancel()
        await asyncio.wait([self._outcome])

    @property
    def alive(self) -> int:
        """Nodes that have not died."""
        return self.job.plan.nodes - self._dead

    # ---- for its network ----

    async def work(self) -> None:
        """Runs to the end; keeps the outcome for whoever asks."""
        self._work = asyncio.current_task()
        try:
            if self._stop_reason is not None:
                raise self._stopped()  # noqa: TRY301 - it ends as if begun
            reports = await self._execute()
            result = self._make_result(reports)
            self._outcome.set_result(replace(result, pictures=await self._draw()))
        except P2pdoError as error:
            self._settle(error)
        except asyncio.CancelledError:
            self._settle(self._stopped())
            if self._stop_reason is None:
                raise
        except BaseException as bug:
            self._settle(bug)
            raise
        finally:
            self._notify()

    def close(self) -> None:
        """Its network is closed. A task that was cancelled before it began has settled nothing."""
        if not self._outcome.done():
            self._settle(self._stopped())
            self._notify()
        self.folder.close()

    def _stopped(self) -> WorkloadStopped:
        if self._stop_reason is not None:
            return WorkloadStopped(self._stop_reason)
        return WorkloadStopped(
            "its network was closed",
            hint="await its result() inside the block: leaving that ends what still runs",
        )

    def _settle(self, error: BaseException) -> None:
        if isinstance(error, P2pdoError):
            error.workload = error.workload or self.workload_id
            self.happened(
                "stopped" if isinstance(error, WorkloadStopped) else "failed", error.to_plain()
            )
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # asked for or not, it is no "never retrieved"

    async def _execute(self) -> list[Report]:
        plan = self.job.plan
        match self.executor:
            case "dense":
                return await self._in_thread(run_lockstep)
            case "stacked":
                return await self._in_thread(run_stacked)
            case "simulated":
                seed = self.job.request.delay_seed
                return await self._in_thread(
                    lambda *arguments: run_simulated(*arguments, delay_seed=seed)
                )
            case "inprocess":
                return await run_in_process(plan, self._judge, self._tell)
            case "processes":
                return await run_processes(
                    self.job,
                    self._judge,
                    self._tell,
                    folder=self.folder.path,
                    is_temporary=self.is_temporary,
                    happened=self.happened,
                    request_id=self._request_id,
                )

    async def _in_thread(self, run: Callable[..., list[Report]]) -> list[Report]:
        """Runs off the loop; what it tells comes in on the loop."""
        loop = asyncio.get_running_loop()
        is_cancelled = False

        def tell(judgement: Judgement) -> None:
            loop.call_soon_threadsafe(self._tell, judgement)

        def check_stop() -> None:
            if is_cancelled:
                raise self._stopped()

        work = asyncio.ensure_future(
            asyncio.to_thread(run, self.job.plan, self._judge, tell, check_stop)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            is_cancelled = True
            await asyncio.wait([work])
            work.exception()
            raise

    async def _draw(self) -> Drawn:
        """The pictures, off the loop; whoever stops the run now is late, and gets them too."""
        if self.is_temporary:
            return Drawn()
        drawing = asyncio.ensure_future(asyncio.to_thread(draw_if_possible, self.folder))
        try:
            drawn = await asyncio.shield(drawing)
        except asyncio.CancelledError:
            await asyncio.wait([drawing])
            drawn = drawing.result()
        if drawn.note is not None:
            self.happened("not-drawn", {"message": drawn.note})
        return drawn

    def _tell(self, judgement: Judgement) -> None:
        now = time.monotonic()
        self._first = self._first or now
        metric = Metric(
            judgement.iteration,
            now - self._first,
            judgement.gap,
            judgement.consensus_error,
            judgement.value,
            judgement.bytes_sent,
            judgement.messages_sent,
        )
        self.told.append(metric)
        self.folder.append_metric(metric)
        self.on_metric(metric)
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def happened(self, event: str, about: Mapping[str, Plain]) -> None:
        """Keeps an event in the run folder."""
        self._dead += event == "died" and about.get("process") != "coordinator"
        self.folder.append_event(event, seconds=time.monotonic() - self._began, **about)

    def _make_result(self, reports: list[Report]) -> Result:
        states = [report.x for report in reports]
        mean = mean_state(states)
        objective = self.job.objective
        value = objective.value(mean)
        error = consensus_error(states, mean)
        is_reached = self._judge.stopped_at is not None
        summary = Summary(
            workload_id=self.workload_id,
            status="converged" if is_reached else "done",
            problem=self.job.problem,
            algorithm=self.job.algorithm,
            topology=self.job.topology,
            nodes=self.job.plan.nodes,
            executor=self.executor,
            iterations=reports[0].iteration,
            gap=_number(objective.gap(value)),
            consensus_error=_number(error),
            value=_number(value),
            optimum=objective.optimum,
            distance_to_optimum=_number(objective.distance(mean)),
            bytes_sent=sum(report.bytes_sent for report in reports),
            messages_sent=sum(report.messages_sent for report in reports),
            seconds=time.monotonic() - self._began,
            run_dir=str(self.folder.path),
            state_sha256=state_sha256(states),
        )
        for node, x in enumerate(states):
            self.folder.write_state(self.job.plan.name(node), x)
        self.folder.write_summary(summary)
        return Result(states, list(self.told), summary)


def _number(value: float | None) -> float | None:
    """The figure, where it is one: a diverged run has none."""
    return float(value) if value is not None and np.isfinite(value) else None
