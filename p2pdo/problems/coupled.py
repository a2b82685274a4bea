"""Resource allocation: nodes decide each for itself, and share what they use.

    minimise Σᵢ fᵢ(uᵢ) over uᵢ ∈ Uᵢ subject to Σᵢ Aᵢ uᵢ ≤ Σᵢ bᵢ
    f(u) = ½ Σₖ hₖ uₖ² − cᵀu, h > 0        U = {lower ≤ u ≤ upper}

No u is another's, so what nodes agree on is not u but the price λ ≥ 0 of the p resources, the
multiplier of the coupling rows. The problem that all of the library solves is its dual:

    minimise Σᵢ qᵢ(λ) over λ ≥ 0        q(λ) = −min_{u∈U} f(u) + λᵀ(A u − b)
    ∇q(λ) = b − A u(λ)        u(λ) = (c − Aᵀλ) / h, cut at the bounds
    L = λmax(A diag(1/h) Aᵀ)

There is no duality gap: the least Σ q is −Σ f(u) at the best u that fits, so the gap of a run is
what the price is worth less than the best one, and u(λ), `response`, is the node's own decision.

It is a `Composite`, q and the indicator of λ ≥ 0, and has the proximal map of both: pg-extra,
prox-nids and ADMM take it as it is. `multiplier` is what primal decomposition asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.checks import common_dimension, positive_penalty, real_array, same_length
from p2pdo.problems.linear_algebra import in_dtype_of
from p2pdo.types import Array

NEWTON_LIMIT = 200
NEARLY = 1e-13
"""The residual, in parts of its scale, that is rounding."""
PART_OF_L = 1e-6
"""The weight of the proximal steps that stand in for none, in parts of L."""
PROXIMAL_STEPS = 400
TELLABLE = 1e-9
SMALLEST_STEP = 2.0**-40


@dataclass(frozen=True, eq=False)
class Coupled:
    """½ Σ hₖ uₖ² − cᵀu on lower ≤ u ≤ upper, shapes (m,), which uses A u of b: A (p, m), b (p,).

    `b` is the node's own share of what there is; only the sum over the nodes matters. Each node
    has an m of its own, all have one p.
    """

    h: Array
    c: Array
    lower: Array
    upper: Array
    A: Array
    b: Array

    def __post_init__(self) -> None:
        A = real_array("A", self.A, ("p", "m"))
        object.__setattr__(self, "A", A)
        for name in ("h", "c", "lower", "upper"):
            value = real_array(name, getattr(self, name), ("m",), A.dtype)
            same_length(name, len(value), "the columns of A", A.shape[1])
            object.__setattr__(self, name, value)
        b = real_array("b", self.b, ("p",), A.dtype)
        same_length("b", len(b), "the rows of A", len(A))
        object.__setattr__(self, "b", b)
        if not (self.h > 0).all():
            raise ConfigError("h must be positive in every entry", hint="h=[1.0, …]: curvatures")
        if not (self.lower <= self.upper).all():
            raise ConfigError("lower exceeds upper", hint="swap the bounds")

    @property
    def is_quadratic(self) -> bool:
        """Of q, which is one in pieces; its largest curvature is there where no bound cuts."""
        return True

    @property
    def dimension(self) -> int:
        """p, the number of shared resources: the length of a price."""
        return len(self.b)

    @cached_property
    def _curvatures(self) -> Array:
        A = self.A.astype(np.float64)
        return np.linalg.eigvalsh((A / self.h) @ A.T)

    @property
    def smoothness(self) -> float:
        return max(float(self._curvatures[-1]), float(np.finfo(np.float64).tiny))

    @property
    def strong_convexity(self) -> float:
        """0: where bounds cut u, q is straight."""
        return 0.0

    @property
    def free_convexity(self) -> float:
        """λmin(A diag(1/h) Aᵀ), of q where no bound cuts."""
        return max(float(self._curvatures[0]), 0.0)

    def response(self, x: Array) -> Array:
        """u(λ) of shape (m,): what the node does at the price λ = `x`."""
        return in_dtype_of(x, np.clip((self.c - x @ self.A) / self.h, self.lower, self.upper))

    def cost(self, u: Array) -> float:
        """f(u)."""
        return float(np.sum(u * (0.5 * self.h * u - self.c), dtype=np.float64))

    def excess(self, u: Array) -> Array:
        """A u − b, what is used beyond the own share, shape (p,)."""
        return in_dtype_of(u, self.A @ u - self.b)

    def value(self, x: Array) -> float:
        """q(x), also where a price is negative."""
        u = self.response(x)
        return -self.cost(u) - float(x @ self.excess(u))

    def smooth_gradient(self, x: Array) -> Array:
        return in_dtype_of(x, -self.excess(self.response(x)))

    def rest_prox(self, v: Array, rho: float) -> Array:
        """max(v, 0), whatever ρ is."""
        positive_penalty(rho)
        return np.asarray(np.maximum(v, v.dtype.type(0)))

    def prox(self, v: Array, rho: float) -> Array:
        """Return argmin_{λ≥0} q(λ) + (ρ/2)‖λ − v‖², by Newton's method on the pieces of q."""
        near = _Priced(self, v.astype(np.float64), positive_penalty(rho))
        return in_dtype_of(v, near.minimiser())

    def multiplier(self, y: Array, near: Array, most: float) -> Array:
        """Return argmin q(μ) + yᵀμ over 0 ≤ μ ≤ most, the one that steps from `near` come to.

        It is the multiplier of A u − b ≤ y + v, with slacks v ≥ 0 that cost `most` each.
        """
        return in_dtype_of(near, _stepwise(self, near, y, most))

    @classmethod
    def minimiser(cls, problems: Sequence[Self]) -> Array:
        """Return a best price: argmin Σᵢ qᵢ(λ) over λ ≥ 0, of shape (p,).

        Raises:
            ConfigError: no u within the bounds fits, so that prices rise for ever.
        """
        common_dimension(problems)
        wide = {
            name: np.concatenate([getattr(p, name) for p in problems], axis=-1, dtype=np.float64)
            for name in ("h", "c", "lower", "upper", "A")
        }
        shares = np.asarray(np.sum([p.b for p in problems], axis=0, dtype=np.float64))
        whole = Coupled(b=shares, **wide)
        price = _stepwise(whole, np.zeros(whole.dimension), np.zeros(whole.dimension), np.inf)
        over = float(whole.excess(whole.response(price)).max())
        if over > TELLABLE * max(1.0, float(np.abs(shares).max())):
            raise ConfigError(
                f"the bounds leave no decisions that fit: {over:.3g} too much is used",
                hint="raise b, or lower the bounds of u",
            )
        return price


