"""Compressed gradients by EF21: the error is fed back because differences to copies are sent.

EF21 keeps at the sender and at its hearers a copy G of a vector v, and sends Q(v − G) alone:
G⁺ = G + Q(v⁺ − G). Where v settles the differences vanish, so a contraction that is biased does no
harm, and nothing is assumed of how far apart the nodes' gradients are. BEER keeps such copies of x
and of a tracker of the gradients; MoTEF adds the momentum that EF21 takes against the noise of
mini-batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, require_positive, require_share
from p2pdo.algorithms.compressed import DESCENT, Compressing
from p2pdo.algorithms.invariants import Invariant, equal_means
from p2pdo.codecs.base import require_contraction
from p2pdo.effects import Here, Step
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


class MotefState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    v: Array  # tracker of the average momentum, shape (d,)
    m: Array  # momentum of the local gradients, shape (d,)
    x_copy: Array  # the public copy of x, the paper's H, shape (d,)
    x_sum: Array  # Σⱼ wᵢⱼ of the neighbours' copies of x, shape (d,)
    v_copy: Array  # the public copy of v, the paper's G, shape (d,)
    v_sum: Array  # Σⱼ wᵢⱼ of the neighbours' copies of v, shape (d,)


@dataclass(frozen=True)
class Motef(Compressing, Algorithm[MotefState]):
    """MoTEF (Islamov, Gao & Stich 2024, algorithm 1): decentralized EF21, momentum tracking.

    x⁺ = x + γ (W − I) H − η v        H⁺ = H + Q(x⁺ − H)
    m⁺ = (1 − λ) m + λ ∇f(x⁺)        v⁺ = v + γ (W − I) G + m⁺ − m        G⁺ = G + Q(v⁺ − G)
    m⁰ = v⁰ = ∇f(x⁰), H⁰ = G⁰ = 0

    H and G are EF21's copies (Richtárik, Sokolov & Fatkhullin 2021). `step_size` is η,
    `consensus_step` γ, `momentum` λ; with λ = 1 it is `Beer`. Assumes W symmetric and doubly
    stochastic, Q a contraction, fᵢ L-smooth, γ of order δ (1 − slem), η of order γ λ (1 − slem)/L;
    with mini-batches a small λ, on exact gradients any. Both differences go in one exchange.
    Invariant: mean v = mean m.
    """

    step_size: float
    momentum: float = 0.5
    consensus_step: float = 0.2
    compressor: str = "top-k:0.25"

    requires: ClassVar[Requires] = DESCENT
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("v", "m"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("momentum", self.momentum)
        require_share("consensus_step", self.consensus_step)
        _ = self._operator

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - Q is what limits it
        return 1 / 32

    def init(self, x: Array, problem: Gradient, here: Here) -> MotefState:  # noqa: ARG002
        require_contraction(self._operator, len(x), self.compressor)
        g, zero = problem.gradient(x), np.zeros_like(x)
        return MotefState(x, g, g, zero, zero, zero, zero)

    def step(self, s: MotefState, problem: Gradient, here: Here) -> Step[MotefState]:
        gamma, part = self.consensus_step, self.momentum
        x = s.x + gamma * (s.x_sum - s.x_copy) - self.step_size * s.v
        m = (1 - part) * s.m + part * problem.gradient(x)
        v = s.v + gamma * (s.v_sum - s.v_copy) + m - s.m
        (qx, qx_mixed), (qv, qv_mixed) = yield from self._send(
            x - s.x_copy, v - s.v_copy, here=here
        )
        return MotefState(
            x, v, m, s.x_copy + qx, s.x_sum + qx_mixed, s.v_copy + qv, s.v_sum + qv_mixed
        )
