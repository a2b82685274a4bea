"""Accelerated gossip: consensus that remembers the iterate before, as fast as 1/√gap, not 1/gap.

Both methods are x^{k+1} = (1 + c_k) W x^k − c_k x^{k−1}. They take `slem`, a bound λ < 1 of the
moduli of W's eigenvalues beside 1. Where none is given it is that of the network, found when a run
is submitted. One that is wrong makes them slower and never wrong: for any c_k in [0, 1) and any
symmetric W with λ < 1 an iteration keeps the mean and the disagreement dies out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic
from p2pdo.algorithms.invariants import Invariant, equal_means
from p2pdo.algorithms.theory import Constants, Theorem
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.weights import Weights
from p2pdo.problems.base import Problem
from p2pdo.types import Array

DISCONNECTED = 1 - 1e-12


def q_rate(algorithm: _Accelerated, at: Constants) -> float:
    """q, where the moduli of W's eigenvalues are bounded by λ; slower ones are not spoken of."""
    return algorithm.q if at.slem <= algorithm.slem * (1 + 1e-12) else 1.0


class AcceleratedState(NamedTuple):
    x: Array  # the node's estimate, shape (d,)
    before: Array  # the estimate of the iteration before, shape (d,)


@dataclass(frozen=True)
class _Accelerated(Algorithm[AcceleratedState]):
    slem: float = 0.9

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, symmetric=True)
    batched: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.MEAN
    from_network: ClassVar[Mapping[str, str]] = {
        "slem": "the second largest modulus of an eigenvalue of W"
    }
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("x", "before"),)

    def __post_init__(self) -> None:
        if not 0 <= self.slem < 1:
            raise ConfigError(
                f"slem must lie in [0, 1), got {self.slem}",
                hint="leave it out for that of the network; 'p2pdo topo' shows it",
            )

    @classmethod
    def of_network(cls, weights: Weights) -> dict[str, float]:
        slem = spectrum(weights).slem
        if slem >= DISCONNECTED:
            raise ConfigError(
                f"these weights do not reach agreement: their slem is {slem:.12g}",
                hint="join the parts of the graph, or give every node a weight of its own",
            )
        return {"slem": slem}

    def init(self, x: Array, problem: Problem, here: Here) -> AcceleratedState:  # noqa: ARG002
        return AcceleratedState(x, x)

    def step(
        self,
        s: AcceleratedState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> Step[AcceleratedState]:
        c = self.coefficient(here.iteration)
        x_mixed = yield from mix(s.x)
        return AcceleratedState((1 + c) * x_mixed - c * s.before, s.x)

    def coefficient(self, k: int) -> float:
        """c_k."""
        raise NotImplementedError

    @property
    def q(self) -> float:
        """e^{−θ} where cosh θ = 1/λ: what a disagreement shrinks by in an iteration."""
        return self.slem / (1 + math.sqrt(1 - self.slem**2))


@dataclass(frozen=True)
class FastMix(_Accelerated):
    """FastMix (Liu & Morse 2011, *Accelerated linear iterations*; Ye, Luo, Zhou & Zhang 2020).

    x^{k+1} = (1 + η) W x^k − η x^{k−1}        η = (1 − √(1 − λ²)) / (1 + √(1 − λ²))
    x^{−1} = x⁰

    `slem` is λ. Assumes W symmetric and doubly stochastic. The disagreement shrinks in the long run
    by √η ≈ 1 − √(2 (1 − λ)) in an iteration, where plain consensus shrinks it by λ. Invariant: mean
    x never changes.
    """

    unison: ClassVar[bool] = True
    theorem: ClassVar[Theorem] = Theorem("Liu & Morse 2011", q_rate, symmetric=True)

    def coefficient(self, k: int) -> float:  # noqa: ARG002 - the same in every iteration
        return self.q**2


@dataclass(frozen=True)
class ChebyshevGossip(_Accelerated):
    """Chebyshev gossip (Scaman, Bach, Bubeck, Lee & Massoulié 2017; Golub & Varga 1961).

    x^{k+1} = (1 + c_k) W x^k − c_k x^{k−1}        c_k = a_{k−1} / a_{k+1}        c_0 = 0
    a_k = T_k(1/λ) = cosh(k θ), θ = arcosh(1/λ)

    `slem` is λ. x^k = T_k(W/λ) x⁰ / T_k(1/λ): of all polynomials of degree k in W that keep the
    mean the smallest on [−λ, λ], so no linear method that knows λ alone is faster. Assumes W
    symmetric and doubly stochastic. ‖x^k − mean‖ ≤ ‖x⁰ − mean‖ / a_k.
    Invariant: mean x never changes.
    """

    unison: ClassVar[bool] = True
    theorem: ClassVar[Theorem] = Theorem(
        "Golub & Varga 1961; Scaman et al. 2017", q_rate, symmetric=True
    )

    def coefficient(self, k: int) -> float:
        if k == 0:
            return 0.0
        q2 = self.q**2
        return q2 * (1 + q2 ** (k - 1)) / (1 + q2 ** (k + 1))
