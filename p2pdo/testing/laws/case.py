"""A case: an algorithm with its parameters, and what is known of it from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import name_of
from p2pdo.testing.laws.dense import Dense
from p2pdo.types import Array

Recursion: TypeAlias = Callable[[Dense], Iterator[Array]]
"""Yields X of shape (n, d), all nodes' x, at every iteration boundary 0, 1, …"""

Residual: TypeAlias = Callable[[Sequence[Any]], Array]
"""From all nodes' states an array that is zero."""


@dataclass(frozen=True)
class Case:
    """What is held to the laws.

    Attributes:
        algorithm: with the parameters of the recursion.
        recursion: the paper's, in matrix form and in plain NumPy, sharing no code with `step`.
        invariant: what its states keep at every boundary, as something that is zero.
        tuned: the object that goes to its limit; None takes `algorithm` with its default step.
        rounds: iterations in which the limit is reached.
        within: how near, in the Euclidean norm at every node.
        label: what distinguishes it from another case of its class.
    """

    algorithm: Algorithm[Any]
    recursion: Recursion | None = None
    invariant: Residual | None = None
    tuned: Algorithm[Any] | None = None
    rounds: int = 5000
    within: float = 1e-9
    label: str = ""

    @property
    def name(self) -> str:
        name = name_of(type(self.algorithm))
        return f"{name} {self.label}" if self.label else name

    def parameters_but_the_step_size(self) -> dict[str, Any]:
        """For a class whose default step size comes from the problem."""
        return {
            f.name: getattr(self.algorithm, f.name)
            for f in fields(self.algorithm)  # type: ignore[arg-type]
            if f.init and f.name != "step_size"
        }
