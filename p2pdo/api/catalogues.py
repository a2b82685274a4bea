"""What there is to choose from, as plain data: for lists, help and completion."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Any

from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import ALGORITHMS, needs_smoothness
from p2pdo.data.catalogue import DEFAULTS, DESCRIPTIONS
from p2pdo.graphs.weights import Stochastic

_SUMS = {
    Stochastic.NONE: "any weights",
    Stochastic.ROW: "row stochastic weights",
    Stochastic.COLUMN: "column stochastic weights",
    Stochastic.DOUBLY: "doubly stochastic weights",
}


_STEP_SIZE = "1/L, L = the largest Lᵢ; a stable share of it where all costs are quadratic"


def describe_algorithms() -> list[dict[str, Any]]:
    """Name, paper, parameters with their defaults, and what must hold.

    A default of None comes from the problem; `derived` says how.
    """
    return [
        {
            "name": name,
            "about": _first_line(cls),
            "parameters": _parameters(cls),
            "derived": {"step_size": _STEP_SIZE} if needs_smoothness(cls, {}) else {},
            "requires": _requirements(cls),
        }
        for name, cls in ALGORITHMS.items()
    ]


def describe_problems() -> list[dict[str, Any]]:
    """Name, what it is, and its parameters with their defaults."""
    return [
        {"name": name, "about": about, "parameters": dict(DEFAULTS[name])}
        for name, about in DESCRIPTIONS.items()
    ]


def _first_line(cls: type[Algorithm[Any]]) -> str:
    """What its docstring begins with: the method and its paper."""
    text = (inspect.getdoc(cls) or cls.__name__).partition("\n\n")[0]
    return " ".join(text.replace("*", "").split()).rstrip(".")


def _parameters(cls: type[Algorithm[Any]]) -> dict[str, Any]:
    return {
        f.name: None if f.default is MISSING else f.default
        for f in fields(cls)  # type: ignore[arg-type]
        if f.init
    }


def _requirements(cls: type[Algorithm[Any]]) -> str:
    needs = cls.requires
    oracle = needs.oracle.__name__.lower()
    symmetric = "symmetric " if needs.symmetric else ""
    of_problem = "" if oracle == "problem" else f" and a problem with a {oracle}"
    return f"{symmetric}{_SUMS[Stochastic(int(needs.weights))]}{of_problem}"
