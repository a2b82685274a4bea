"""The costs on which laws are held: small, seeded, and each written twice.

Once as the problem that nodes have, and once from its formula, for the dense recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.problems.coupled import Coupled
from p2pdo.problems.lasso import Lasso
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.private import PrivateLogistic
from p2pdo.problems.quadratic import Quadratic
from p2pdo.testing.laws.dense import NodeCost
from p2pdo.types import Array

DIMENSION = 4
NEWTON_STEPS = 40


@dataclass(frozen=True)
class Cost:
    """Node i's problem at index i, and the same from its formula."""

    problems: list[Any]
    formulas: list[NodeCost]


def quadratic(n: int) -> Cost:
    """½ xᵀHx − cᵀx with 0.3 ≤ λ(H)."""
    rng = np.random.default_rng([7, n])
    roots = rng.standard_normal((n, DIMENSION, DIMENSION))
    H = roots @ roots.swapaxes(1, 2) / DIMENSION + 0.3 * np.eye(DIMENSION)
    H = (H + H.swapaxes(1, 2)) / 2
    c = rng.standard_normal((n, DIMENSION))

    def formula(i: int) -> NodeCost:
        def prox(v: Array, rho: float) -> Array:
            x: Array = np.linalg.solve(H[i] + rho * np.eye(DIMENSION), c[i] + rho * v)
            return x

        return NodeCost(
            lambda x: H[i] @ x - c[i],
            prox,
            hessian=lambda _: H[i],
            dual_gradient=lambda y: np.linalg.solve(H[i], c[i] + y),
            smoothness=float(np.linalg.norm(H[i], 2)),
        )

    return Cost([Quadratic(H[i], c[i]) for i in range(n)], [formula(i) for i in range(n)])


def least_squares(n: int) -> Cost:
    """‖Ax − b‖²/(2m) with 8 to 12 rows a node."""
    rng = np.random.default_rng([9, n])
    rows = rng.integers(8, 13, n)
    A = [rng.standard_normal((m, DIMENSION)) for m in rows]
    b = [rng.standard_normal(m) for m in rows]

    def formula(i: int) -> NodeCost:
        m = len(b[i])

        def prox(v: Array, rho: float) -> Array:
            H = A[i].T @ A[i] / m + rho * np.eye(DIMENSION)
            x: Array = np.linalg.solve(H, A[i].T @ b[i] / m + rho * v)
            return x

        return NodeCost(
            lambda x: A[i].T @ (A[i] @ x - b[i]) / m,
            prox,
            m,
            lambda x, k: A[i][k] * (A[i][k] @ x - b[i][k])[:, None],
        )

    return Cost([LeastSquares(A[i], b[i]) for i in range(n)], [formula(i) for i in range(n)])


def logistic(n: int) -> Cost:
    """The mean loss over all nodes' 5 to 11 samples, with l2 = 0.1 at each node."""
    rng = np.random.default_rng([8, n])
    rows = rng.integers(5, 12, n)
    A = [rng.standard_normal((m, DIMENSION)) for m in rows]
    b = [np.where(rng.random(m) < 0.5, -1.0, 1.0) for m in rows]
    total, l2 = int(rows.sum()), 0.1
    problems = [Logistic(A[i], b[i], samples=total, l2=l2) for i in range(n)]
    return Cost(problems, [_logistic_formula(A[i], b[i], total, l2) for i in range(n)])


def _logistic_formula(A: Array, b: Array, total: int, l2: float) -> NodeCost:
    m = len(b)

    def gradient(x: Array) -> Array:
        return np.asarray(l2 * x - A.T @ (b / (1 + np.exp(b * (A @ x)))) / total)

    def hessian(x: Array) -> Array:
        p = 1 / (1 + np.exp(b * (A @ x)))
        return np.asarray((A.T * (p * (1 - p))) @ A / total + l2 * np.eye(DIMENSION))

    def prox(v: Array, rho: float) -> Array:
        x = v
        for _ in range(NEWTON_STEPS):  # undamped: the costs here are mild
            H = hessian(x) + rho * np.eye(DIMENSION)
            x = x - np.linalg.solve(H, gradient(x) + rho * (x - v))
        return x

    def term_gradients(x: Array, k: Array) -> Array:
        pull = b[k] / (1 + np.exp(b[k] * (A[k] @ x)))
        return np.asarray(l2 * x - (m / total) * pull[:, None] * A[k])

    def dual_gradient(y: Array) -> Array:
        x = np.zeros_like(y)
        for _ in range(NEWTON_STEPS):
            x = x - np.linalg.solve(hessian(x), gradient(x) - y)
        return x

    smoothness = float(np.linalg.norm(A, 2)) ** 2 / (4 * total) + l2
    return NodeCost(gradient, prox, m, term_gradients, hessian, dual_gradient, smoothness)


def lasso(n: int) -> Cost:
    """Those least squares with 0.05 ‖x‖₁ at each node; the two parts of `formulas` are apart."""
    smooth, l1 = least_squares(n), 0.05

    def soft(v: Array, rho: float) -> Array:
        return np.where(np.abs(v) > l1 / rho, v - np.copysign(l1 / rho, v), 0.0)

    return Cost(
        [Lasso(p.A, p.b, l1) for p in smooth.problems],
        [NodeCost(formula.gradient, soft) for formula in smooth.formulas],
    )


def coupled(n: int) -> Cost:
    """Dual costs of 6 decisions a node that share 4 resources, of which there is too little."""
    rng = np.random.default_rng([6, n])
    h = rng.uniform(1, 2, (n, 6))
    A = rng.uniform(0, 0.5, (n, DIMENSION, 6)) + 1.5 * np.eye(DIMENSION, 6)
    c = rng.uniform(1, 3, (n, 6))
    b = 0.7 * np.einsum("ipm,im->ip", A, c / h)
    lower, upper = np.full(6, -2.0), np.full(6, 4.0)

    def formula(i: int) -> NodeCost:
        def used(price: Array) -> Array:
            u = np.minimum(np.maximum((c[i] - A[i].T @ price) / h[i], lower), upper)
            return np.asarray(A[i] @ u)

        def positive(v: Array, _rho: float) -> Array:
            return np.where(v > 0, v, 0.0)

        return NodeCost(lambda price: b[i] - used(price), positive)

    problems = [Coupled(h[i], c[i], lower, upper, A[i], b[i]) for i in range(n)]
    return Cost(problems, [formula(i) for i in range(n)])


def private(n: int) -> Cost:
    """Those logistic costs, node i with the secret i."""
    public = logistic(n)
    problems = [
        PrivateLogistic(p.A, p.b, p.samples, p.l2, secret=f"{i:064x}")
        for i, p in enumerate(public.problems)
    ]
    return Cost(problems, public.formulas)


COSTS: Mapping[str, Callable[[int], Cost]] = {
    "quadratic": quadratic,
    "logistic": logistic,
    "least-squares": least_squares,
    "lasso": lasso,
    "coupled": coupled,
    "private": private,
}


def costs_for(oracle: type[Any]) -> list[str]:
    """The names of two costs with this oracle: one that is quadratic, and the logistic."""
    having = [name for name, make in COSTS.items() if isinstance(make(1).problems[0], oracle)]
    return having[:2]
