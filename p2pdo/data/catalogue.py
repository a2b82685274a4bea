"""The problems by name, and how a name with plain parameters becomes a node's cost.

A factory is called as `factory(node_index, nodes, partition, seed, dtype, **parameters)`. Its
keyword-only arguments are the parameters, and their defaults say what type each has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from p2pdo.data.held_out import share_of
from p2pdo.data.partition import check_partition, require_iid
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.on_use import ByName
from p2pdo.problems.base import Classifier, Gradient
from p2pdo.problems.checks import FLOATS, nonnegative, whole_number
from p2pdo.problems.many import Many, Stack
from p2pdo.types import Plain

if TYPE_CHECKING:
    from p2pdo.problems.coupled import Coupled

Cost: TypeAlias = "Gradient | Coupled"
Factory: TypeAlias = Callable[..., Cost]


PROBLEMS: ByName[Factory] = ByName(
    "p2pdo.data",
    {
        "breast-cancer": "breast_cancer.breast_cancer",
        "breast-cancer-svm": "breast_cancer.breast_cancer_svm",
        "breast-cancer-private": "breast_cancer.breast_cancer_private",
        "digits": "real.digits",
        "wine": "real.wine",
        "diabetes": "real.diabetes",
        "diabetes-huber": "real.diabetes_huber",
        "two-moons": "two_moons.two_moons",
        "quadratic": "synthetic.quadratic",
        "least-squares": "synthetic.least_squares",
        "averaging": "synthetic.averaging",
        "averaging-private": "synthetic.averaging_private",
        "allocation": "synthetic.allocation",
    },
)

AT_ONCE: ByName[Callable[..., Stack]] = ByName(
    "p2pdo.data.synthetic",
    {"least-squares": "all_least_squares", "averaging": "all_averaging"},
)
"""Those that make the costs of all nodes as one stack, for more than `MANY` nodes."""

HELD_OUT: ByName[Callable[..., Classifier]] = ByName(
    "p2pdo.data",
    {
        "breast-cancer": "breast_cancer.held_out",
        "breast-cancer-svm": "breast_cancer.held_out",
        "breast-cancer-private": "breast_cancer.held_out",
        "digits": "real.digits_held_out",
        "wine": "real.wine_held_out",
        "two-moons": "two_moons.held_out",
    },
)
"""Of those with classes: what makes a cost of the samples that no node has."""

MANY = 1000

DESCRIPTIONS: Mapping[str, str] = {
    "breast-cancer": "logistic regression on 569 real samples, 31 features; needs scikit-learn",
    "breast-cancer-svm": "the same as a support vector machine, whose hinge loss is not smooth",
    "breast-cancer-private": "the same with a secret of each node and run, for dp-dgd",
    "digits": "softmax regression on 1797 images of digits, 650 weights; needs scikit-learn",
    "wine": "softmax regression on 178 wines, 42 weights; needs scikit-learn",
    "diabetes": "ridge regression on 442 patients, 11 features; needs scikit-learn",
    "diabetes-huber": "the same with Huber's loss, which outliers pull less; needs scikit-learn",
    "two-moons": "logistic regression of a cubic that parts two noisy half circles",
    "quadratic": "random strongly convex quadratics, eigenvalues in [1, 10]",
    "least-squares": "noisy linear measurements of one planted x",
    "averaging": "half the squared distance from a random point: the optimum is the points' mean",
    "averaging-private": "the same with a secret of each node and run, for masked-consensus",
    "allocation": "decisions of each node's own that share resources; x are the resources' prices",
}


SYNTHETIC = frozenset(
    {"quadratic", "least-squares", "averaging", "averaging-private", "allocation"}
)
"""Those that have no labels to be shared out by."""


def check_partition_of(name: str, partition: str) -> None:
    """Refuses a partition that the problem does not have; of one that is not ours, any is right.

    Raises:
        ConfigError: an unknown partition, or one by labels of data without labels.
    """
    check_partition(partition)
    if name in SYNTHETIC:
        require_iid(partition)


def describe(name: str) -> str:
    """One line for help: what it is, then its parameters with their defaults."""
    parameters = ", ".join(f"{key}={value}" for key, value in defaults_of(name).items())
    return f"{DESCRIPTIONS[name]} ({parameters})"


def defaults_of(name: str) -> dict[str, Plain]:
    """The problem's parameters with their defaults."""
    parameters = inspect.signature(find(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def find(name: str) -> Factory:
    """The factory of that name."""
    try:
        return PROBLEMS[name]
    except KeyError:
        raise ConfigError(
            f"unknown problem '{name}'", hint=did_you_mean(name, list(PROBLEMS))
        ) from None


def build(
    name: str,
    node_index: int,
    nodes: int,
    partition: str = "iid",
    seed: int = 0,
    *,
    dtype: np.dtype[Any] | str = "float64",
    parameters: Mapping[str, Plain] | None = None,
) -> Cost:
    """One node's cost.

    Raises:
        ConfigError: an unknown problem, partition, dtype or parameter, or a value of the wrong
            type or out of range.
        MissingExtra: its data need a package that is not installed.
    """
    factory = find(name)
    whole_number("nodes", nodes)
    whole_number("node_index", node_index, least=0)
    if node_index >= nodes:
        raise ConfigError(
            f"there is no node {node_index} among {nodes}",
            hint=f"node_index runs from 0 to {nodes - 1}",
        )
    values = check_parameters(name, parameters or {})
    seed = whole_number("seed", seed, least=0)
    return factory(node_index, nodes, partition, seed, _checked_dtype(dtype), **values)


def build_all(
    name: str,
    nodes: int,
    partition: str = "iid",
    seed: int = 0,
    *,
    dtype: np.dtype[Any] | str = "float64",
    parameters: Mapping[str, Plain] | None = None,
) -> Sequence[Cost]:
    """Every node's cost, in node order; raises what `build` raises.

    Of more than `MANY` nodes it is a `Many`, where the problem can make all at once.
    """
    whole_number("nodes", nodes)
    if nodes > MANY and name in AT_ONCE:
        values = check_parameters(name, parameters or {})
        seed = whole_number("seed", seed, least=0)
        return Many(AT_ONCE[name](nodes, partition, seed, _checked_dtype(dtype), **values))
    return [
        build(name, i, nodes, partition, seed, dtype=dtype, parameters=parameters)
        for i in range(nodes)
    ]


def held_out(name: str, seed: int, parameters: Mapping[str, Plain]) -> Classifier | None:
    """The samples that no node has, as a cost that classifies; None where there are none.

    Raises:
        ConfigError: `problem.test` is no share of the samples.
    """
    values = check_parameters(name, parameters)
    return HELD_OUT[name](seed, **values) if values.get("test") else None  # others have no "test"


def check_parameters(name: str, parameters: Mapping[str, Plain]) -> dict[str, Plain]:
    """The parameters as the problem's factory takes them; no data are made or read.

    Raises:
        ConfigError: an unknown parameter, or a value of the wrong type or out of range.
    """
    defaults = defaults_of(name)
    checked: dict[str, Plain] = {}
    for key, value in parameters.items():
        if key not in defaults:
            raise ConfigError(
                f"{name} has no parameter '{key}'", hint=did_you_mean(key, list(defaults))
            )
        checked[key] = _checked(key, value, defaults[key])
    return checked


def _checked(name: str, value: Plain, default: Plain) -> Plain:
    if name == "test":
        return share_of(name, value)
    return whole_number(name, value) if isinstance(default, int) else nonnegative(name, value)


def _checked_dtype(dtype: np.dtype[Any] | str) -> np.dtype[Any]:
    known = {str(d): d for d in FLOATS}
    if str(dtype) not in known:
        raise ConfigError(f"unknown dtype '{dtype}'", hint=did_you_mean(str(dtype), list(known)))
    return known[str(dtype)]
