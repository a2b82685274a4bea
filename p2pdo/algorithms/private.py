"""Differentially private descent, and the account of what it has told.

A run of p2pdo is a function of a seed that everybody knows, noise included, and noise that a
neighbour can compute and take off again hides nothing. So what hides something here is drawn from a
secret of the node's own, which its problem keeps and nobody is sent: `problems.private`. A problem
without one is refused.

What is accounted: a neighbour sees all that a node sends, which is made of noisy gradients and of
what others sent. One noisy gradient is a Gaussian mechanism; K of them, each chosen after those
before, are together one of the sensitivity √K / z, and its ε at δ is known in closed form. That is
tighter than adding up Rényi divergences, whose sum, ρ of zCDP, is told beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.gradient_descent import DgdState
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import ConfigError
from p2pdo.problems.base import Private
from p2pdo.types import Array

LARGEST = 500.0
"""An ε beyond which e^ε is not computed: there is no privacy to tell apart."""


@dataclass(frozen=True)
class DpDgd(Algorithm[DgdState]):
    """DP-DGD, `Dgd` with the noisy gradients of DP-SGD (Abadi et al. 2016, algorithm 1).

    gᵢ = (1/m) (Σₖ ∇fₖ(xᵢ) min(1, C / ‖∇fₖ(xᵢ)‖) + 2 C z ξ)        ξ ~ N(0, I)
    x⁺ᵢ = Σⱼ wᵢⱼ xⱼ − α gᵢ

    `step_size` is α, `clip` C, `noise` z, in parts of the sensitivity 2 C of the sum to another
    value of one sample; m is public. After K iterations one sample of a node is (ε, δ)-private
    against all other nodes together, where Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) = δ, μ = √K / z (Dong,
    Roth & Su 2022; Balle & Wang 2018); ρ = K / (2 z²) of zCDP (Bun & Steinke 2016). ξ is drawn from
    the secret of the node's problem. Assumes W doubly stochastic, fₖ smooth. Goes to a
    distance of the optimum that clipping, noise and α set.

    Floats are no reals, and the generator is no cipher: the bound is of the mechanism, not of its
    last digits (Mironov 2012).
    """

    step_size: float = 0.05
    clip: float = 1.0
    noise: float = 5.0
    delta: float = 1e-5

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Private)
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM

    def __post_init__(self) -> None:
        for name in ("step_size", "clip", "noise"):
            require_positive(name, getattr(self, name))
        if not 0 < self.delta < 1:
            raise ConfigError(
                f"delta must lie in (0, 1), got {self.delta}",
                hint="less than one over a node's samples: --set delta=1e-5",
            )

    def init(self, x: Array, problem: Private, here: Here) -> DgdState:  # noqa: ARG002
        return DgdState(x)

    def step(self, s: DgdState, problem: Private, here: Here) -> Step[DgdState]:
        each = problem.term_gradients(s.x, np.arange(problem.terms))
        sizes = np.linalg.norm(each, axis=1, keepdims=True)
        clipped = (each * (self.clip / np.maximum(sizes, self.clip))).sum(axis=0)
        drawn = problem.private_rng(here).standard_normal(len(s.x)).astype(s.x.dtype)
        noisy = (clipped + 2 * self.clip * self.noise * drawn) / problem.terms
        x_mixed = yield from mix(s.x)
        return DgdState(x_mixed - self.step_size * noisy)

    def privacy(self, iterations: int) -> dict[str, float]:
        """What so many iterations have told of one sample: epsilon at delta, and rho of zCDP."""
        rho = iterations / (2 * self.noise**2)
        epsilon = gaussian_epsilon(math.sqrt(iterations) / self.noise, self.delta)
        return {"epsilon": epsilon, "delta": self.delta, "rho": rho}


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The least ε at which a Gaussian mechanism of sensitivity μ, in parts of σ, is (ε, δ)-private.

    Of very large μ the bound by zCDP, which is larger.
    """
    if mu == 0:
        return 0.0
    rho = mu**2 / 2
    high = rho + 2 * math.sqrt(rho * math.log(1 / delta))  # Bun & Steinke 2016, proposition 1.3
    if high > LARGEST:
        return high
    low = 0.0
    if gaussian_delta(mu, low) <= delta:
        return low
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The δ of ε: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)."""
    return _normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * _normal(-mu / 2 - epsilon / mu)


def _normal(t: float) -> float:
    return math.erfc(-t / math.sqrt(2)) / 2
