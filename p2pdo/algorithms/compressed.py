"""Compressed communication with error feedback: few bytes a message, and nothing is lost.

Each node i has a public copy x̂ᵢ that its neighbours know too, because it changes by nothing but
what they are sent: x̂ᵢ⁺ = x̂ᵢ + Q(xᵢ − x̂ᵢ). What Q leaves out stays in the difference until later.
A node keeps x̂ᵢ and the sum Σⱼ wᵢⱼ x̂ⱼ over itself and its neighbours, not a copy for each of them.
Q is a codec of `p2pdo.codecs`; one that draws does so from `here.rng`. What is sent are its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import (
    Algorithm,
    Limit,
    Requires,
    Stochastic,
    require_positive,
    require_share,
)
from p2pdo.algorithms.invariants import Invariant, equal_means, zero_mean
from p2pdo.codecs import Codec, codec
from p2pdo.codecs.base import require_contraction
from p2pdo.effects import Here, Step, exchange
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.problems.base import Gradient, Problem
from p2pdo.types import Array

MIXED = Requires(weights=Stochastic.DOUBLY, symmetric=True)
DESCENT = Requires(weights=Stochastic.DOUBLY, symmetric=True, oracle=Gradient)


class Compressing:
    """The operator of a method's parameter `compressor`."""

    mixes: ClassVar[bool] = False  # what it sends is coded already
    compressor: str

    @cached_property
    def _operator(self) -> Codec:
        return codec(self.compressor)

    def _send(self, *differences: Array, here: Here) -> Step[list[tuple[Array, Array]]]:
        """One exchange: for each difference v the own Q(v), and Σⱼ wᵢⱼ Q(vⱼ) of what is heard."""
        for v in differences:
            _require_finite(v, here)
        sent = tuple([self._operator.encode(v, here.rng) for v in differences])
        theirs = yield from exchange(sent)
        own = [self._operator.decode(part, v) for part, v in zip(sent, differences, strict=True)]
        return [(q, self._mixed(k, q, theirs, here)) for k, q in enumerate(own)]

    def _mixed(self, k: int, own: Array, theirs: Any, here: Here) -> Array:
        heard = {j: self._operator.decode(_part(parts, k), own) for j, parts in theirs.items()}
        mixed: Array = here.row.weighted_sum({**heard, here.node: own})  # type: ignore[assignment]
        return mixed


def _part(parts: Any, k: int) -> Any:
    """The k-th of what a neighbour sent, where that is so many parts."""
    return parts[k] if isinstance(parts, tuple) and k < len(parts) else None


def _require_finite(v: Array, here: Here) -> None:
    """Bytes would hide it."""
    if not np.isfinite(v).all():
        raise WorkloadFailed(
            f"a value to be compressed is not finite (NaN or infinite) in "
            f"iteration {here.iteration}",
            hint="a smaller step size (--set step_size=…) or consensus step, or a finer compressor",
        )


class ChocoState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    h: Array  # the public copy x̂ᵢ, shape (d,)
    s: Array  # Σⱼ wᵢⱼ x̂ⱼ, shape (d,)


@dataclass(frozen=True)
class ChocoGossip(Compressing, Algorithm[ChocoState]):
    """CHOCO-gossip (Koloskova, Stich & Jaggi 2019, algorithm 1, memory-efficient).

    qᵢ = Q(xᵢ − x̂ᵢ)        x̂ᵢ⁺ = x̂ᵢ + qᵢ        x⁺ᵢ = xᵢ + γ Σⱼ wᵢⱼ (x̂ⱼ⁺ − x̂ᵢ⁺)        x̂⁰ = 0

    Assumes W symmetric and doubly stochastic, Q a contraction, γ small enough for it: the paper
    proves γ = ρ²δ / (16ρ + ρ² + 4β² + 2ρβ² − 8ρδ), ρ = 1 − slem, β = ‖I − W‖, and finds larger ones
    to work; `consensus_step` is γ. Linear. Invariant: mean x never changes, whatever Q leaves out.
    """

    consensus_step: float = 0.2
    compressor: str = "top-k:0.25"

    requires: ClassVar[Requires] = MIXED
    limit: ClassVar[Limit] = Limit.MEAN
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("h", "s"),)

    def __post_init__(self) -> None:
        require_share("consensus_step", self.consensus_step)
        _ = self._operator

    def init(self, x: Array, problem: Problem, here: Here) -> ChocoState:  # noqa: ARG002
        require_contraction(self._operator, len(x), self.compressor)
        return ChocoState(x, np.zeros_like(x), np.zeros_like(x))

    def step(self, s: ChocoState, problem: Problem, here: Here) -> Step[ChocoState]:  # noqa: ARG002
        ((q, q_mixed),) = yield from self._send(s.x - s.h, here=here)
        h, s_new = s.h + q, s.s + q_mixed
        return ChocoState(s.x + self.consensus_step * (s_new - h), h, s_new)


