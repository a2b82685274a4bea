"""What is sent to a coordinator for a run: names and parameters, never code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.algorithms.base import Method
from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.parameters import parameters_of, split_parameters
from p2pdo.api.requests import names_recorded
from p2pdo.data import catalogue as problem_catalogue
from p2pdo.errors import ConfigError
from p2pdo.participants.definition import Participant
from p2pdo.types import Plain

NO_TOLERANCE = (
    "a tolerance of the gap needs somebody who sees all states, and a network of daemons has nobody"
)

SETTLE = (
    "--rounds K, or --settle EPS: it ends where no node moves any more; "
    "or p2pdo run for a run on this machine"
)


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
