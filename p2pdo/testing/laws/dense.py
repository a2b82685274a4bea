"""The whole network in matrices: what a recursion is written in.

Nothing here is the library's own arithmetic. Gradients, proximal maps and random draws are those of
`costs`, written once more from their formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from p2pdo.protocol.plan import Plan
from p2pdo.types import Array


@dataclass(frozen=True)
class NodeCost:
    """One node's cost in plain NumPy.

    Attributes:
        gradient: of x.
        prox: argmin_x f(x) + (ρ/2)‖x − v‖² from v and ρ; where f = s + r, that of r, and the
            gradient that of s.
        terms: m, where f is the mean of m terms; 0 where it is not.
        term_gradients: of x and row numbers, one row a term.
        hessian: of x, shape (d, d).
        dual_gradient: argmin_x f(x) − yᵀx from y.
        smoothness: L, where a method is given it.
    """

    gradient: Callable[[Array], Array]
    prox: Callable[[Array, float], Array]
    terms: int = 0
    term_gradients: Callable[[Array, Array], Array] | None = None
    hessian: Callable[[Array], Array] | None = None
    dual_gradient: Callable[[Array], Array] | None = None
    smoothness: float | None = None


@dataclass(frozen=True)
class Dense:
    """A network and its costs.

    Attributes:
        W: mixing matrix of shape (n, n); [i, j] weighs what i hears from j.
        B: the senders' equal shares, column stochastic, shape (n, n).
        hears: 1.0 at [i, j] where i hears j ≠ i, else 0.0; shape (n, n).
        X: the starts, shape (n, d).
        costs: node i's at index i.
        seed: of the run.
    """

    W: Array
    B: Array
    hears: Array
    X: Array
    costs: Sequence[NodeCost]
    seed: int

    @property
    def n(self) -> int:
        return len(self.X)

    @property
    def degrees(self) -> Array:
        """How many each node hears, as a column of shape (n, 1)."""
        return np.asarray(self.hears.sum(axis=1, keepdims=True))

    @property
    def laplacian(self) -> Array:
        matrix: Array = np.diag(self.degrees[:, 0]) - self.hears
        return matrix

    def gradient(self, X: Array) -> Array:
        """Row i is ∇fᵢ at row i."""
        return np.stack([cost.gradient(x) for cost, x in zip(self.costs, X, strict=True)])

    def prox(self, V: Array, rho: Array) -> Array:
        """Row i is argmin_x fᵢ(x) + (ρᵢ/2)‖x − vᵢ‖²; `rho` has one entry a node."""
        weights = np.broadcast_to(np.ravel(rho), self.n)
        each = zip(self.costs, V, weights, strict=True)
        return np.stack([cost.prox(v, float(r)) for cost, v, r in each])

    @property
    def smoothness(self) -> Array:
        """Every node's L, shape (n, 1)."""
        return np.array([[cost.smoothness] for cost in self.costs], np.float64)

    def hessians(self, X: Array) -> list[Array]:
        """∇²fᵢ at row i, shape (d, d), for each i."""
        found = []
        for cost, x in zip(self.costs, X, strict=True):
            assert cost.hessian is not None, "only such costs are given to Newton methods"
            found.append(cost.hessian(x))
        return found

    def dual_gradient(self, Y: Array) -> Array:
        """Row i is ∇fᵢ*, argmin_x fᵢ(x) − yᵢᵀx."""
        rows = []
        for cost, y in zip(self.costs, Y, strict=True):
            assert cost.dual_gradient is not None, "only such costs are given to dual methods"
            rows.append(cost.dual_gradient(y))
        return np.stack(rows)

    def term_gradients(self, i: int, x: Array, rows: Array) -> Array:
        """Node i's terms `rows` at x, one gradient a row."""
        of_terms = self.costs[i].term_gradients
        assert of_terms is not None, "only finite sums are given to methods that ask for terms"
        return of_terms(x, rows)

    def coin(self, k: int) -> np.random.Generator:
        """What draws the same on all nodes in iteration k."""
        return np.random.default_rng([self.seed, 1, k])

    def dice(self, i: int, k: int) -> np.random.Generator:
        """Node i's own generator in iteration k."""
        return np.random.default_rng([self.seed, 0, i, k])


def dense_of(plan: Plan, formulas: Sequence[NodeCost]) -> Dense:
    """The plan in matrices, made from the edges and formulas."""
    n = plan.nodes
    hears = np.zeros((n, n))
    for sender, receiver in plan.graph.edges:
        hears[receiver, sender] = 1.0
    shares = hears + np.eye(n)
    B = shares / shares.sum(axis=0)
    return Dense(plan.weights.to_dense(), B, hears, np.asarray(plan.starts), formulas, plan.seed)
