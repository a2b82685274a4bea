"""What a node minimises.

A problem is one node's private cost fᵢ. The network minimises F = Σᵢ fᵢ, a sum and not a mean.
The protocols below are oracles: an algorithm says in `requires` which one it calls, and anything
with these methods is a problem; nothing needs to be inherited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

from p2pdo.types import Array


@runtime_checkable
class Problem(Protocol):
    """The least there is to a cost: how long x is."""

    @property
    def dimension(self) -> int:
        """d: a decision variable has shape (d,)."""
        ...


@runtime_checkable
class Gradient(Problem, Protocol):
    """A smooth cost. `x` has shape (d,); the gradient has the shape and dtype of `x`."""

    def value(self, x: Array) -> float: ...
    def gradient(self, x: Array) -> Array: ...


@runtime_checkable
class Smooth(Gradient, Protocol):
    """A cost that knows its constants: ∇f is L-Lipschitz, f is μ-strongly convex."""

    @property
    def smoothness(self) -> float:
        """L."""
        ...

    @property
    def strong_convexity(self) -> float:
        """μ (0 where the cost is only convex)."""
        ...

    @property
    def is_quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere, so that L is there at every x."""
        ...


@runtime_checkable
class Stackable(Gradient, Protocol):
    """A cost of which N can be evaluated at once.

    `stack` gives one object whose `gradient` takes X of shape (N, d), row i at node i, and
    returns the N gradients as one array of that shape.
    """

    @classmethod
    def stack(cls, problems: Sequence[Self]) -> Gradient: ...


@runtime_checkable
class Solvable(Gradient, Protocol):
    """A cost whose network-wide optimum can be had centrally, for those who see all parts."""

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,), to about 1e-12."""
        ...
