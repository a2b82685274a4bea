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

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.algorithms.base import Method
from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.order import check_submit_order
from p2pdo.api.parameters import parameters_of, split_parameters
from p2pdo.api.participants import Ended, metric_of, summarize
from p2pdo.api.requests import names_recorded
from p2pdo.api.runs import Result
from p2pdo.config import OptimizationSpec, ParticipantSpec
from p2pdo.data import catalogue as problem_catalogue
from p2pdo.driving.attaching import AttachedTasks
from p2pdo.driving.client import Client
from p2pdo.driving.controlling import control
from p2pdo.driving.results import count_headers, count_links
from p2pdo.driving.submitting import submit
from p2pdo.driving.tasks import SITE, Tasks
from p2pdo.errors import ConfigError, Conflict, P2pdoError, WorkloadStopped, from_plain
from p2pdo.participants.definition import Participant
from p2pdo.protocol.judging import Objective, consensus_error, mean_state
from p2pdo.reporting.digests import combine_digests
from p2pdo.reporting.pictures import draw_if_possible
from p2pdo.reporting.records import OWN_DATA, Metric, Summary
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Array, Plain
from p2pdo.wire.v1 import coordinator_pb2 as pb

EXECUTOR = "daemons"
NO_TOLERANCE = (
    "a tolerance of the gap needs somebody who sees all states, and a network of daemons has nobody"
)
SETTLE = (
    "--rounds K, or --settle EPS: it ends where no node moves any more; "
    "or p2pdo run for a run on this machine"
)


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


def specification(
    algorithm: str | AnyAlgorithm,
    problem: str,
    nodes: int | Sequence[str],
    parameters: Mapping[str, Plain],
    settings: Mapping[str, Any],
) -> dict[str, Plain]:
    """The specification that is sent; its mistakes are told by the coordinator.

    Raises:
        ConfigError: a tolerance was asked for, or code instead of a name.
    """
    if settings.get("tol") is not None:
        raise ConfigError(NO_TOLERANCE, hint=SETTLE)
    if ":" in str(problem):
        raise ConfigError(
            f"{problem!r} is code, and code never travels: a site runs what it has installed",
            hint=f"use one of {', '.join(problem_catalogue.PROBLEMS)}; or the name that the sites "
            "have for it in [problems] of p2pdo.toml, or with --participant in [participants]; "
            "or p2pdo run, on this machine",
        )
    own, of_problem = split_parameters(parameters)
    if isinstance(algorithm, Method):
        own = {**parameters_of(algorithm), **own}
        algorithm = algorithms.name_of(type(algorithm))
    return {
        **_listed(settings),
        "problem": {"name": problem, "parameters": of_problem},
        "algorithm": {"name": algorithm, "parameters": own},
        "nodes": nodes if isinstance(nodes, int) else list(nodes),
    }


def participant_specification(
    asked: str | AnyAlgorithm | Participant,
    problem: str | None,
    nodes: int | Sequence[str],
    parameters: Mapping[str, Plain],
    settings: Mapping[str, Any],
) -> dict[str, Plain]:
    """The specification of a participant's run, which is named and never sent.

    Raises:
        ConfigError: it has a problem, or is an algorithm without one.
    """
    if problem is not None or isinstance(asked, Method):
        raise ConfigError(
            "an algorithm needs a problem, and a participant brings its data itself",
            hint="submit('gradient-tracking', 'breast-cancer'), or submit('train', rounds=100)",
        )
    name = asked.name if isinstance(asked, Participant) else asked
    return {
        **_listed(settings),
        "kind": "participant",
        "participant": {"name": name, "parameters": dict(parameters)},
        "nodes": nodes if isinstance(nodes, int) else list(nodes),
    }


def _listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given; one name to be recorded is a list of one."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {**given, "record": list(names_recorded(given.get("record")))}


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
        if _is_participation(workload):
            return self._participants_result(workload)
        states = await self._states(workload)
        summary = self._summary(workload, states)
        self._put_last(summary)
        result = Result(states, list(self.told), summary)
        if self._folder is None:
            return result
        self._keep_metrics(self._folder)
        _write_result(self._folder, workload, result)
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
        figures = _figures(spec, states)
        topology = spec.get("topology", "ring")
        iterations = max(result["iterations"] for result in results)
        has_settled = spec.get("settle") is not None and iterations < _rounds(spec)
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


