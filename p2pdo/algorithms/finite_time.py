"""Consensus in finitely many iterations: each node finds the limit in its own successive values.

Plain consensus goes to its limit geometrically, and never there. But what node i sees of it,
xᵢ⁰, xᵢ¹, …, obeys a linear recurrence: the minimal polynomial (t − 1) p(t) of the pair (W, eᵢ), of
a degree no larger than the number of different eigenvalues of W. So Σₖ pₖ xᵢᵏ / Σₖ pₖ over
deg p + 1 successive values is the limit itself.

The polynomial could be told by who knows W. It is found by each node instead, from what it has
heard anyway: p spans the kernel of the first Hankel matrix of the differences xᵢᵏ⁺¹ − xᵢᵏ that does
not have full column rank. So a node needs no number of the network but its diameter, the step is as
local as plain consensus, and no byte more is sent. The d entries of a vector obey one recurrence:
they are rows of one Hankel matrix, and long vectors need few more values than deg p.

In floating point a rank is a judgement. The error that rounding makes in the kernel is estimated
from all singular values, and a node decides only where that is small; until then, and for ever
where it never is, its x is that of plain consensus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from p2pdo.algorithms.base import (
    Algorithm,
    Limit,
    Requires,
    Stochastic,
    require_count,
    require_positive,
)
from p2pdo.effects import Here, Step, mix
from p2pdo.graphs.distances import hops
from p2pdo.graphs.weights import Weights, support
from p2pdo.problems.base import Problem
from p2pdo.types import Array

RANK = 1e4
"""In roundings of the largest singular value: below it a singular value is taken for zero."""
CANCELLED = 1e-9
"""Σ pₖ beside Σ |pₖ|, below which nothing is left of it."""
SLACK = 0.5
"""Of the least that a leading coefficient can be."""


class FiniteTimeState(NamedTuple):
    x: Array  # the limit once it is found, before it is z; shape (d,)
    z: Array  # the iterate of plain consensus, shape (d,)
    values: Array  # the first iterates of z, as many as are kept; shape (memory, d)
    found: bool  # whether x is the limit


@dataclass(frozen=True)
class FiniteTime(Algorithm[FiniteTimeState]):
    """Finite-time consensus (Sundaram & Hadjicostis 2007), p found as by Yuan et al. 2013.

    z⁺ = W z        xᵢ = (Σₖ pₖ zᵢ^{s+k}) / (Σₖ pₖ)        p = ker of the Hankel matrix of zᵏ⁺¹ − zᵏ

    The polynomial from a node's own values is of Yuan, Stan, Shi, Barahona & Gonçalves,
    *Decentralised minimum-time consensus*. Assumes W row stochastic, the same in every iteration,
    and almost every start: those that hide from a node a mode that matters to it have measure zero.
    `hops` is the diameter; 2 `hops` iterations are waited for, in which every value comes to every
    node by way of every other, so that starts that are zero almost everywhere mislead nobody. A
    node decides where the estimated error of rounding is no more than `accuracy` times its largest
    value; it keeps `memory` values.

    With D different eigenvalues beside 1 that takes 2 D iterations for one number, about D for
    vectors of D entries or more. In float64 the errors are about 1e-15 on rings of 8 nodes, 1e-12
    of 16 and 1e-9 of 24. Beyond D = 15 it is seldom decided, and the method is plain consensus.
    Limit and invariant are those of `Consensus`.
    """

    hops: int = 1
    accuracy: float = 1e-7
    memory: int = 48

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW)
    limit: ClassVar[Limit] = Limit.AGREEMENT
    from_network: ClassVar[Mapping[str, str]] = {"hops": "the most hops between two nodes"}

    def __post_init__(self) -> None:
        require_count("hops", self.hops)
        require_positive("accuracy", self.accuracy)
        require_count("memory", self.memory)

    @classmethod
    def of_network(cls, weights: Weights) -> dict[str, float]:
        return {"hops": max(1, hops(support(weights)))}

    def init(self, x: Array, problem: Problem, here: Here) -> FiniteTimeState:  # noqa: ARG002
        values = np.zeros((self.memory, len(x)), x.dtype)
        values[0] = x
        return FiniteTimeState(x, x, values, False)

    def step(
        self,
        s: FiniteTimeState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> Step[FiniteTimeState]:
        z = yield from mix(s.z)
        k = here.iteration + 1
        if s.found:
            return FiniteTimeState(s.x, z, s.values, True)
        if k >= self.memory:
            return FiniteTimeState(z, z, s.values, False)
        values = s.values.copy()
        values[k] = z
        limit = limit_of(values[: k + 1], self.accuracy) if k >= 2 * self.hops else None
        x = z if limit is None else limit.astype(z.dtype)
        return FiniteTimeState(x, z, values, limit is not None)


def limit_of(values: Array, accuracy: float) -> Array | None:
    """Where the sequence goes whose first values are these; None where they do not tell.

    `values` has shape (k + 1, d) and obeys a linear recurrence.
    """
    rounding = float(np.finfo(values.dtype).eps)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    moves = np.diff(values, axis=0)
    k, d = moves.shape
    for degree in range(k):
        if (k - degree) * d < degree + 2:
            return None  # a kernel that any numbers would have
        hankel = sliding_window_view(moves, degree + 1, axis=0).reshape(-1, degree + 1)
        sizes, V = np.linalg.svd(hankel, full_matrices=False)[1:]
        if sizes[-1] > RANK * rounding * sizes[0]:
            continue
        p, others = V[-1], V[:-1]
        size = np.abs(p).sum()
        # The roots of p are in the unit disk: with p monic no Σ |pₖ| is larger than 2^degree.
        if abs(p[-1]) < SLACK * size / 2**degree or abs(p.sum()) < CANCELLED * size:
            return None
        last = values[-degree - 1 :]
        limit: Array = p @ last / p.sum()
        if not degree:
            return limit  # nothing moved
        tilt = max(float(sizes[-1]), rounding * float(sizes[0])) / sizes[:-1]
        moved = np.abs(others @ (last - limit)).max(axis=1) / abs(p.sum())
        return limit if tilt @ moved <= accuracy * np.abs(last).max() else None
    return None
