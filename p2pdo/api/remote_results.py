"""What is left of a run on a network of daemons: its settings, figures and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.api.runs import Result
from p2pdo.config import OptimizationSpec, ParticipantSpec
from p2pdo.data import catalogue as problem_catalogue
from p2pdo.errors import P2pdoError
from p2pdo.protocol.judging import Objective, consensus_error, mean_state
from p2pdo.reporting.records import OWN_DATA
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Array
from p2pdo.wire.v1 import coordinator_pb2 as pb

EXECUTOR = "daemons"


def rounds_of(spec: Mapping[str, Any]) -> int:
    """The limit, also where it was left to its default."""
    return OptimizationSpec.model_validate(spec).rounds


def settings_of(workload: pb.Workload) -> dict[str, Any]:
    """A run's settings for its folder, as a local run would write them."""
    spec, resolved = json.loads(workload.spec), json.loads(workload.resolved or "{}")
    if is_participation(workload):
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


def is_participation(workload: pb.Workload) -> bool:
    return bool(json.loads(workload.spec).get("kind") == "participant")


def write_result(folder: RunFolder, workload: pb.Workload, result: Result) -> None:
    folder.write_settings(settings_of(workload))  # the parameters are resolved by now
    members = sorted(workload.members, key=lambda member: member.index)
    for member, x in zip(members, result.states, strict=False):  # no states, or all
        folder.write_state(member.node, x)
    folder.write_summary(result.summary)


def figures_of(spec: Mapping[str, Any], states: Sequence[Array]) -> dict[str, Any]:
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
