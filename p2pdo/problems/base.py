"""What a node minimises.

A problem is one node's private cost fᵢ. The network minimises F = Σᵢ fᵢ, a sum and not a mean.
The protocols below are oracles: an algorithm says in `requires` which one it calls, and anything
with these methods is a problem; nothing needs to be inherited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from p2pdo.effects import Here
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
class Hessian(Gradient, Protocol):
    """A cost with two derivatives."""

    def hessian(self, x: Array) -> Array:
        """Return ∇²f(x), symmetric, shape (d, d)."""
        ...


@runtime_checkable
class DualGradient(Gradient, Protocol):
    """A strongly convex cost whose conjugate f*(y) = sup_x yᵀx − f(x) has a gradient to be had."""

    def dual_gradient(self, y: Array) -> Array:
        """Return ∇f*(y) = argmin_x f(x) − yᵀx of the shape and dtype of `y`.

        Raises:
            ConfigError: there is no one minimiser: the cost is not strongly convex.
        """
        ...


@runtime_checkable
class StochasticGradient(Gradient, Protocol):
    """A cost whose steps see samples of it: `value` and `gradient` are still those of the whole.

    `at(here)` is the cost of the mini-batch of (seed, node, iteration), drawn from
    `here.data_rng()` and from nothing else: no call before it may change what it is. A step is
    handed that cost in place of the whole one, so all its gradients are of one mini-batch, and
    no algorithm has to know. `init` and the first step share the mini-batch of iteration 0.
    """

    def at(self, here: Here) -> Gradient: ...


def is_stochastic(problem: Any) -> bool:
    """Whether steps see mini-batches of it; an attribute `at` that is data does not say so."""
    return isinstance(problem, StochasticGradient) and callable(problem.at)


@runtime_checkable
class Prox(Problem, Protocol):
    """A cost whose proximal map can be had: exactly, or to the last digits that can be told."""

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x f(x) + (ρ/2)‖x − v‖² of the shape and dtype of `v`, ρ > 0."""
        ...


@runtime_checkable
class Composite(Problem, Protocol):
    """A cost f = s + r of a smooth part and a rest whose proximal map can be had.

    `value` is that of f. Its constants, where it tells them, are those of s. It is no `Gradient`:
    a method that would overlook r is refused.
    """

    def value(self, x: Array) -> float: ...

    def smooth_gradient(self, x: Array) -> Array:
        """Return ∇s(x) of the shape and dtype of `x`."""
        ...

    def rest_prox(self, v: Array, rho: float) -> Array:
        """Return argmin_x r(x) + (ρ/2)‖x − v‖² of the shape and dtype of `v`, ρ > 0."""
        ...


@runtime_checkable
class Coupling(Composite, Protocol):
    """The dual cost of a node that shares resources; see `problems.coupled`.

    A price λ is what nodes agree on: shape (p,). A decision u is the node's own: shape (m,).
    """

    def response(self, x: Array) -> Array:
        """Return the decision u at the price `x`."""
        ...

    def excess(self, u: Array) -> Array:
        """Return what u uses beyond the node's own share, shape (p,)."""
        ...

    def multiplier(self, y: Array, near: Array, most: float) -> Array:
        """Return the price, 0 ≤ μ ≤ most, at which the node uses y more than its share."""
        ...


@runtime_checkable
class FiniteSum(Gradient, Protocol):
    """A cost that is the mean of m terms, one a sample: f = (1/m) Σₖ fₖ."""

    @property
    def terms(self) -> int:
        """m, at least 1."""
        ...

    def term_gradients(self, x: Array, rows: Array) -> Array:
        """∇fₖ(x) for each k in `rows`, shape (len(rows), d); their mean over all k is ∇f(x)."""
        ...


@runtime_checkable
class Secret(Problem, Protocol):
    """A cost whose node keeps a secret; see `problems.private`."""

    def private_rng(self, here: Here) -> np.random.Generator:
        """Return a generator of this node and iteration that nobody else can make."""
        ...


@runtime_checkable
class Private(FiniteSum, Secret, Protocol):
    """A finite sum whose node keeps a secret."""


@runtime_checkable
class Classifier(Problem, Protocol):
    """A cost whose samples have labels: what it says of x beside its value, to who reports it."""

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many own samples x classifies rightly, and how many there are.

        (0, 0) where that cannot be said of this cost, as of a network for a regression.
        """
        ...


@runtime_checkable
class Startable(Problem, Protocol):
    """A cost that brings a start: initial weights, the same on all nodes for one seed.

    One whose starts are each node's own, and worth agreeing on, has `starts_apart = True`.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: what it computes in."""
        ...

    def initial(self, seed: int) -> Array:
        """x⁰ of shape (d,) and of `dtype`."""
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