@dataclass(frozen=True, eq=False)
class _Priced:
    """q(λ) + yᵀλ + (ρ/2)‖λ − v‖² on 0 ≤ λ ≤ most, in float64; ρ > 0."""

    cost: Coupled
    v: Array
    rho: float
    y: Array | float = 0.0
    most: float = np.inf

    def value(self, price: Array) -> float:
        away = price - self.v
        return float(self.cost.value(price) + np.sum(self.y * price) + self.rho / 2 * away @ away)

    def gradient(self, price: Array) -> Array:
        g: Array = self.cost.smooth_gradient(price) + self.y + self.rho * (price - self.v)
        return g

    def hessian(self, price: Array) -> Array:
        cost, wanted = self.cost, (self.cost.c - price @ self.cost.A) / self.cost.h
        is_free = (wanted > cost.lower) & (wanted < cost.upper)
        A = cost.A[:, is_free].astype(np.float64)
        H: Array = (A / cost.h[is_free]) @ A.T + self.rho * np.eye(len(price))
        return H

    def within(self, price: Array) -> Array:
        return np.clip(price, 0.0, self.most)

    def residual(self, price: Array) -> float:
        """How far a gradient step of 1/L moves."""
        step = 1 / (self.cost.smoothness + self.rho)
        return float(np.abs(price - self.within(price - step * self.gradient(price))).max())

    def minimiser(self) -> Array:
        """By projected Newton steps (Bertsekas 1982): of what no bound holds."""
        price = self.within(self.v)
        for _ in range(NEWTON_LIMIT):
            g = self.gradient(price)
            held = ((price <= 0) & (g >= 0)) | ((price >= self.most) & (g <= 0))
            if held.all() or self.residual(price) <= NEARLY * (1 + np.abs(price).max()):
                return price
            free = np.flatnonzero(~held)
            direction = np.zeros_like(price)
            direction[free] = np.linalg.solve(self.hessian(price)[np.ix_(free, free)], g[free])
            better = self._descend(price, g, direction)
            if (
                better is None and self.residual(price) > TELLABLE
            ):  # a bound is in the way of Newton's step; a gradient's has none
                better = self._descend(price, g, g / (self.cost.smoothness + self.rho))
            if better is None:
                return price
            price = better
        return price

    def _descend(self, price: Array, g: Array, direction: Array) -> Array | None:
        value, residual = self.value(price), self.residual(price)
        step = 1.0
        while step >= SMALLEST_STEP:
            new = self.within(price - step * direction)
            decrease = float(g @ (price - new))
            if decrease > TELLABLE * (1 + abs(value)):
                is_fair = self.value(new) <= value - decrease / 4
            else:
                is_fair = self.residual(new) < residual * (1 - step / 4)
            if is_fair:
                return new
            step /= 2
        return None


def _stepwise(cost: Coupled, near: Array, y: Array, most: float) -> Array:
    """Argmin q(μ) + yᵀμ on 0 ≤ μ ≤ most, by proximal steps from `near` until none moves."""
    price = np.clip(near.astype(np.float64), 0.0, most)
    rho = PART_OF_L * cost.smoothness
    for _ in range(PROXIMAL_STEPS):
        before = price
        price = _Priced(cost, price, rho, y.astype(np.float64), most).minimiser()
        if np.abs(price - before).max() <= NEARLY * (1 + np.abs(price).max()):
            break
    return price
