"""An algorithm is a pure step.

    init(x, problem, here) -> state              state of iteration 0 from a start x of shape (d,)
    step(state, problem, here) -> next state     a generator: asks for exchanges, see effects.py

The state is a NamedTuple of arrays and scalars with the decision variable in `x`. It is whole at
every iteration boundary, so iteration limits, tolerance, abort, progress and observation belong
to whoever runs the step and never to its author. How often a step exchanges may depend on
parameters, `here.iteration` and `here.common_rng` only, never on local data.

Parameters are the fields of a frozen dataclass: plain numbers that travel by name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from p2pdo.effects import Here, Step
from p2pdo.errors import ConfigError
from p2pdo.graphs.weights import Stochastic
from p2pdo.problems.base import Gradient, Problem
from p2pdo.types import Array


@dataclass(frozen=True, slots=True)
class Requires:
    """What must hold for the stated convergence; checked before a run starts.

    Attributes:
        weights: which sums of the mixing matrix must be one.
        symmetric: whether W must equal its transpose.
        oracle: the protocol of `problems.base` that the step calls.
    """

    weights: Stochastic = Stochastic.ROW
    symmetric: bool = False
    oracle: type[Problem] = Problem


class HasDecision(Protocol):
    """A state: any NamedTuple with the decision variable in `x`."""

    @property
    def x(self) -> Array: ...


SMALLEST_SHARE = 2.0**-30

S = TypeVar("S", bound=HasDecision)


class Algorithm(ABC, Generic[S]):
    """One method of distributed optimization; see the module's docstring for the contract."""

    requires: ClassVar[Requires]
    batched: ClassVar[bool] = False
    """Whether a step works unchanged on stacked states: the last axis is its vector."""

    @abstractmethod
    def init(self, x: Array, problem: Any, here: Here) -> S:
        """The state of iteration 0."""

    @abstractmethod
    def step(self, s: S, problem: Any, here: Here) -> Step[S]:
        """One iteration."""

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - for those that need less than all
        """The share of 1/L that is a stable step size on quadratic costs, with a margin.

        The step size used when none is given is 1/L, from L = maxᵢ Lᵢ. Where all costs are
        quadratic, the curvature L is there at every x, and a method may be unstable at 1/L; then
        it is this share of it. `modes` are the eigenvalues of W other than 1.
        """
        return 1.0


def half_of_largest_stable(radius: Callable[[float], float]) -> float:
    """Half the largest a = 1, ½, ¼, … for which `radius(a)`, a spectral radius, is below one."""
    a = 1.0
    while a > SMALLEST_SHARE and not radius(a) < 1:
        a /= 2
    return a / 2


def require_positive(name: str, value: float) -> None:
    """Refuses a parameter that is zero, negative, infinite or not a number."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(
            f"{name} must be a positive number, got {value}",
            hint=f"for example --set {name}=0.01, or leave it out for the default",
        )


__all__ = [
    "Algorithm",
    "Gradient",
    "HasDecision",
    "Requires",
    "Stochastic",
    "require_positive",
]
