"""Composite costs f = s + r: a gradient of the smooth s, a proximal map of the rest r.

r may have kinks, like l1 ‖x‖₁, or say where x may be. Each node has its own in PG-EXTRA; NIDS needs
the same at all nodes for its larger step only. W̃ = (I + W)/2 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.exact_first_order import CorrectedState
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.effects import Here, Step, mix
from p2pdo.problems.base import Composite
from p2pdo.types import Array

COMPOSITE = Requires(weights=Stochastic.DOUBLY, symmetric=True, oracle=Composite)


@dataclass(frozen=True)
class PgExtra(Algorithm[CorrectedState]):
    """PG-EXTRA (Shi, Ling, Wu & Yin 2015, *A proximal gradient algorithm*).

    z¹ = W x⁰ − α ∇s(x⁰)        z^{k+1} = W x^k + z^k − W̃ x^{k−1} − α (∇s(x^k) − ∇s(x^{k−1}))
    x^{k+1} = argmin_x r(x) + ‖x − z^{k+1}‖²/(2α)

    Assumes W symmetric and doubly stochastic, sᵢ convex and L-smooth, rᵢ convex, α < 2 λmin(W̃)/L;
    O(1/k) in general. With r = 0 it is `Extra`. Kept as c^k = z^k − W̃ x^{k−1} + α ∇s(x^{k−1}),
    c⁰ = 0. Invariant: mean c = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = COMPOSITE
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("c"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:
        """Half the bound 2 λmin(W̃)/L, or half of 1/L."""
        return float(min(1.0, 1.0 + modes.real.min(initial=1.0))) / 2

    def init(self, x: Array, problem: Composite, here: Here) -> CorrectedState:  # noqa: ARG002
        return CorrectedState(x, np.zeros_like(x))

    def step(
        self,
        s: CorrectedState,
        problem: Composite,
        here: Here,  # noqa: ARG002
    ) -> Step[CorrectedState]:
        x_mixed = yield from mix(s.x)
        descent = self.step_size * problem.smooth_gradient(s.x)
        z = x_mixed - descent + s.c
        x = problem.rest_prox(z, 1 / self.step_size)
        return CorrectedState(x, z - (s.x + x_mixed) / 2 + descent)


class ProxNidsState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    c: Array  # x^k − x^{k−1} + α ∇s(x^{k−1}), shape (d,)
    u: Array  # z^k − x^k: what the proximal map took away, shape (d,)


@dataclass(frozen=True)
class ProxNids(Algorithm[ProxNidsState]):
    """NIDS with a proximal map (Li, Shi & Yan 2019, algorithm 1, with one step size).

    z¹ = x⁰ − α ∇s(x⁰)        x^k = argmin_x r(x) + ‖x − z^k‖²/(2α)
    z^{k+1} = z^k − x^k + W̃ (2x^k − x^{k−1} − α ∇s(x^k) + α ∇s(x^{k−1}))

    Assumes W symmetric and doubly stochastic, sᵢ convex and L-smooth, rᵢ convex, α < 2/L whatever
    the network is; O(1/k) in general. With r = 0 it is `Nids`. Kept as c and u below, both 0 at
    first. Invariant: mean(c + u) = 0.
    """

    step_size: float

    requires: ClassVar[Requires] = COMPOSITE
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (
        Invariant("mean c = −mean u", lambda s: np.asarray(s.c + s.u)),
    )

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Composite, here: Here) -> ProxNidsState:  # noqa: ARG002
        return ProxNidsState(x, np.zeros_like(x), np.zeros_like(x))

    def step(self, s: ProxNidsState, problem: Composite, here: Here) -> Step[ProxNidsState]:
        descended = s.x - self.step_size * problem.smooth_gradient(s.x)
        if here.iteration == 0:
            z = descended
        else:
            corrected = descended + s.c
            mixed = yield from mix(corrected)
            z = s.u + (corrected + mixed) / 2
        x = problem.rest_prox(z, 1 / self.step_size)
        return ProxNidsState(x, x - descended, z - x)
