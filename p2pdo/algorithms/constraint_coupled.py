"""Constraint-coupled optimisation: nodes with decisions of their own that share resources.

Node i decides on uᵢ ∈ Uᵢ and all together keep Σᵢ Aᵢ uᵢ ≤ Σᵢ bᵢ; see `problems.coupled`. What a
state has in `x` is what nodes agree on, the multiplier of the shared rows, a price; the node's own
decision is the problem's `response` to it. Nothing of a cost or of a decision is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.edges import edges_of
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.algorithms.node_admm import apart
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.problems.base import Coupling
from p2pdo.types import Array


class DualState(NamedTuple):
    x: Array  # multiplier λ, shape (p,)
    u: Array  # mean of the responses, weighted by the steps, shape (m,)
    steps: Array  # Σ c(k) so far, shape ()


def require_decay(decay: float) -> None:
    if not 0 <= decay <= 1:
        raise ConfigError(
            f"decay must lie in [0, 1], got {decay}",
            hint="0.6; above 0.5 the steps shrink slowly enough, and fast enough for the optimum",
        )


@dataclass(frozen=True)
class DualSubgradient(Algorithm[DualState]):
    """Distributed dual subgradient (Falsone, Margellos, Garatti & Prandini 2017, algorithm 1).

    ℓ = Σⱼ wᵢⱼ λⱼ        u⁺ = argmin_{u∈U} f(u) + ℓᵀ(A u − b)        λ⁺ = [ℓ + c(k) (A u⁺ − b)]₊
    û⁺ = û + (c(k) / Σ_{r≤k} c(r)) (u⁺ − û)        c(k) = α / (k + 1)^decay

    *Dual decomposition for multi-agent distributed optimization with coupling constraints*. The
    multiplier is x, `step_size` α. Assumes W doubly stochastic, U bounded, decisions that
    fit strictly. With `decay` in (½, 1] it reaches the optimum, slower than any geometric rate;
    with 0 it stops at a distance O(α). û goes to the best decision also where u⁺ jumps.
    """

    step_size: float
    decay: float = 0.6

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Coupling, time_varying=True
    )
    limit: ClassVar[Limit] = Limit.OPTIMUM

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_decay(self.decay)

    def init(self, x: Array, problem: Coupling, here: Here) -> DualState:  # noqa: ARG002
        return DualState(x, np.zeros_like(problem.response(x)), np.zeros((), x.dtype))

    def step(self, s: DualState, problem: Coupling, here: Here) -> Step[DualState]:
        mixed = yield from mix(s.x)
        c = self.step_size / (here.iteration + 1) ** self.decay
        u = problem.response(mixed)
        steps = np.asarray(s.steps + c, s.steps.dtype)
        x = np.maximum(mixed + c * problem.excess(u), mixed.dtype.type(0))
        return DualState(x, s.u + np.asarray(c / steps, u.dtype) * (u - s.u), steps)


class PrimalState(NamedTuple):
    x: Array  # multiplier μ of the node's own rows, shape (p,)
    y: Array  # what the node may use beyond its share, shape (p,)


@dataclass(frozen=True)
class PrimalDecomposition(Algorithm[PrimalState]):
    """Primal decomposition (Camisa, Farina, Notarnicola & Notarstefano 2021).

    μ = multiplier of A u − b ≤ y + v in min f(u) + M 1ᵀv over u ∈ U, v ≥ 0
    y⁺ᵢ = yᵢ + α(k) Σⱼ (μᵢ − μⱼ)        α(k) = α / (k + 1)^decay        y⁰ = 0

    *Distributed constraint-coupled optimization via primal decomposition over random time-varying
    graphs*. Nodes that would pay more for a resource are given of it by neighbours that would pay
    less. The multiplier is x, `step_size` α, `penalty` M; the slack v has an entry for each
    row, where the paper's is one number. Assumes an undirected graph and M above every entry of
    the best multiplier. With `decay` in (½, 1] it reaches the optimum, slowly; with 0 it does, and
    at a geometric rate, where multipliers follow y smoothly and α is below 2 / λmax of the
    Laplacian in parts of their slope. α is in units of a resource over a price: no L tells it.
    Invariant: mean y = 0: at every iteration the nodes use no more than there is, as far as their
    own rows can be kept.
    """

    step_size: float = 0.05
    penalty: float = 100.0
    decay: float = 0.6

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.NONE, oracle=Coupling, undirected=True)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("y"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_positive("penalty", self.penalty)
        require_decay(self.decay)

    def init(self, x: Array, problem: Coupling, here: Here) -> PrimalState:  # noqa: ARG002
        y = np.zeros_like(x)
        return PrimalState(problem.multiplier(y, x, self.penalty), y)

    def step(self, s: PrimalState, problem: Coupling, here: Here) -> Step[PrimalState]:
        away = yield from apart(s.x, edges_of(here))
        y = s.y + self.step_size / (here.iteration + 1) ** self.decay * away
        return PrimalState(problem.multiplier(y, s.x, self.penalty), y)
