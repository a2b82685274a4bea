"""Runs of participants on this machine, and what every run of a participant comes to.

    inprocess     each node's function on a thread of its own, in the caller's loop
    processes     daemons, which import the participant from where it was written
    simulated     in virtual time

There is no objective and nobody sees states, so gap, optimum and consensus error are None; what
the participants have logged is in the metrics, and what they returned in `result.results`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from p2pdo.api.limits import check_most
from p2pdo.api.processes import run_participants as run_processes
from p2pdo.api.requests import names_recorded
from p2pdo.api.running import Running
from p2pdo.api.runs import Executor, Result
from p2pdo.api.topology_files import read_topology
from p2pdo.config import ParticipantSpec, parse_spec
from p2pdo.data import encode
from p2pdo.driving.results import count_links
from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, from_networkx
from p2pdo.node.offers import EVERYTHING, Offers
from p2pdo.participants.definition import Participant, is_plain
from p2pdo.participants.me import Outcome, Progress
from p2pdo.participants.taking_part import Tell
from p2pdo.protocol.assignment import resolve_graph
from p2pdo.protocol.plan import node_name
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.reporting.file_names import to_file_name
from p2pdo.reporting.records import OWN_DATA, Metric, Summary
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.simulation.participation import (
    ParticipantPlan,
    run_participants,
    simulate_participants,
)
from p2pdo.types import Plain
from p2pdo.wire.v1 import coordinator_pb2 as pb


@dataclass(frozen=True)
class Request:
    """A participant's run as it was asked for.

    Attributes:
        rounds: the limit.
        observe_every: rounds between metrics.
        record: the names of which each node keeps a history.
        checkpoints: a name under which runs go on from each other's checkpoints.
        delay_seed: of the weather of a simulated network.
        lane: how values go between node processes: "auto", "grpc" or "shared-memory".
    """

    participant: Participant
    parameters: Mapping[str, Plain] = field(default_factory=dict)
    rounds: int = 100
    observe_every: int = 1
    seed: int = 0
    record: str | Sequence[str] | None = ()
    checkpoints: str | None = None
    delay_seed: int = 0
    lane: str = "auto"


@dataclass(frozen=True, eq=False)
class ParticipantJob:
    """A request, resolved and checked."""

    request: Request
    spec: ParticipantSpec
    graph: Graph
    weights: Any
    topology: str
    executor: Executor
    parameters: dict[str, Any]
    state: Path | None

    @property
    def nodes(self) -> int:
        return self.graph.n

    def settings(self) -> dict[str, Plain]:
        """Every setting, for the run folder."""
        plain = self.spec.model_dump(mode="json", exclude={"kind", "participant"})
        topology = plain["topology"]
        return {
            **plain,
            "problem": OWN_DATA,
            "algorithm": self.request.participant.name,
            "parameters": {k: v for k, v in self.parameters.items() if is_plain(v)},
            "nodes": self.nodes,
            "names": plain["nodes"],
            "topology": self.topology,
            "graph": None if isinstance(topology, str) else topology,
            "executor": self.executor,
        }


def resolve(
    request: Request,
    *,
    nodes: int,
    topology: Any,
    weights: str | None,
    executor: Executor,
    state: Path | None,
    site: Offers = EVERYTHING,
) -> ParticipantJob:
    """Looks everything up and checks it; what the `site` sets itself wins, as on its nodes.

    Raises:
        ConfigError: something is unknown, malformed or does not fit the rest.
    """
    if executor in ("dense", "stacked"):
        raise ConfigError(
            f"a participant cannot run on '{executor}': it owns its loop, and lock-step needs to",
            hint="inprocess, processes or simulated",
        )
    check_most(nodes)
    asked = request.participant
    given = site.parameters_for(asked.name, request.parameters)
    parameters = asked.bind(given)
    where = encode.locate(asked) if executor == "processes" else None
    graph_asked = _plain_topology(topology)
    spec = parse_spec(
        {
            "kind": "participant",
            "participant": {
                "name": asked.name,
                "parameters": given,
                "where": where,
            },
            "nodes": [str(node_name(i)) for i in range(nodes)],
            "topology": graph_asked,
            "weights": weights,
            "rounds": request.rounds,
            "observe_every": request.observe_every,
            "seed": request.seed,
            "record": list(names_recorded(request.record)),
            "checkpoints": request.checkpoints,
            "lane": request.lane,
        }
    )
    assert isinstance(spec, ParticipantSpec)
    graph, matrix, label = resolve_graph(graph_asked, weights, nodes, request.seed, None)
    return ParticipantJob(request, spec, graph, matrix, label, executor, parameters, state)


def _plain_topology(topology: Any) -> Plain:
    """As a specification says it; the arcs of a graph that was given as an object."""
    topology = read_topology(topology)
    if hasattr(topology, "nodes") and hasattr(topology, "edges") and callable(topology.nodes):
        topology = from_networkx(topology)
    if not isinstance(topology, Graph):
        plain: Plain = topology
        return plain
    edges: list[Plain] = [list(arc) for arc in topology.edges.tolist()]
    return {"edges": edges, "directed": topology.directed, "nodes": topology.n}


class ParticipantRun(Running[Result]):
    """A participant's run in progress on this machine."""

    def __init__(self, job: ParticipantJob, request_id: str, folder: RunFolder) -> None:
        super().__init__(workload_id_of(request_id), request_id, folder, job.nodes)
        self.job = job
        self.executor = job.executor
        self._meter = _Meter(job.nodes)

    async def _run(self) -> Result:
        match self.executor:
            case "processes":
                return await self._run_processes()
            case "simulated":
                seed = self.job.request.delay_seed
                outcomes: list[Outcome] = await self._in_thread(
                    lambda tell, check_stop: simulate_participants(
                        self._plan(), self.workload_id, _checking(tell, check_stop), delay_seed=seed
                    ),
                    self._tell,
                )
            case _:
                outcomes = await run_participants(self._plan(), self.workload_id, self._tell)
        await asyncio.sleep(0)  # what was told last is on the loop already
        return self._make_result(
            max(outcome.iterations for outcome in outcomes),
            sum(outcome.bytes_sent for outcome in outcomes),
            sum(outcome.messages_sent for outcome in outcomes),
            {str(node_name(i)): outcome.result for i, outcome in enumerate(outcomes)},
        )

    def _plan(self) -> ParticipantPlan:
        spec, request = self.job.spec, self.job.request
        return ParticipantPlan(
            request.participant,
            dict(self.job.parameters),
            self.job.graph,
            self.job.weights,
            spec.rounds,
            lambda node: self._state(node_name(node)),
            spec.observe_every,
            spec.seed,
            tuple(spec.record),
            spec.checkpoints,
        )

    def _state(self, node: str) -> Path:
        return (self.job.state or self.folder.path.resolve() / "nodes") / to_file_name(node)

    async def _run_processes(self) -> Result:
        workload = await run_processes(
            self.job.spec.model_dump(mode="json"),
            [str(node_name(i)) for i in range(self.job.nodes)],
            self._state,
            lambda point: self._told(metric_of(point)),
            folder=self.folder.path,
            is_temporary=self.is_temporary,
            happened=self.happened,
            request_id=self._request_id,
        )
        ended = Ended.of(workload)
        return self._make_result(
            ended.iterations, ended.bytes_sent, ended.messages_sent, ended.results, ended.links
        )

    def _tell(self, progress: Progress) -> None:
        whole = self._meter.add(progress)
        if whole is not None:
            logged = _by_name({str(node_name(p.node)): p.logged for p in whole})
            self._told(
                Metric(
                    progress.iteration,
                    self._seconds(),
                    None,
                    None,
                    None,
                    sum(p.bytes_sent for p in whole),
                    sum(p.messages_sent for p in whole),
                    logged,
                )
            )

    def _make_result(
        self,
        iterations: int,
        bytes_sent: int,
        messages_sent: int,
        results: Mapping[str, Plain],
        links: Mapping[str, int] = MappingProxyType({}),
    ) -> Result:
        summary = summarize(
            workload_id=self.workload_id,
            status="done",
            algorithm=self.job.request.participant.name,
            topology=self.job.topology,
            nodes=self.job.nodes,
            executor=self.executor,
            iterations=iterations,
            bytes_sent=bytes_sent,
            messages_sent=messages_sent,
            seconds=time.monotonic() - self._began,
            run_dir=str(self.folder.path),
            links=dict(links),
        )
        self.folder.write_results(results)
        self.folder.write_summary(summary)
        return Result([], list(self.told), summary, results=results)


