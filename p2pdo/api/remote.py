"""Runs on a network of daemons: `connect(address)` speaks with its coordinator.

    async with p2pdo.connect("127.0.0.1:7443") as net:
        run = await net.submit("gradient-tracking", "breast-cancer", nodes=8, rounds=500)
        async for metric in run.metrics():
            print(metric.iteration, metric.bytes_sent)
        result = await run.result()

Problems and algorithms are named: code never travels. Nobody sees the states, so gap and consensus
error are None, unless the run was submitted with `return_states` and every site allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.order import check_submit_order
from p2pdo.api.participants import Ended, metric_of, summarize
from p2pdo.api.remote_results import (
    EXECUTOR,
    figures_of,
    is_participation,
    rounds_of,
    settings_of,
    write_result,
)
from p2pdo.api.runs import Result
from p2pdo.api.specifications import participant_specification, specification
from p2pdo.driving.attaching import AttachedTasks
from p2pdo.driving.client import Client
from p2pdo.driving.controlling import control
from p2pdo.driving.results import count_headers, count_links
from p2pdo.driving.submitting import submit
from p2pdo.driving.tasks import SITE, Tasks
from p2pdo.errors import ConfigError, Conflict, P2pdoError, WorkloadStopped, from_plain
from p2pdo.participants.definition import Participant
from p2pdo.reporting.digests import combine_digests
from p2pdo.reporting.pictures import draw_if_possible
from p2pdo.reporting.records import Metric, Summary
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Array, Plain
from p2pdo.wire.v1 import coordinator_pb2 as pb


class RemoteNetwork:
    """The nodes of one coordinator; use as an async context manager."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.client = Client(address, token)

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.client.__aexit__(kind, error, traceback)

    def driver(
        self,
        nodes: Sequence[str] | None = None,
        *,
        executor: str = SITE,
        roles: Mapping[str, Mapping[str, Any]] | None = None,
        keep: bool = False,
        request_id: str = "",
    ) -> Tasks:
        """Sends tasks to nodes, to all that are up where none are named; use it as a block.

        `roles` names nodes with an executor of their own: {"trainer": {"nodes": ["a", "b"],
        "executor": "torch"}}.

        A driver that is killed leaves its workload, and the coordinator ends it when nobody has
        watched it for a minute (`p2pdo-coordinator --driver-grace`); with `keep` it does not, and
        `attach` takes it over.

        With a `request_id` of the program's own the same call opens the same workload again, as
        long as it is asked for the same: a program that was killed before it had written down the
        workload's id goes on with it, and `results` has what nobody has acknowledged.
        """
        return Tasks(
            self.client, nodes, executor=executor, roles=roles, keep=keep, request_id=request_id
        )

    def attach(self, workload_id: str, *, seen: int | None = None) -> AttachedTasks:
        """Takes over a workload of tasks whose driver was killed or detached; use it as a block.

        Told are the results that nobody has acknowledged, and those still to come. A program that
        has stored the first so many itself says so with `seen`: the `place` of the last one.

        Raises, on entering the block:
            NotFound: there is no such workload; says which id is near.
            ConfigError: it is a run, or a controller drives it.
            Conflict: `seen` does not fit.
        """
        return AttachedTasks(self.client, workload_id, seen)

    async def control(
        self,
        controller: str,
        nodes: Sequence[str] | None = None,
        *,
        executor: str = SITE,
        roles: Mapping[str, Mapping[str, Any]] | None = None,
        parameters: Mapping[str, Plain] | None = None,
    ) -> Any:
        """What a controller of the coordinator's returns, once it has.

        Raises:
            ConfigError: the coordinator has no controller of that name.
            WorkloadFailed: it raised, or was stopped.
        """
        return await control(
            self.client,
            controller,
            nodes,
            executor=executor,
            roles=roles or {},
            parameters=parameters or {},
        )

    async def submit(
        self,
        algorithm: str | AnyAlgorithm | Participant,
        problem: str | None = None,
        *,
        nodes: int | Sequence[str] = 8,
        parameters: Mapping[str, Plain] | None = None,
        request_id: str | None = None,
        **settings: Any,
    ) -> RemoteRun:
        """Submits a run; `settings` are the fields of `config.OptimizationSpec`.

        Without a problem it is a run of a participant, which the sites know by this name; the
        settings are then those of `config.ParticipantSpec`.

        The same `request_id` never makes a second workload.

        Raises:
            ConfigError: something is unknown or does not fit; nothing was started.
            Unreachable: no coordinator answers.
        """
        if problem is None or isinstance(algorithm, Participant):
            spec = participant_specification(algorithm, problem, nodes, parameters or {}, settings)
        else:
            check_submit_order(algorithm, problem)
            spec = specification(algorithm, problem, nodes, parameters or {}, settings)
        workload_id = await submit(self.client, spec, request_id or uuid.uuid4().hex)
        return RemoteRun(self.client, workload_id)

    async def run(self, workload_id: str) -> RemoteRun:
        """A run that was submitted before.

        Raises:
            NotFound: there is no such workload; says which id is near.
            ConfigError: it is no run but a workload of tasks.
        """
        workload = await self.client.find(workload_id)
        if json.loads(workload.spec).get("kind") == "tasks":
            raise ConfigError(
                f"{workload_id} is a workload of tasks, which has no figures",
                hint=f"p2pdo show {workload_id}",
                workload=workload_id,
            )
        return RemoteRun(self.client, workload_id)


