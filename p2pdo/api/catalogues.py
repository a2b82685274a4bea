"""What there is to choose from, as plain data: for lists, help and completion."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
from p2pdo.algorithms.base import Algorithm, Method
from p2pdo.algorithms.catalogue import (
    ALGORITHMS,
    AnyAlgorithm,
    build,
    find,
    is_of_the_library,
    needs_smoothness,
)
from p2pdo.algorithms.installed import installed_algorithms, load
from p2pdo.data.catalogue import DESCRIPTIONS, defaults_of
from p2pdo.effects import freeze
from p2pdo.errors import ConfigError
from p2pdo.graphs.topologies import ring
from p2pdo.graphs.weights import Stochastic, default
from p2pdo.problems.base import Composite, Coupling, DualGradient, Hessian, Private, Secret
from p2pdo.problems.coupled import Coupled
from p2pdo.problems.lasso import Lasso
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.private import PrivateLogistic, fresh_secret
from p2pdo.problems.regression import Ridge
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Objective
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.simulation.asynchronous import run_asynchronous
from p2pdo.simulation.lockstep import advance_to

P = TypeVar("P", bound=Plan)

_NO_ROUNDS = "waits for none: what is lost on the way is in the next one"

_SUMS = {
    Stochastic.NONE: "any weights",
    Stochastic.ROW: "row stochastic weights",
    Stochastic.COLUMN: "column stochastic weights",
    Stochastic.DOUBLY: "doubly stochastic weights",
}
_ORACLES = {
    "Gradient": "a gradient",
    "Prox": "a proximal map",
    "Composite": "a smooth part and a proximal map of the rest",
    "FiniteSum": "gradients of its terms",
    "Hessian": "a gradient and a Hessian",
    "DualGradient": "a gradient of its conjugate",
    "Private": "gradients of its terms and a secret",
    "Secret": "a secret",
    "Coupling": "resources that its nodes share",
}

_STEP_SIZE = "1/L, L = the largest Lᵢ; a stable share of it where all costs are quadratic"
_FIRST, _MEASURED = 2, 42  # iterations between which messages are counted
_DIMENSION = 200
_SOLVED = 20  # the dimension where each step solves a system of it


def describe_algorithms() -> list[dict[str, Any]]:
    """Name, paper, parameters with their defaults, what must hold, and what it sends.

    A default of None comes from the problem; `derived` says how. What other packages have
    installed comes after the library's own, with `error` where it cannot be imported.
    """
    return [
        *(_described(name, cls) for name, cls in ALGORITHMS.items()),
        *(_described(name, cls) for name, cls in ASYNCHRONOUS.items()),
        *_described_installed(),
    ]


def describe_algorithm(name: str) -> dict[str, Any]:
    """The same of one, with its whole documentation: the update, assumptions and invariant.

    Raises:
        ConfigError: there is no such algorithm.
    """
    cls = find(name)
    return {**_described(name, cls), "text": inspect.getdoc(cls) or ""}


def describe_problems() -> list[dict[str, Any]]:
    """Name, what it is, and its parameters with their defaults."""
    return [
        {"name": name, "about": about, "parameters": defaults_of(name)}
        for name, about in DESCRIPTIONS.items()
    ]


def _described(name: str, cls: type[AnyAlgorithm]) -> dict[str, Any]:
    if not hasattr(cls, "__dataclass_fields__"):
        raise ConfigError(
            f"{cls.__name__} is no dataclass: its parameters have no names",
            hint="write @dataclass(frozen=True) above it; its fields are its parameters",
        )
    return {
        "name": name,
        "about": _first_line(cls),
        "parameters": _parameters(cls),
        "derived": _derived(cls),
        "requires": _requirements(cls),
        "reaches": cls.limit.value,
        **(_asynchronous(cls) if issubclass(cls, AsynchronousAlgorithm) else _synchronous(cls)),
    }


def _synchronous(cls: type[Algorithm[Any]]) -> dict[str, Any]:
    exchanges, values = _traffic(cls)
    return {
        "kind": "synchronous",
        "exchanges": exchanges,
        "values": values,
        "missing": cls.missing.value,
        "stacks": cls.batched,
    }


def _asynchronous(cls: type[AsynchronousAlgorithm[Any]]) -> dict[str, Any]:
    messages, values = _messages(cls)
    return {
        "kind": "asynchronous",
        "exchanges": messages,
        "values": values,
        "missing": _NO_ROUNDS,
        "stacks": False,
    }


def _described_installed() -> Iterator[dict[str, Any]]:
    for name, entry in installed_algorithms().items():
        if is_of_the_library(name):
            continue
        try:
            yield {**_described(name, load(entry)), "place": entry.value}
        except ConfigError as error:
            yield {"name": name, "place": entry.value, "error": error.message}


def _first_line(cls: type[Method]) -> str:
    """What its docstring begins with: the method and its paper."""
    text = (inspect.getdoc(cls) or cls.__name__).partition("\n\n")[0]
    return " ".join(text.replace("*", "").split()).rstrip(".:")


def _derived(cls: type[Method]) -> dict[str, str]:
    step_size = {"step_size": _STEP_SIZE} if needs_smoothness(cls, {}) else {}
    return step_size | dict(cls.from_network) | dict(cls.from_costs)


def _parameters(cls: type[Method]) -> dict[str, Any]:
    told = cls.from_network.keys() | cls.from_costs.keys()
    return {
        f.name: None if f.default is MISSING or f.name in told else f.default
        for f in fields(cls)  # type: ignore[arg-type]
        if f.init
    }


def _requirements(cls: type[Method]) -> str:
    needs = cls.requires
    symmetric = "symmetric " if needs.symmetric else ""
    undirected = " on an undirected graph" if needs.undirected else ""
    oracle = needs.oracle.__name__
    of_problem = (
        ""
        if oracle == "Problem"
        else f" and a problem with {_ORACLES.get(oracle, f'the oracle {oracle}')}"
    )
    may_vary = ", which may vary," if needs.time_varying else ""
    weights = f"{symmetric}{_SUMS[Stochastic(int(needs.weights))]}{may_vary}"
    return f"{weights}{undirected}{of_problem}".rstrip(",")


def _traffic(cls: type[Algorithm[Any]]) -> tuple[float | None, float | None]:
    """Exchanges an iteration, and vectors of the length of x to each neighbour: counted in a run.

    None where another parameter has no default, or the run goes wrong: foreign code may.
    """
    try:
        steppers = _steppers(build(cls, {}, smoothness=1e3))
        counted = []
        for iteration in (_FIRST, _MEASURED):
            advance_to(steppers, iteration)
            counted.append((steppers[0].messages_sent, steppers[0].bytes_sent))
    except Exception:  # noqa: BLE001 - a list is not where somebody's mistake is told
        return None, None
    links = len(steppers[0].place.out_neighbors) * (_MEASURED - _FIRST)
    (messages, sent), (messages_later, sent_later) = counted
    vectors = (sent_later - sent) / links / (8 * len(steppers[0].state.x))
    return round((messages_later - messages) / links, 1), round(vectors, 1)


def _messages(cls: type[AsynchronousAlgorithm[Any]]) -> tuple[float | None, float | None]:
    """The same in a wake-up, on a network that is simulated without losses."""
    try:
        algorithm = build(cls, {}, smoothness=1e3)
        plan = _plan(AsynchronousPlan, algorithm, rounds=_MEASURED)
        objective = Objective(plan.problems)
        reports = run_asynchronous(plan, Judge(objective, plan.nodes, None), lambda _: None)
    except Exception:  # noqa: BLE001 - a list is not where somebody's mistake is told
        return None, None
    times = sum(report.iteration * len(plan.place(report.node).out_neighbors) for report in reports)
    vectors = sum(report.bytes_sent for report in reports) / times / (8 * _DIMENSION)
    return round(sum(r.messages_sent for r in reports) / times, 1), round(vectors, 1)


def _steppers(algorithm: Algorithm[Any]) -> list[Stepper[Any]]:
    plan = _plan(Plan, algorithm, rounds=_MEASURED)
    return [
        Stepper(algorithm, plan.problems[i], plan.place(i), plan.starts[i], 0)
        for i in range(plan.nodes)
    ]


def _plan(make: type[P], algorithm: Any, rounds: int) -> P:
    rng, graph, oracle = np.random.default_rng(0), ring(3), algorithm.requires.oracle
    d = _SOLVED if oracle in (Hessian, DualGradient) else _DIMENSION
    samples = [(rng.standard_normal((3, d)), rng.standard_normal(3)) for _ in range(graph.n)]
    if oracle is Composite:
        costs: list[Any] = [Lasso(A, b, 0.01) for A, b in samples]
    elif oracle in (Hessian, DualGradient):
        costs = [Ridge(A, b, len(b), 0.01) for A, b in samples]
    elif algorithm.requires.oracle is Coupling:
        one = np.ones(_DIMENSION)
        costs = [Coupled(one, one, -one, one, np.eye(_DIMENSION), one / 2) for _ in samples]
    elif oracle in (Private, Secret):
        costs = [PrivateLogistic(A, np.sign(b), 9, 0.1, fresh_secret()) for A, b in samples]
    else:
        costs = [LeastSquares(A, b) for A, b in samples]
    starts = [freeze(np.zeros(d)) for _ in costs]
    return make(algorithm, costs, graph, default(graph), starts, rounds)
