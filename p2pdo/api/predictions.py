"""Predictions: what theorems and the network's own iteration matrix say of a run.

See `preflight` for what they are used for, `p2pdo.algorithms.theory` for the theorems and
`p2pdo.simulation.linearised` for the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from p2pdo.algorithms.base import Limit
from p2pdo.algorithms.theory import Constants, Theorem
from p2pdo.api.jobs import Job
from p2pdo.errors import P2pdoError
from p2pdo.graphs.spectral import DENSE
from p2pdo.graphs.weights import is_symmetric
from p2pdo.problems.base import is_stochastic
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.judging import consensus_error
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.linearised import Course, Linearised, course, linearise
from p2pdo.types import Array

Basis: TypeAlias = Literal["exact", "optimum", "theorem"]

MOST_OBSERVATIONS = 5000
"""Of a run whose end is looked for."""

_PREDICTED = (Limit.OPTIMUM, Limit.NEAR_OPTIMUM, Limit.MEAN, Limit.AGREEMENT)
_AGREE = (Limit.MEAN, Limit.AGREEMENT)
_NUDGE = 1e-5  # of x, between the gradients that a Hessian is told from


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run is expected to do.

    Attributes:
        rate: the factor by which the distance to the limit shrinks in an iteration.
        basis: what that rests on.
        proved: the theorem's bound of the rate, where it has one below 1; `source` its paper.
        iterations: at which the tolerance is reached; exact for quadratic costs.
        gap: F(x̄) − F* at the limit, where the run has another than the optimum.
    """

    rate: float | None
    basis: Basis | None
    proved: float | None
    source: str | None
    iterations: int | None
    gap: float | None

    @property
    def is_formed(self) -> bool:
        """Whether it is from the iteration's matrix."""
        return self.basis in ("exact", "optimum")


@dataclass(frozen=True, eq=False)
class Curvatures:
    """Node i's Hessian of shape (d, d) at index i; `basis` is exact where it is one everywhere."""

    hessians: Sequence[Array]
    basis: Basis


def constants(plan: Plan) -> Constants | None:
    """What theorems speak of; None where there are too many nodes for eigenvalues."""
    n = plan.nodes
    if n > DENSE:
        return None
    W = plan.weights.to_dense()
    symmetric = is_symmetric(plan.weights)
    apart = W - 1 / n
    moduli = np.sort(np.abs(np.linalg.eigvalsh(W) if symmetric else np.linalg.eigvals(W)))
    eigenvalues = np.linalg.eigvalsh(W) if symmetric else np.full(1, np.nan)
    slem = float(moduli[-2]) if n > 1 else 0.0
    convexities = _all_known(plan.problems, "strong_convexity")
    smoothness = _all_known(plan.problems, "smoothness")
    return Constants(
        smoothness=max(smoothness) if smoothness else None,
        convexity=min(convexities) if convexities else None,
        mean_convexity=float(np.mean(convexities)) if convexities else None,
        slem=slem,
        contraction=slem if symmetric else float(np.linalg.norm(apart, 2)),
        second=float(eigenvalues[-2]) if n > 1 and symmetric else 0.0,
        smallest=float(eigenvalues[0]),
        symmetric=symmetric,
    )


def _all_known(problems: Sequence[Any], name: str) -> list[float]:
    values = [getattr(problem, name, None) for problem in problems]
    known = [float(value) for value in values if value is not None]
    return known if len(known) == len(values) else []


def curvatures(job: Job, largest: int) -> Curvatures | None:
    """Of all costs.

    None where a cost has no gradient or one that jumps, is seen by its samples only, or there would
    be more than `largest` entries; or where costs are not quadratic and their optimum is not known.
    """
    problems = job.plan.problems
    d = int(problems[0].dimension)
    if len(problems) * d > largest:
        return None
    if type(job.plan.algorithm).limit in _AGREE:  # no cost pulls
        return Curvatures([np.zeros((d, d)) for _ in problems], "exact")
    if not all(_has_slopes(p) for p in problems):
        return None
    if all(getattr(p, "is_quadratic", False) for p in problems):
        return Curvatures([_slopes(p, np.zeros(d), 1.0) for p in problems], "exact")
    x = job.objective.minimiser
    if x is None:
        return None
    nudge = _NUDGE * max(1.0, float(np.abs(x).max()))
    return Curvatures([_slopes(p, x.astype(np.float64), nudge) for p in problems], "optimum")


def _has_slopes(problem: Any) -> bool:
    """Whether its gradient is one number everywhere, and does not jump."""
    is_smooth = getattr(problem, "is_smooth", True)
    return is_smooth and hasattr(problem, "gradient") and not is_stochastic(problem)


def _slopes(problem: Any, x: Array, nudge: float) -> Array:
    """The Hessian at x, from central differences of the gradient."""
    rows = [
        (problem.gradient(x + e) - problem.gradient(x - e)) / (2 * nudge)
        for e in nudge * np.eye(len(x))
    ]
    H = np.stack(rows).astype(np.float64)
    return np.asarray((H + H.T) / 2)


# ---- predictions ----


def theorem_of(plan: Plan, at: Constants | None) -> Theorem | None:
    """The algorithm's, where it speaks of these weights: of one W, and of values that are exact."""
    if plan.weights.varies or plan.codec != NONE:
        return None
    theorem = type(plan.algorithm).theorem
    return theorem if theorem is not None and at is not None and theorem.applies_to(at) else None


def predict(job: Job, at: Constants | None, costs: Curvatures | None, largest: int) -> Prediction:
    """The rate, and what follows from it; see `Prediction`."""
    plan = job.plan
    theorem, proved, source = theorem_of(plan, at), None, None
    if theorem is not None and at is not None:
        rate, source = float(theorem.rate(plan.algorithm, at)), theorem.source
        proved = rate if rate < 1 else None
    linear = None
    is_linear = plan.codec == NONE  # what a codec leaves out is no linear map of the states
    if is_linear and costs is not None and type(plan.algorithm).limit in _PREDICTED:
        linear = linearise(plan, costs.hessians, largest)
    if linear is None or costs is None:
        basis: Basis | None = None if proved is None else "theorem"
        return Prediction(proved, basis, proved, source, None, None)
    way = _course(plan, linear) if costs.basis == "exact" and linear.rate < 1 else None
    gap = _gap_of(job, way.limit) if way is not None and _has_bias(plan) else None
    iterations = None if way is None else _iterations(job, way)
    return Prediction(linear.rate, costs.basis, proved, source, iterations, gap)


def _course(plan: Plan, linear: Linearised) -> Course | None:
    try:
        return course(plan, linear)
    except (P2pdoError, np.linalg.LinAlgError):
        return None


def _has_bias(plan: Plan) -> bool:
    return type(plan.algorithm).limit is Limit.NEAR_OPTIMUM


def _gap_of(job: Job, X: Array) -> float | None:
    objective = job.objective
    return objective.gap(objective.value(X.mean(axis=0)))


def _iterations(job: Job, way: Course) -> int | None:
    """The first observed iteration at which the run would stop."""
    plan = job.plan
    if plan.tol is None:
        return None
    tol, agrees = plan.tol, type(plan.algorithm).limit in _AGREE

    def is_near(X: Array) -> bool:
        error = consensus_error(list(X), X.mean(axis=0))
        gap = 0.0 if agrees else _gap_of(job, X)
        return gap is not None and max(error, gap) <= tol

    if not is_near(way.limit):
        return None
    return way.first(is_near, plan.observe_every, MOST_OBSERVATIONS)
