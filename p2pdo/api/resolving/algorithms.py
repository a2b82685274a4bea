"""An algorithm with its parameters; a step size that is not given fits the problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Algorithm, CostBounds
from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.parameters import is_scalar, parameters_of
from p2pdo.data import encode
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import modes
from p2pdo.graphs.weights import Weights
from p2pdo.problems.many import Many
from p2pdo.types import Plain


def algorithm_class(asked: str | AnyAlgorithm) -> tuple[type[AnyAlgorithm], str]:
    """The class, and what it is called."""
    if isinstance(asked, type):
        raise ConfigError(
            f"{asked.__name__} is a class; a run takes an object of it",
            hint=f"{asked.__name__}(…), with its parameters",
        )
    if isinstance(asked, Algorithm | AsynchronousAlgorithm):
        cls: type[AnyAlgorithm] = type(asked)
    else:
        cls = encode.load(asked) if ":" in asked else catalogue.find(asked)
        if not issubclass(cls, Algorithm | AsynchronousAlgorithm):
            raise ConfigError(
                f"{asked} is no algorithm", hint="derive it from p2pdo.algorithms.Algorithm"
            )
    if not hasattr(cls, "__dataclass_fields__"):
        raise ConfigError(
            f"{cls.__name__} is no dataclass: its parameters have no names",
            hint="write @dataclass(frozen=True) above it; its fields are its parameters",
        )
    return cls, catalogue.name_of(cls)


def algorithm_for(
    asked: str | AnyAlgorithm,
    cls: type[AnyAlgorithm],
    parameters: Mapping[str, Plain],
    problems: Sequence[Any],
    weights: Weights,
) -> AnyAlgorithm:
    """With these parameters; `weights` are those that it mixes with."""
    if isinstance(asked, str):
        parameters = {
            **catalogue.told_by_network(cls, parameters, weights),
            **catalogue.told_by_costs(cls, parameters, _bounds(cls, problems, weights)),
            **parameters,
        }
        if not catalogue.needs_smoothness(cls, parameters):
            return catalogue.build(cls, parameters)
        some = problems[:1] if isinstance(problems, Many) else problems  # those are of one kind
        are_quadratic = all(getattr(p, "is_quadratic", True) for p in some)
        return catalogue.build(
            cls,
            parameters,
            _smoothness(problems),
            cls.safe_share(modes(weights)) if are_quadratic else 1.0,
        )
    if parameters:
        raise ConfigError(
            f"parameters {', '.join(parameters)} are given beside an algorithm object",
            hint="give them to the object itself",
        )
    return _with_plain_numbers(asked)


def _with_plain_numbers(algorithm: AnyAlgorithm) -> AnyAlgorithm:
    """The same with Python's numbers for NumPy's, which cannot cross to a process.

    On every executor, so that all compute alike: a NumPy scalar may widen what it meets.
    """
    plain = parameters_of(algorithm)
    odd = {name: number for name, number in plain.items() if is_scalar(getattr(algorithm, name))}
    return replace(algorithm, **odd) if odd else algorithm  # type: ignore[type-var]


def _bounds(
    cls: type[AnyAlgorithm], problems: Sequence[Any], weights: Weights
) -> CostBounds | None:
    """What the costs tell to a method that asks for it; None where one does not."""
    if not cls.from_costs:
        return None  # eigenvalues of many costs take time
    convexities = [getattr(p, "strong_convexity", None) for p in problems]
    known = [float(c) for c in convexities if c is not None]
    steepness = _smoothnesses(problems)
    if not steepness or len(known) < len(convexities):
        return None
    mean = sum(known) / len(known)
    return CostBounds(max(steepness), min(steepness), min(known), mean, *weights.degrees)


def _smoothness(problems: Sequence[Any]) -> float | None:
    """L = maxᵢ Lᵢ, where all tell theirs."""
    if isinstance(problems, Many):
        return problems.stack.smoothness
    return max(_smoothnesses(problems), default=None)


def _smoothnesses(problems: Sequence[Any]) -> list[float]:
    """Every node's Lᵢ; nothing where one does not tell it."""
    constants = [getattr(p, "smoothness", None) for p in problems]
    known = [float(c) for c in constants if c is not None]
    return known if len(known) == len(constants) else []
