"""Runs on this machine: a job, an executor, what it told on the way, and its result.

    dense, stacked, simulated    one thread, which is not the loop's
    inprocess                    the caller's loop
    processes                    daemons

How a run is followed, stopped and ended is in `running`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from p2pdo.algorithms.base import Limit
from p2pdo.api.jobs import Job
from p2pdo.api.limits import MOST_NODES
from p2pdo.api.processes import Carried, run_processes
from p2pdo.api.running import Running
from p2pdo.api.simulating import figures_of, simulation_of
from p2pdo.api.timelines import TimelineFile
from p2pdo.errors import ConfigError, WorkloadFailed, did_you_mean
from p2pdo.participants.history import History
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import (
    Judge,
    Judgement,
    Objective,
    Report,
    consensus_error,
    mean_state,
)
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.reports import calls_of_all, sent_by_all, states_of
from p2pdo.reporting.digests import state_sha256
from p2pdo.reporting.diverging import divergence
from p2pdo.reporting.pictures import Drawn, draw_if_possible
from p2pdo.reporting.rates import observed_rate
from p2pdo.reporting.records import Metric, Summary
from p2pdo.reporting.run_folder import MOST_FILES, RunFolder
from p2pdo.simulation.asynchronous_in_process import run_asynchronous_in_process
from p2pdo.simulation.inprocess import run_in_process
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array, Plain, States

Observe: TypeAlias = Callable[[int, States], None]
"""observe(iteration, states): called at each observed iteration, in order, with every node's x."""

Executor: TypeAlias = Literal["dense", "stacked", "simulated", "inprocess", "processes"]
EXECUTORS: tuple[Executor, ...] = ("dense", "stacked", "simulated", "inprocess", "processes")


def check_executor(name: str) -> Executor:
    for executor in EXECUTORS:
        if executor == name:
            return executor
    hint = did_you_mean(name, list(EXECUTORS))
    if ":" in name:
        hint = f"on the nodes of a coordinator: p2pdo submit … --coordinator {name}"
    raise ConfigError(f"unknown executor '{name}'", hint=hint)


def check_processes(nodes: int) -> None:
    """Refuses what would bring the machine down: a node is an interpreter of its own."""
    processors = os.cpu_count() or 1
    most = max(64, 32 * processors)
    if nodes > most:
        raise ConfigError(
            f"{nodes:,} processes are too many for the {processors} processors of this machine",
            hint=f"--on inprocess, or at most {most} nodes",
        )


def check_in_memory(executor: Executor, nodes: int) -> None:
    """Refuses what would only fill the memory: a node that is not stacked is some objects."""
    if executor != "stacked" and nodes > MOST_NODES:
        raise ConfigError(
            f"{nodes:,} nodes are too many for the executor {executor}",
            hint=f"--on stacked, or at most {MOST_NODES:,} nodes",
        )


def check_monitored(job: Job, executor: Executor) -> None:
    """Refuses a monitor that would be told a node's own part of a sum.

    Raises:
        ConfigError: with the executors that are watched.
    """
    asked = job.request.monitor not in ("auto", "off")
    if executor == "processes" and asked and job.plan.nodes == 1:
        raise ConfigError(
            "one node process is not monitored: the sum of all nodes' parts is its own part",
            hint="--on inprocess, simulated, stacked or dense, or leave --monitor out",
        )


@dataclass(frozen=True, eq=False)
class Result:
    """What a run came to.

    Attributes:
        states: each node's final decision variable, in node order; of the executor "stacked"
            the rows of one array (N, d).
        metrics: every observed iteration.
        summary: the figures, as in the run folder's summary.json.
        pictures: those that were drawn into the run folder, where it is kept.
        results: what each node's participant returned, by the node's name; of algorithms none.
        timeline: the file that tells where the time went, if it was asked for.
    """

    states: States
    metrics: list[Metric]
    summary: Summary
    pictures: Drawn = field(default_factory=Drawn)
    results: Mapping[str, Plain] = field(default_factory=dict)
    timeline: TimelineFile | None = None

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