def _rounds(spec: Mapping[str, Any]) -> int:
    """The limit, also where it was left to its default."""
    return OptimizationSpec.model_validate(spec).rounds


def settings_of(workload: pb.Workload) -> dict[str, Any]:
    """A run's settings for its folder, as a local run would write them."""
    spec, resolved = json.loads(workload.spec), json.loads(workload.resolved or "{}")
    if _is_participation(workload):
        return _settings_of_participants(workload, spec, resolved)
    topology = spec.get("topology", "ring")
    members = sorted(workload.members, key=lambda member: member.index)
    defaults = OptimizationSpec.model_validate(spec).model_dump(mode="json")
    return {
        "problem": spec["problem"]["name"],
        "problem_parameters": spec["problem"].get("parameters", {}),
        "algorithm": spec["algorithm"]["name"],
        "parameters": resolved.get("parameters", spec["algorithm"].get("parameters", {})),
        "nodes": len(members),
        "names": [member.node for member in members],
        "topology": topology if isinstance(topology, str) else "custom",
        "graph": None if isinstance(topology, str) else topology,
        **{
            key: defaults[key]
            for key in ("weights", "rounds", "observe_every", "start", "seed", "partition", "dtype")
        },
        "codec": defaults["codec"],
        "executor": EXECUTOR,
        "digest": resolved.get("digest"),
    }


def _settings_of_participants(
    workload: pb.Workload, spec: Mapping[str, Any], resolved: Mapping[str, Any]
) -> dict[str, Any]:
    members = sorted(workload.members, key=lambda member: member.index)
    topology = spec.get("topology", "ring")
    return {
        **ParticipantSpec.model_validate(spec).model_dump(
            mode="json", exclude={"kind", "participant", "topology"}
        ),
        "problem": OWN_DATA,
        "algorithm": spec["participant"]["name"],
        "parameters": spec["participant"].get("parameters", {}),
        "nodes": len(members),
        "names": [member.node for member in members],
        "topology": topology if isinstance(topology, str) else "custom",
        "graph": None if isinstance(topology, str) else topology,
        "executor": EXECUTOR,
        "digest": resolved.get("digest"),
    }


def _is_participation(workload: pb.Workload) -> bool:
    return bool(json.loads(workload.spec).get("kind") == "participant")


def _write_result(folder: RunFolder, workload: pb.Workload, result: Result) -> None:
    folder.write_settings(settings_of(workload))  # the parameters are resolved by now
    members = sorted(workload.members, key=lambda member: member.index)
    for member, x in zip(members, result.states, strict=False):  # no states, or all
        folder.write_state(member.node, x)
    folder.write_summary(result.summary)


def _figures(spec: Mapping[str, Any], states: Sequence[Array]) -> dict[str, Any]:
    """What only those can know who see the states and have the data as well."""
    unknown: dict[str, Any] = dict.fromkeys(
        ("gap", "consensus_error", "value", "optimum", "distance_to_optimum")
    )
    if not states:
        return unknown
    mean = mean_state(states)
    name, seed = spec["problem"]["name"], spec.get("seed", 0)
    parameters = spec["problem"].get("parameters", {})
    try:
        problems = problem_catalogue.build_all(
            name,
            len(states),
            spec.get("partition", "iid"),
            seed,
            dtype=spec.get("dtype", "float64"),
            parameters=parameters,
        )
        test = problem_catalogue.held_out(name, seed, parameters)
    except P2pdoError:  # the data are not here, so there is no optimum to compare with
        return {**unknown, "consensus_error": consensus_error(states, mean)}
    is_sought = not algorithms.agrees_on_starts(spec["algorithm"]["name"])
    objective = Objective(problems, test, is_sought=is_sought)
    value = objective.value(mean)
    return {
        "gap": objective.gap(value),
        "consensus_error": consensus_error(states, mean),
        "value": value,
        "optimum": objective.optimum,
        "distance_to_optimum": objective.distance(mean),
        "accuracy": objective.accuracy(mean),
        "test_accuracy": objective.test_accuracy(mean),
    }


def raise_failure(workload: pb.Workload) -> None:
    """Raises what ended the workload, if it did not end well."""
    if workload.status == "failed":
        error = from_plain(json.loads(workload.error))
        error.workload = error.workload or workload.workload_id
        raise error
    if workload.status == "stopped":
        told = json.loads(workload.error).get("message") if workload.error else None
        raise WorkloadStopped(told or "stopped", workload=workload.workload_id)
