"""From a specification to what each node will be told. Pure: it runs on a thread of its own.

Everything that can be known to be wrong is refused here, before a node has heard of it: names,
parameters, graph and weights against what the algorithm requires, and what this coordinator must
not do. Code never travels: an algorithm or a part that is named by its place on a disk is for a
local run, whose launcher owns that disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Requires
from p2pdo.config import (
    OptimizationSpec,
    ParticipantSpec,
    ProblemSpec,
    Spec,
    TasksSpec,
    parse_spec,
)
from p2pdo.coordinator.settings import Settings
from p2pdo.data import catalogue as problem_catalogue
from p2pdo.data.partition import check_partition
from p2pdo.driving.controllers import find as find_controller
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import modes
from p2pdo.graphs.weights import Weights
from p2pdo.protocol.assignment import (
    PARTICIPANT_SETTINGS,
    SETTINGS,
    Member,
    config_payloads,
    resolve_graph,
    topology_digest,
)
from p2pdo.protocol.asynchronous.auditing import require_ledger
from p2pdo.protocol.coding import NONE, coding_of, lazier, require_codable, settle
from p2pdo.protocol.monitoring import require_invariants
from p2pdo.protocol.tasks_of_runs import EXECUTOR, PARTICIPANT_EXECUTOR
from p2pdo.protocol.workload import (
    Machine,
    Optimization,
    Participation,
    TaskQueue,
)
from p2pdo.types import Plain, WorkloadId
from p2pdo.wire.plain import parse_plain

MAX_SPEC = 4 * 1024 * 1024
MAX_LOGGED = 16 * 1024  # characters of a node's numbers of one round


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked specification with its nodes: the `config` payloads and what was resolved."""

    spec: Spec
    spec_text: str
    members: Sequence[Member]
    payloads: Sequence[dict[str, Plain]]
    resolved: dict[str, Plain]


def read_spec(text: str, settings: Settings) -> Spec:
    """The specification in this JSON, as far as it can be checked without knowing the nodes.

    Raises:
        ConfigError: it is wrong, or nothing for this coordinator.
    """
    if len(text) > MAX_SPEC:
        raise ConfigError(
            f"the specification has {len(text)} characters, more than {MAX_SPEC}",
            hint="give the topology by its name, or as edges and not as a matrix",
        )
    try:
        data: Any = parse_plain(text)
    except ValueError as error:
        raise ConfigError(
            f"the specification is not JSON: {error}", hint="send a JSON object"
        ) from None
    spec = parse_spec(data)
    if isinstance(spec, TasksSpec) and spec.controller is not None:
        find_controller(settings.controllers, spec.controller)
    if isinstance(spec, ParticipantSpec) and not settings.local:
        _refuse_places({"participant.where": spec.participant.where})
    if isinstance(spec, OptimizationSpec):
        if not settings.local:
            _refuse_what_is_local(spec)
        if spec.tol is not None and spec.observer is None:
            raise ConfigError(
                "a tolerance is not available here: nobody sees the states to judge them",
                hint="--settle EPS ends where no node moves any more; or p2pdo run with --tol",
            )
        _check_problem(spec.problem, spec.partition)
        if spec.algorithm.where is None:
            _check_parameters(spec)
    return spec


