"""Minima of hinge losses, by the dual.

    F(x) = (σ/2) ‖x‖² − pᵀx + Σₖ cₖ max(0, 1 − zₖᵀx)        σ > 0
    G(α) = Σₖ αₖ − ‖p + Zᵀα‖² / (2σ)                       0 ≤ αₖ ≤ cₖ        x = (p + Zᵀα)/σ

G ≤ F, and both meet at the optimum, so that F(x) − G(α) tells how near an answer is without knowing
it: (σ/2) ‖x − x*‖² is no more. A primal-dual interior point method (Mehrotra 1992) comes near; the
samples that it leaves on the margin, zₖᵀx = 1, are then solved for by a linear system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.types import Array

STEPS = 100
NEAR = 1e-12
"""Of the larger of 1 and |F|, what F − G may be where the linear system takes over."""
ENOUGH = 1e-10
"""The same where it is taken; more than that is refused."""
INSIDE = 0.995  # of the way to the nearest bound


class _Point(NamedTuple):
    a: Array  # α
    u: Array  # c − α, kept beside it: their difference would round to 0
    s: Array  # multipliers of α ≥ 0
    t: Array  # multipliers of α ≤ c


@dataclass(frozen=True, eq=False)
class Margins:
    """Samples zₖ as the rows of Z (m, d), their costs c (m,), p (d,), σ."""

    Z: Array
    c: Array
    p: Array
    sigma: float

    def minimiser(self) -> Array:
        """Return argmin F, of shape (d,).

        Raises:
            ConfigError: none was found to `ENOUGH`.
        """
        a = self._near()
        polished = self._on_margin(a)
        a = min((a, polished), key=self._apart)
        if not self._apart(a) <= ENOUGH * self._scale(a):
            raise ConfigError(
                f"found no minimiser of the hinge loss in {STEPS} steps",
                hint="a larger l2, or features of similar size",
            )
        return self._x(a)

    def _x(self, a: Array) -> Array:
        return np.asarray((self.p + a @ self.Z) / self.sigma)

    def _value(self, x: Array) -> float:
        losses = float(self.c @ np.maximum(0, 1 - self.Z @ x))
        return float(self.sigma / 2 * (x @ x) - self.p @ x) + losses

    def _apart(self, a: Array) -> float:
        """F − G, at least 0 but for rounding."""
        x = self._x(a)
        return abs(self._value(x) - float(a.sum()) + self.sigma / 2 * float(x @ x))

    def _scale(self, a: Array) -> float:
        return max(1.0, abs(self._value(self._x(a))))

    def _near(self) -> Array:
        point = _Point(self.c / 2, self.c / 2, np.ones_like(self.c), np.ones_like(self.c))
        best = point.a
        for _ in range(STEPS):
            if self._apart(best) <= NEAR * self._scale(best):
                break
            try:
                with np.errstate(all="ignore"):
                    point = self._improved(point)
            except np.linalg.LinAlgError:  # nearer than doubles tell
                break
            if not np.isfinite(point.a).all():
                break
            best = min((best, point.a), key=self._apart)
        return best

    def _improved(self, at: _Point) -> _Point:
        """One predictor and corrector step towards α s = 0, (c − α) t = 0."""
        plain = self._direction(at, -at.a * at.s, -at.u * at.t)
        now, then = _mean_product(at), _mean_product(_moved(at, plain, 1.0))
        wanted = now * (then / now) ** 3 if now else 0.0
        lower = wanted - at.a * at.s - plain.a * plain.s
        upper = wanted - at.u * at.t - plain.u * plain.t
        return _moved(at, self._direction(at, lower, upper), INSIDE)

    def _direction(self, at: _Point, lower: Array, upper: Array) -> _Point:
        """Of Newton: the margins' condition holds, and α s and (c − α) t change by these."""
        miss = self.Z @ self._x(at.a) - 1 - at.s + at.t
        weight = at.s / at.a + at.t / at.u
        wanted = (-miss + lower / at.a - upper / at.u) / weight
        inner = self.sigma * np.eye(len(self.p)) + (self.Z.T / weight) @ self.Z
        a = wanted - self.Z @ np.linalg.solve(inner, wanted @ self.Z) / weight
        return _Point(a, -a, (lower - at.s * a) / at.a, (upper + at.t * a) / at.u)

    def _on_margin(self, a: Array) -> Array:
        """α with the samples on the margin solved for, all others at their bounds."""
        distance = self.Z @ self._x(a) - 1
        is_on = (np.minimum(a, self.c - a) / self.c) > np.abs(distance)
        settled = np.where(distance < 0, self.c, 0.0)
        settled[is_on] = 0
        on = self.Z[is_on]
        rest = 1 - on @ self._x(settled)
        settled[is_on] = np.linalg.lstsq(on @ on.T / self.sigma, rest, rcond=None)[0]
        return np.clip(settled, 0, self.c)


def _mean_product(at: _Point) -> float:
    """What α s and (c − α) t are, on average: 0 at the optimum."""
    return float(at.a @ at.s + at.u @ at.t) / (2 * len(at.a))


def _moved(at: _Point, by: _Point, share: float) -> _Point:
    """As far as `share` of the way to where a number would be 0; a full step at most."""
    pairs = zip(at, by, strict=True)
    shrinking = [float(np.min(-v[d < 0] / d[d < 0], initial=np.inf)) for v, d in pairs]
    step = min(1.0, share * min(shrinking))
    return _Point(*(v + step * d for v, d in zip(at, by, strict=True)))