def _checking(tell: Tell, check_stop: Callable[[], None]) -> Tell:
    """Tells, unless the run was stopped."""

    def told(progress: Progress) -> None:
        check_stop()
        tell(progress)

    return told


class _Meter:
    """Puts the nodes' rounds together."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._told: defaultdict[int, dict[int, Progress]] = defaultdict(dict)

    def add(self, progress: Progress) -> list[Progress] | None:
        """All nodes' at this round, once the last has reached it, in node order."""
        here = self._told[progress.iteration]
        here[progress.node] = progress
        if len(here) < self._nodes:
            return None
        del self._told[progress.iteration]
        return [here[node] for node in range(self._nodes)]


@dataclass(frozen=True)
class Ended:
    """What the members of a participant's workload reported."""

    iterations: int
    bytes_sent: int
    messages_sent: int
    seconds: float
    results: Mapping[str, Plain]
    links: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, workload: pb.Workload) -> Ended:
        members = sorted(workload.members, key=lambda member: member.index)
        reports = {member.node: json.loads(member.result) for member in members}
        return cls(
            max(report["iterations"] for report in reports.values()),
            sum(report["bytes_sent"] for report in reports.values()),
            sum(report["messages_sent"] for report in reports.values()),
            max(report["seconds"] for report in reports.values()),
            {node: report["result"] for node, report in reports.items()},
            count_links(workload),
        )


def metric_of(point: pb.NetworkPoint) -> Metric:
    """What the coordinator tells of one round."""
    logged = json.loads(point.logged) if point.logged else {}
    counters = (point.bytes_sent, point.messages_sent)
    return Metric(point.iteration, point.seconds, None, None, None, *counters, logged)


def summarize(**figures: Any) -> Summary:
    """The summary of a participant's run: nobody knows its objective or sees its states."""
    unknown = ("gap", "consensus_error", "value", "optimum", "distance_to_optimum", "state_sha256")
    return Summary(**{"problem": OWN_DATA, **dict.fromkeys(unknown), **figures})


def _by_name(
    logged: Mapping[str, Mapping[str, float | None]],
) -> dict[str, dict[str, float | None]]:
    """By the logged name, then by the node's."""
    told: defaultdict[str, dict[str, float | None]] = defaultdict(dict)
    for node, numbers in logged.items():
        for name, number in numbers.items():
            told[name][node] = number
    return dict(told)