class RecordingJudge(Judge):
    """Keeps each node's observed states in that node's history."""

    def __init__(
        self,
        objective: Objective,
        nodes: int,
        tol: float | None,
        histories: Sequence[History],
    ) -> None:
        super().__init__(objective, nodes, tol)
        self._histories = histories
        self._kept = [-1] * nodes  # the last iteration of each

    def receive(self, report: Report) -> list[Judgement]:
        """Takes in a report; see `Judge.receive`."""
        if report.iteration > self._kept[report.node]:
            self._kept[report.node] = report.iteration
            self._histories[report.node].append("x", report.iteration, report.x)
        return super().receive(report)

    def receive_all(self, reports: Sequence[Report]) -> list[Judgement]:
        """Takes in all reports of an iteration; see `Judge.receive_all`."""
        for history, report in zip(self._histories, reports, strict=True):
            history.append("x", report.iteration, report.x)
        return super().receive_all(reports)

    def close(self) -> None:
        for history in self._histories:
            history.close()


class Run(Running[Result]):
    """A run of an algorithm in progress on this machine."""

    def __init__(
        self, job: Job, executor: Executor, workload_id: str, request_id: str, folder: RunFolder
    ) -> None:
        super().__init__(workload_id, request_id, folder, job.plan.nodes)
        self.job = job
        self.executor = executor
        self.observe: Observe | None = None
        self.is_drawn = True  # whether the folder gets pictures
        self._judge = self._make_judge()
        self._carried = Carried({}, 0)
        self._simulated: dict[str, float] = {}

    def _make_judge(self) -> Judge:
        plan = self.job.plan
        asked = (self.job.objective, plan.nodes, plan.tol)
        if not self.job.record or self.executor == "processes":  # there the nodes record
            return Judge(*asked)
        state = self.folder.path / "nodes"
        folders = [state / plan.name(i) / "workloads" / self.workload_id for i in range(plan.nodes)]
        return RecordingJudge(*asked, [History(folder) for folder in folders])

    async def _run(self) -> Result:
        try:
            result = self._make_result(await self._execute())
            return replace(result, pictures=await self._draw())
        finally:
            if isinstance(self._judge, RecordingJudge):
                await asyncio.to_thread(self._judge.close)

    async def _execute(self) -> Sequence[Report]:
        match self.executor:
            case "dense":
                return await self._off_loop(run_lockstep)
            case "stacked":
                return await self._off_loop(run_stacked)
            case "simulated":
                simulation = simulation_of(self.job)
                reports = await self._off_loop(simulation.run)
                self._simulated = figures_of(simulation, self.job.plan.nodes)
                return reports
            case "inprocess":
                return await self._in_process()
            case "processes":
                reports, self._carried = await run_processes(
                    self.job,
                    self._judge,
                    self._show_and_tell,
                    folder=self.folder.path,
                    is_temporary=self.is_temporary,
                    happened=self.happened,
                    request_id=self._request_id,
                    timeline=self.timeline,
                )
                return reports

    async def _in_process(self) -> Sequence[Report]:
        plan, file = self.job.plan, self.timeline
        if isinstance(plan, AsynchronousPlan):
            return await run_asynchronous_in_process(plan, self._judge, self._show_and_tell)
        if file is None:
            return await run_in_process(plan, self._judge, self._show_and_tell)
        timelines = file.make()
        try:
            return await run_in_process(plan, self._judge, self._show_and_tell, timelines)
        finally:
            await file.write(timelines)

    def _watched(self) -> Plan:
        """The plan; simulated, unless it was said otherwise, it is watched at every iteration."""
        plan = self.job.plan
        is_close = self.executor == "simulated" and self.job.request.monitor == "auto"
        return replace(plan, monitor_every=1) if is_close else plan

    async def _off_loop(self, run: Callable[..., Sequence[Report]]) -> Sequence[Report]:
        def run_here(tell: Callable[[Judgement], None], check_stop: Callable[[], None]) -> Any:
            def show_and_tell(judgement: Judgement) -> None:
                self._show(judgement)
                tell(judgement)

            return run(self._watched(), self._judge, show_and_tell, check_stop)

        reports: Sequence[Report] = await self._in_thread(run_here, self._tell)
        return reports

    async def _draw(self) -> Drawn:
        """The pictures, off the loop; whoever stops the run now is late, and gets them too."""
        if not self.is_drawn:
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

    def _show_and_tell(self, judgement: Judgement) -> None:
        self._show(judgement)
        self._tell(judgement)

    def _show(self, judgement: Judgement) -> None:
        """Shows the states to who asked to see them, where they were judged.

        Raises:
            WorkloadFailed: that went wrong.
        """
        if self.observe is None:
            return
        states = states_of(judgement.reports)
        try:
            self.observe(judgement.iteration, states)
        except Exception as error:
            raise WorkloadFailed(
                f"observe() raised {type(error).__name__}: {error}",
                hint="it is called as observe(iteration, states), states[i] is x of node i",
                iteration=judgement.iteration,
            ) from error

    def _tell(self, judgement: Judgement) -> None:
        self._told(
            Metric(
                judgement.iteration,
                self._seconds(),
                judgement.gap,
                judgement.consensus_error,
                judgement.value,
                judgement.bytes_sent,
                judgement.messages_sent,
                calls=judgement.calls,
                accuracy=judgement.accuracy,
                test_accuracy=judgement.test_accuracy,
                simulated_seconds=judgement.simulated_seconds,
            )
        )

    def _make_result(self, reports: Sequence[Report]) -> Result:
        states = states_of(reports)
        bytes_sent, messages_sent = sent_by_all(reports)
        mean = mean_state(states)
        objective = self.job.objective
        value = objective.value(mean)
        error = consensus_error(states, mean)
        status, plan = "done", self.job.plan
        if self._judge.stopped_at is not None:
            status = "converged"
        elif divergence(self.told) is not None:
            status = "diverged"
        elif plan.settle is not None and reports[0].iteration < plan.rounds:
            status = "settled"
        summary = Summary(
            workload_id=self.workload_id,
            status=status,
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
            bytes_sent=bytes_sent,
            messages_sent=messages_sent,
            seconds=time.monotonic() - self._began,
            run_dir=str(self.folder.path),
            state_sha256=state_sha256(states),
            links=self._carried.links,
            header_bytes=self._carried.header_bytes,
            codec=self.job.plan.codec,
            calls=calls_of_all(reports),
            accuracy=objective.accuracy(mean),
            test_accuracy=objective.test_accuracy(mean),
            rates=self._rates(),
            dropped=sum(report.dropped for report in reports),
            simulated=self._simulated,
            # Nodes may be ahead of where a run is judged to end: what they may have told counts.
            privacy=dict(self.job.plan.algorithm.privacy(self.job.plan.rounds)),
        )
        self.folder.write_states(self.job.plan.name, states)
        if len(reports) <= MOST_FILES:
            self.folder.write_counts({self.job.plan.name(r.node): _counts(r) for r in reports})
        self.folder.write_summary(summary)
        return Result(states, list(self.told), summary, timeline=self.timeline)

    def _rates(self) -> dict[str, float]:
        """Of a method with a limit of its own none: gap and consensus error are no way to it."""
        limit = type(self.job.plan.algorithm).limit
        if limit is Limit.NEAR_OPTIMUM:
            return {}
        observed = None if limit is Limit.UNSTATED else observed_rate(self.told)
        found = {"predicted": self.job.rate, "observed": observed}
        return {name: rate for name, rate in found.items() if rate is not None}


def _counts(report: Report) -> dict[str, Plain]:
    sent: dict[str, Plain] = {"messages": report.messages_sent, "bytes": report.bytes_sent}
    return {**report.calls.to_plain(), **sent}


def _number(value: float | None) -> float | None:
    """The figure, where it is one: a diverged run has none."""
    return float(value) if value is not None and np.isfinite(value) else None