def connect(address: str, token: str | None = None) -> RemoteNetwork:
    """The network of the coordinator at HOST:PORT."""
    return RemoteNetwork(address, token)


class RemoteRun:
    """A workload of a coordinator."""

    def __init__(self, client: Client, workload_id: str) -> None:
        self.workload_id = workload_id
        self.told: list[Metric] = []
        self.alive = 0  # nodes, as of the latest metric
        self._client = client
        self._folder: RunFolder | None = None
        self._kept = 0  # metrics in the folder

    async def metrics(self, every: int = 1) -> AsyncIterator[Metric]:
        """Each iteration that all nodes have reported; ends when the workload does.

        Raises:
            WorkloadFailed: the workload failed; says node and iteration.
        """
        async for event in self._client.watch(self.workload_id):
            kind = event.WhichOneof("event")
            if kind == "metric":
                metric = self._metric(event.metric)
                if metric.iteration % every == 0:
                    yield metric
            elif kind == "status":
                raise_failure(event.status)

    async def result(self) -> Result:
        """Waits for the end; the states are empty unless they were returned.

        Raises:
            WorkloadFailed: the workload failed; says node and iteration.
        """
        async for _ in self.metrics():
            pass
        workload = await self._client.workload(self.workload_id)
        raise_failure(workload)
        if is_participation(workload):
            return self._participants_result(workload)
        states = await self._states(workload)
        summary = self._summary(workload, states)
        self._put_last(summary)
        result = Result(states, list(self.told), summary)
        if self._folder is None:
            return result
        self._keep_metrics(self._folder)
        write_result(self._folder, workload, result)
        drawn = await asyncio.to_thread(draw_if_possible, self._folder)
        return replace(result, pictures=drawn)

    def _participants_result(self, workload: pb.Workload) -> Result:
        ended = Ended.of(workload)
        summary = summarize(
            workload_id=self.workload_id,
            status=workload.status,
            algorithm=json.loads(workload.spec)["participant"]["name"],
            topology=json.loads(workload.resolved)["topology"],
            nodes=len(workload.members),
            executor=EXECUTOR,
            iterations=ended.iterations,
            bytes_sent=ended.bytes_sent,
            messages_sent=ended.messages_sent,
            seconds=ended.seconds,
            run_dir=None if self._folder is None else str(self._folder.path),
            links=ended.links,
        )
        if self._folder is not None:
            self._folder.write_settings(settings_of(workload))
            self._folder.write_results(ended.results)
            self._folder.write_summary(summary)
        return Result([], list(self.told), summary, results=ended.results)

    async def settings(self) -> dict[str, Any]:
        """As they go into a run folder."""
        return settings_of(await self._client.workload(self.workload_id))

    async def require_end(self) -> None:
        """Refuses a run that still goes on.

        Raises:
            Conflict: it does.
        """
        status = (await self._client.workload(self.workload_id)).status
        if status in ("configuring", "running"):
            raise Conflict(
                f"workload {self.workload_id} has not ended: it is {status}",
                hint=f"p2pdo watch {self.workload_id}",
                workload=self.workload_id,
            )

    @contextlib.asynccontextmanager
    async def kept_in(self, folder: RunFolder) -> AsyncIterator[None]:
        """What the block learns of the run is in the folder when it ends; a failure is, too."""
        folder.write_settings(await self.settings())
        self._folder = folder
        try:
            yield
        except P2pdoError as error:
            seconds = self.told[-1].seconds if self.told else 0.0
            folder.append_event("failed", seconds=seconds, **error.to_plain())
            raise
        finally:
            self._keep_metrics(folder)
            folder.close()

    def _keep_metrics(self, folder: RunFolder) -> None:
        """Those that are not kept yet. At the end only: the last one changes until then."""
        for metric in self.told[self._kept :]:
            folder.append_metric(metric)
        self._kept = len(self.told)

    def _put_last(self, summary: Summary) -> None:
        """The figures that only the result has, in the place of the last metric."""
        last = Metric(
            summary.iterations,
            summary.seconds,
            summary.gap,
            summary.consensus_error,
            summary.value,
            summary.bytes_sent,
            summary.messages_sent,
        )
        if self.told and self.told[-1].iteration >= last.iteration:
            self.told.pop()
        self.told.append(last)

    async def stop(self, reason: str = "stopped by its owner") -> str:
        """Stops it, unless it has ended; returns its status then."""
        return await self._client.stop(self.workload_id, reason)

    def _metric(self, point: pb.NetworkPoint) -> Metric:
        metric = metric_of(point)
        self.alive = point.nodes_alive
        if not self.told or self.told[-1].iteration < metric.iteration:
            self.told.append(metric)
        return metric

    async def _states(self, workload: pb.Workload) -> list[Array]:
        if not json.loads(workload.spec).get("return_states"):
            return []
        from safetensors.numpy import load

        members = sorted(workload.members, key=lambda member: member.index)
        return [
            load(await self._client.state(self.workload_id, member.node))["x"] for member in members
        ]

    def _summary(self, workload: pb.Workload, states: Sequence[Array]) -> Summary:
        spec = json.loads(workload.spec)
        members = sorted(workload.members, key=lambda member: member.index)
        results = [json.loads(member.result) for member in members]
        figures = figures_of(spec, states)
        topology = spec.get("topology", "ring")
        iterations = max(result["iterations"] for result in results)
        has_settled = spec.get("settle") is not None and iterations < rounds_of(spec)
        return Summary(
            workload_id=self.workload_id,
            status="settled" if has_settled else workload.status,
            problem=spec["problem"]["name"],
            algorithm=spec["algorithm"]["name"],
            topology=topology if isinstance(topology, str) else "custom",
            nodes=len(members),
            executor=EXECUTOR,
            iterations=iterations,
            bytes_sent=sum(result["bytes_sent"] for result in results),
            messages_sent=sum(result["messages_sent"] for result in results),
            seconds=max(result["seconds"] for result in results),
            run_dir=None if self._folder is None else str(self._folder.path),
            state_sha256=combine_digests(bytes.fromhex(r["state_sha256"]) for r in results),
            links=count_links(workload),
            header_bytes=count_headers(workload),
            codec=spec.get("codec", "none"),
            rates={},
            dropped=0,
            simulated={},
            **figures,
        )


def raise_failure(workload: pb.Workload) -> None:
    """Raises what ended the workload, if it did not end well."""
    if workload.status == "failed":
        error = from_plain(json.loads(workload.error))
        error.workload = error.workload or workload.workload_id
        raise error
    if workload.status == "stopped":
        told = json.loads(workload.error).get("message") if workload.error else None
        raise WorkloadStopped(told or "stopped", workload=workload.workload_id)
