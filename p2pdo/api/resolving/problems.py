"""A problem per node: from the catalogue, a file, or the user's hands."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.requests import Request
from p2pdo.data import catalogue, encode
from p2pdo.errors import ConfigError
from p2pdo.node.offers import Offers
from p2pdo.participants.definition import Participant
from p2pdo.problems.many import Many
from p2pdo.protocol.oracles import lack_of
from p2pdo.types import Plain


def problems_for(
    request: Request, parameters: Mapping[str, Plain], site: Offers
) -> tuple[Sequence[Any], str]:
    """In node order, and what they are called."""
    problem = request.problem
    if not isinstance(problem, str):
        return _given(list(problem), request, "given problems")
    if problem.endswith(".py"):
        raise ConfigError(
            f"{problem} names a file, not what in it is the problem",
            hint=f"{problem}:NAME, a list of problems, a factory of them, or a participant",
        )
    if problem in site.problems:
        return _given(_of_site(problem, request, parameters, site), request, problem)
    if problem in catalogue.PROBLEMS or ":" not in problem:
        site.require_allowed("problems", problem)
        built = catalogue.build_all(
            problem,
            request.nodes,
            request.partition,
            request.seed,
            dtype=request.dtype or "float64",
            parameters=site.parameters_for(problem, parameters),
        )
        return built, problem
    return _from_file(problem, request, parameters)


def _of_site(
    name: str, request: Request, parameters: Mapping[str, Plain], site: Offers
) -> list[Any]:
    """One that the site defines itself, for every node."""

    def make(node: int) -> Any:
        return site.problem(
            name,
            node,
            request.nodes,
            partition=request.partition,
            seed=request.seed,
            dtype=request.dtype or "float64",
            parameters=parameters,
        )

    return _made(make, f"the problem '{name}'", request)


def _from_file(
    where: str, request: Request, parameters: Mapping[str, Plain]
) -> tuple[list[Any], str]:
    """A list of problems, one a node, or a factory of them."""
    found = encode.load_object(where)
    if isinstance(found, Participant):
        raise ConfigError(
            f"{where} is a participant, not a problem",
            hint=f"p2pdo run {where} --rounds 100, or net.submit({found.name}, rounds=100)",
        )
    if callable(found):
        asked = (request.nodes, request.partition, request.seed)
        made = _made(lambda node: found(node, *asked, **parameters), where, request)
        return _given(made, request, where)
    if isinstance(found, Sequence):
        return _given(list(found), request, where)
    raise ConfigError(
        f"{where} is {type(found).__name__}, neither a list of problems nor a factory",
        hint="make it a function (node_index, nodes, partition, seed, **parameters) -> problem, "
        "or a @p2pdo.participant",
    )


def require_oracles(problems: Sequence[Any], algorithm: type[AnyAlgorithm]) -> None:
    """Refuses costs without what the algorithm calls, before anything is begun.

    Raises:
        ConfigError: names the node, and algorithms that would take its cost.
    """
    some = problems[:1] if isinstance(problems, Many) else problems  # those are of one kind
    for node, problem in enumerate(some):
        lack = lack_of(algorithm, problem)
        if lack is not None:
            raise ConfigError(lack.message, hint=lack.hint, node=f"node-{node}")


def participant_at(where: str) -> Participant | None:
    """What stands at "file.py:name" or "module:name", if it is a participant.

    Raises:
        ConfigError: there is no such file, module or name, or its import fails.
    """
    if where in catalogue.PROBLEMS or ":" not in where:
        return None
    found = encode.load_object(where)
    return found if isinstance(found, Participant) else None


def _made(make: Callable[[int], Any], where: str, request: Request) -> list[Any]:
    try:
        return [make(node) for node in range(request.nodes)]
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{where} failed: {type(error).__name__}: {error}", hint=_factory_remedy(error)
        ) from error


def _factory_remedy(error: Exception) -> str:
    """A call that does not fit fails here; anything else fails further in, at a line of its own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename == __file__:
        return (
            "it is called as factory(node_index, nodes, partition, seed, **parameters); "
            "a training loop needs @p2pdo.participant above it"
        )
    return f"it was raised in {last.filename}, line {last.lineno}"


def _given(problems: list[Any], request: Request, label: str) -> tuple[list[Any], str]:
    if not problems:
        raise ConfigError(f"{label} is empty", hint="give one problem a node")
    if len(problems) != request.nodes:
        raise ConfigError(
            f"{label}: {len(problems)} problems for {request.nodes} nodes",
            hint=f"give one a node, or --nodes {len(problems)}",
        )
    dimensions = [getattr(p, "dimension", None) for p in problems]
    for node, dimension in enumerate(dimensions):
        if not isinstance(dimension, int | np.integer) or dimension < 1:
            raise ConfigError(
                f"the problem of node {node} ({type(problems[node]).__name__}) tells no dimension",
                hint="give it a property dimension: the length of x",
                node=f"node-{node}",
            )
        if dimension != dimensions[0]:
            raise ConfigError(
                f"node 0's problem has dimension {dimensions[0]}, node {node}'s {dimension}",
                hint="all nodes decide on the same x",
                node=f"node-{node}",
            )
    return problems, label