@dataclass(frozen=True)
class ChocoSgd(Compressing, Algorithm[ChocoState]):
    """CHOCO-SGD (Koloskova, Stich & Jaggi 2019, algorithm 2, memory-efficient).

    zᵢ = xᵢ − η ∇fᵢ(xᵢ)        qᵢ = Q(zᵢ − x̂ᵢ)        x̂ᵢ⁺ = x̂ᵢ + qᵢ        x̂⁰ = 0
    x⁺ᵢ = zᵢ + γ Σⱼ wᵢⱼ (x̂ⱼ⁺ − x̂ᵢ⁺)

    `step_size` is η, `consensus_step` γ. Assumes what `ChocoGossip` assumes, and fᵢ L-smooth and
    strongly convex; the paper lets η shrink. With constant η it stops at a distance O(η), the
    larger the smaller γ is. Invariant: mean x⁺ = mean x − η mean ∇f(x).
    """

    step_size: float
    consensus_step: float = 0.2
    compressor: str = "top-k:0.25"

    requires: ClassVar[Requires] = DESCENT
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("h", "s"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("consensus_step", self.consensus_step)
        _ = self._operator

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - Q is what limits it
        return 1 / 16

    def init(self, x: Array, problem: Gradient, here: Here) -> ChocoState:  # noqa: ARG002
        require_contraction(self._operator, len(x), self.compressor)
        return ChocoState(x, np.zeros_like(x), np.zeros_like(x))

    def step(self, s: ChocoState, problem: Gradient, here: Here) -> Step[ChocoState]:
        z = s.x - self.step_size * problem.gradient(s.x)
        ((q, q_mixed),) = yield from self._send(z - s.h, here=here)
        h, s_new = s.h + q, s.s + q_mixed
        return ChocoState(z + self.consensus_step * (s_new - h), h, s_new)


class BeerState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    v: Array  # tracker of the average gradient, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)
    x_copy: Array  # the public copy of x, the paper's H, shape (d,)
    x_sum: Array  # Σⱼ wᵢⱼ of the neighbours' copies of x, shape (d,)
    v_copy: Array  # the public copy of v, the paper's G, shape (d,)
    v_sum: Array  # Σⱼ wᵢⱼ of the neighbours' copies of v, shape (d,)


@dataclass(frozen=True)
class Beer(Compressing, Algorithm[BeerState]):
    """BEER (Zhao, Li, Richtárik & Chi 2022, algorithm 1): compressed gradient tracking.

    x⁺ = x + γ (W − I) H − η v        H⁺ = H + Q(x⁺ − H)
    v⁺ = v + γ (W − I) G + ∇f(x⁺) − ∇f(x)        G⁺ = G + Q(v⁺ − G)
    v⁰ = ∇f(x⁰), H⁰ = G⁰ = 0

    `step_size` is η, `consensus_step` γ. Assumes W symmetric and doubly stochastic, Q a
    contraction, fᵢ L-smooth, γ of order δ (1 − slem) and η of order γ (1 − slem)/L. Both
    differences go in one exchange. Invariant: mean v = mean ∇f(x).
    """

    step_size: float
    consensus_step: float = 0.2
    compressor: str = "top-k:0.25"

    requires: ClassVar[Requires] = DESCENT
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("v", "g"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("consensus_step", self.consensus_step)
        _ = self._operator

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - Q is what limits it
        return 1 / 32

    def init(self, x: Array, problem: Gradient, here: Here) -> BeerState:  # noqa: ARG002
        require_contraction(self._operator, len(x), self.compressor)
        g, zero = problem.gradient(x), np.zeros_like(x)
        return BeerState(x, g, g, zero, zero, zero, zero)

    def step(self, s: BeerState, problem: Gradient, here: Here) -> Step[BeerState]:
        gamma = self.consensus_step
        x = s.x + gamma * (s.x_sum - s.x_copy) - self.step_size * s.v
        g = problem.gradient(x)
        v = s.v + gamma * (s.v_sum - s.v_copy) + g - s.g
        (qx, qx_mixed), (qv, qv_mixed) = yield from self._send(
            x - s.x_copy, v - s.v_copy, here=here
        )
        return BeerState(
            x, v, g, s.x_copy + qx, s.x_sum + qx_mixed, s.v_copy + qv, s.v_sum + qv_mixed
        )


class LeadState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    d: Array  # dual variable, shape (d,)
    h: Array  # the public copy of y, shape (d,)
    s: Array  # Σⱼ wᵢⱼ hⱼ, shape (d,)


@dataclass(frozen=True)
class Lead(Compressing, Algorithm[LeadState]):
    """LEAD (Liu, Li, Wang, Tang & Yan 2021, algorithm 1): compressed primal-dual method.

    y = x − η ∇f(x) − η d        q = Q(y − h)        ŷ = h + q        h⁺ = h + α q
    d⁺ = d + γ/(2η) (ŷ − W ŷ)        x⁺ = x − η ∇f(x) − η d⁺        d⁰ = h⁰ = 0

    `step_size` is η, `dual_step` γ, `copy_step` α. Assumes W symmetric and doubly stochastic, Q
    unbiased, fᵢ L-smooth and strongly convex, η ≤ 2/(μ + L), α and γ small where Q is coarse. The
    paper makes one step x − η ∇f(x) first; without compression and with γ = 1 it is then NIDS.
    Invariant: mean d = 0.
    """

    step_size: float
    dual_step: float = 1.0
    copy_step: float = 0.5
    compressor: str = "qsgd:15"

    requires: ClassVar[Requires] = DESCENT
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("d"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("dual_step", self.dual_step)
        require_share("copy_step", self.copy_step)
        if not self._operator.unbiased:
            raise ConfigError(
                f"lead needs an unbiased compressor, '{self.compressor}' is not one",
                hint="for example max-qsgd:7; beer takes every contraction",
            )

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - 2/(μ + L) on every network
        return 1 / 2

    def init(self, x: Array, problem: Gradient, here: Here) -> LeadState:  # noqa: ARG002
        zero = np.zeros_like(x)
        return LeadState(x, zero, zero, zero)

    def step(self, s: LeadState, problem: Gradient, here: Here) -> Step[LeadState]:
        descended = s.x - self.step_size * problem.gradient(s.x)
        ((q, q_mixed),) = yield from self._send(descended - self.step_size * s.d - s.h, here=here)
        apart = (s.h + q) - (s.s + q_mixed)
        d = s.d + self.dual_step / (2 * self.step_size) * apart
        h, s_new = s.h + self.copy_step * q, s.s + self.copy_step * q_mixed
        return LeadState(descended - self.step_size * d, d, h, s_new)


class CgtState(NamedTuple):
    x: Array  # decision variable, shape (d,)
    y: Array  # tracker of the average gradient, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)
    hx: Array  # the public reference point of x, shape (d,)
    hx_sum: Array  # Σⱼ wᵢⱼ of the neighbours' reference points of x, shape (d,)
    hy: Array  # the public reference point of y, shape (d,)
    hy_sum: Array  # Σⱼ wᵢⱼ of the neighbours' reference points of y, shape (d,)


@dataclass(frozen=True)
class CGt(Compressing, Algorithm[CgtState]):
    """C-GT (Liao, Li, Huang & Pu 2022, algorithm 1): compressed gradient tracking.

    x̂ = hₓ + Q(x − hₓ)        hₓ⁺ = (1 − a) hₓ + a x̂        and the same for y
    x⁺ = x − γ (x̂ − W x̂) − η y        y⁺ = y − γ (ŷ − W ŷ) + ∇f(x⁺) − ∇f(x)        y⁰ = ∇f(x⁰)

    `step_size` is η, `consensus_step` γ, `reference_step` a; the paper has others for y than for x.
    Unbiased operators that are no contraction are tamed by a small a. Assumes W
    symmetric and doubly stochastic, fᵢ L-smooth, F strongly convex; η, γ and a small enough for Q.
    Linear. Invariant: mean y = mean ∇f(x), whatever Q leaves out. With a = 1 it is gradient
    tracking with a codec.
    """

    step_size: float
    consensus_step: float = 0.2
    reference_step: float = 0.5
    compressor: str = "top-k:0.25"

    requires: ClassVar[Requires] = DESCENT
    limit: ClassVar[Limit] = Limit.OPTIMUM
    invariants: ClassVar[tuple[Invariant, ...]] = (equal_means("y", "g"),)

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)
        require_share("consensus_step", self.consensus_step)
        require_share("reference_step", self.reference_step)
        _ = self._operator

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - Q is what limits it
        return 1 / 32

    def init(self, x: Array, problem: Gradient, here: Here) -> CgtState:  # noqa: ARG002
        if not self._operator.unbiased:
            require_contraction(self._operator, len(x), self.compressor)
        g, zero = problem.gradient(x), np.zeros_like(x)
        return CgtState(x, g, g, zero, zero, zero, zero)

    def step(self, s: CgtState, problem: Gradient, here: Here) -> Step[CgtState]:
        gamma, a = self.consensus_step, self.reference_step
        (qx, qx_mixed), (qy, qy_mixed) = yield from self._send(s.x - s.hx, s.y - s.hy, here=here)
        apart = (s.hx + qx) - (s.hx_sum + qx_mixed)
        x = s.x - gamma * apart - self.step_size * s.y
        g = problem.gradient(x)
        y = s.y - gamma * ((s.hy + qy) - (s.hy_sum + qy_mixed)) + g - s.g
        return CgtState(
            x, y, g, s.hx + a * qx, s.hx_sum + a * qx_mixed, s.hy + a * qy, s.hy_sum + a * qy_mixed
        )