def same_spec(one: str, other: str) -> bool:
    """Whether two JSON texts ask for the same."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def parse_stored(text: str) -> Spec:
    """A specification that was accepted before."""
    return parse_spec(json.loads(text))


def make_plan(spec: Spec, text: str, members: Sequence[Member]) -> Plan:
    """Assigns the graph.

    Raises:
        ConfigError: graph or weights are not what the algorithm requires.
    """
    if isinstance(spec, TasksSpec):
        return Plan(spec, text, members, payloads=[], resolved={})
    graph, weights, label = resolve_graph(
        spec.topology, spec.weights, len(members), spec.seed, _requires(spec)
    )
    told = PARTICIPANT_SETTINGS if isinstance(spec, ParticipantSpec) else SETTINGS
    codec, mixes = _codec_of(spec, weights)
    settings = {**spec.model_dump(mode="json"), "codec": codec}
    if isinstance(spec, OptimizationSpec):
        _refuse_to_look_in_vain(spec, len(members))
        settings["monitor"] = spec.monitor_every
    payloads = config_payloads(members, graph, weights, settings, told)
    digest = topology_digest(weights, [member.name for member in members])
    resolved: dict[str, Plain] = {"topology": label, "digest": digest, "safe_share": 1.0}
    if isinstance(spec, OptimizationSpec) and spec.algorithm.where is None:
        cls = catalogue.find(spec.algorithm.name)
        resolved["safe_share"] = cls.safe_share(modes(mixes))
        resolved["degrees"] = list(weights.degrees)
        found = catalogue.told_by_network(cls, _parameters(spec), mixes)
        resolved |= {"told_by_network": found} if found else {}
    return Plan(spec, text, members, payloads, resolved)


def read_logged(text: str) -> dict[str, float | None]:
    """What a participant has logged, {name: number or null}.

    Raises:
        ConfigError: it is no such thing, or too much.
    """
    if not text:
        return {}
    try:
        logged: Any = parse_plain(text) if len(text) <= MAX_LOGGED else None
        return {
            str(name): None if number is None else float(number) for name, number in logged.items()
        }
    except (ValueError, TypeError, OverflowError, AttributeError):
        pass
    raise ConfigError(
        "what was logged is not numbers by name, or too much",
        hint=f"log numbers, at most {MAX_LOGGED} characters a round",
    )


def make_machine(
    workload: WorkloadId, spec: Spec, members: Sequence[Member], resolved: dict[str, Plain]
) -> Machine:
    """The life cycle at its beginning."""
    names = [member.name for member in members]
    if isinstance(spec, TasksSpec):
        return TaskQueue(workload, names, resolved=resolved)
    if isinstance(spec, ParticipantSpec):
        return Participation(
            workload, names, resolved=resolved, parameters=spec.participant.parameters
        )
    return Optimization(
        workload,
        names,
        resolved=resolved,
        algorithm=spec.algorithm.name,
        parameters=_parameters(spec),
        is_foreign=spec.algorithm.where is not None,
    )


def executor_of(spec: Spec, node: str) -> str:
    """Who handles its tasks at that node."""
    match spec:
        case TasksSpec():
            return spec.executor_at(node)
        case ParticipantSpec():
            return PARTICIPANT_EXECUTOR
        case OptimizationSpec():
            return EXECUTOR


def _requires(spec: OptimizationSpec | ParticipantSpec) -> Requires | None:
    """What the algorithm requires; one that is foreign here was checked by its launcher."""
    if isinstance(spec, ParticipantSpec) or spec.algorithm.where is not None:
        return None
    return catalogue.find(spec.algorithm.name).requires


def _refuse_what_is_local(spec: OptimizationSpec) -> None:
    _refuse_places({"problem.parts": spec.problem.parts, "algorithm.where": spec.algorithm.where})
    if spec.observer is not None:
        raise ConfigError(
            "observer is refused: states never leave a node to be watched",
            hint="leave it out, or use p2pdo run for a local run",
        )
    if spec.timeline is not None:
        raise ConfigError(
            "timeline is refused: it is kept for a local run's launcher, and here is none",
            hint="leave it out, or use p2pdo run --timeline FILE for a local run",
        )


def _refuse_to_look_in_vain(spec: OptimizationSpec, nodes: int) -> None:
    """Refuses a monitor that would see nothing, or too much."""
    if spec.monitor_every is None:
        return
    if nodes == 1:
        raise ConfigError(
            "a monitor sees the sum of all nodes' parts, which of one node is its own part",
            hint="two nodes or more, or leave --monitor out",
        )
    if spec.algorithm.where is None:
        cls = catalogue.find(spec.algorithm.name)
        if issubclass(cls, AsynchronousAlgorithm):
            require_ledger(cls)
        else:
            require_invariants(cls)


def _check_problem(problem: ProblemSpec, partition: str) -> None:
    """What a site calls by a name of its own, only the site can check."""
    if problem.parts is not None:
        check_partition(partition)  # each node's part is cut already
        return
    problem_catalogue.check_partition_of(problem.name, partition)
    if problem.name in problem_catalogue.PROBLEMS:
        problem_catalogue.check_parameters(problem.name, problem.parameters)


def _refuse_places(given: Mapping[str, str | None]) -> None:
    for place, value in given.items():
        if value is not None:
            raise ConfigError(
                f"{place} is refused: code never travels, and this coordinator is nobody's own",
                hint="name what the sites have installed, or use p2pdo run for a local run",
            )


def _check_parameters(spec: OptimizationSpec) -> None:
    """Builds the algorithm once, with any L where its step size will come from the problem's."""
    cls = catalogue.find(spec.algorithm.name)
    catalogue.build(cls, _parameters(spec), smoothness=1.0)


def _parameters(spec: OptimizationSpec) -> dict[str, Plain]:
    """The algorithm's, a compressor of its own among them; as they are where it is foreign."""
    given = spec.algorithm.parameters
    if spec.algorithm.where is not None:
        return dict(given)
    return settle(catalogue.find(spec.algorithm.name), given, spec.codec)[0]


def _codec_of(spec: OptimizationSpec | ParticipantSpec, weights: Weights) -> tuple[str, Weights]:
    """What the nodes code by, and by which weights that makes them mix."""
    if isinstance(spec, ParticipantSpec):
        return NONE, weights
    codec = spec.codec
    if spec.algorithm.where is None:
        cls = catalogue.find(spec.algorithm.name)
        codec = settle(cls, spec.algorithm.parameters, codec)[1]
        if codec != NONE:
            require_codable(cls, weights)
    coding = coding_of(codec)
    return (NONE, weights) if coding is None else (str(coding), lazier(weights, coding.step))
