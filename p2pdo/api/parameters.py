"""Parameters by name: an algorithm's, and beside them the problem's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.types import Plain

PROBLEM_PREFIX = "problem."


def split_parameters(
    parameters: Mapping[str, Plain],
) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The algorithm's parameters and the problem's."""
    own = {k: v for k, v in parameters.items() if not k.startswith(PROBLEM_PREFIX)}
    of_problem = {
        k.removeprefix(PROBLEM_PREFIX): v
        for k, v in parameters.items()
        if k.startswith(PROBLEM_PREFIX)
    }
    return own, of_problem


def parameters_of(algorithm: AnyAlgorithm) -> dict[str, Plain]:
    """By name; numbers of NumPy, PyTorch and JAX are Python's."""
    given = {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.init}  # type: ignore[arg-type]
    return {name: value.item() if is_scalar(value) else value for name, value in given.items()}


def is_scalar(value: Any) -> bool:
    """Whether it is one number of an array library."""
    return getattr(value, "shape", None) == () and hasattr(value, "item")
