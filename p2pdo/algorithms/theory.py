"""What is proved of a method's step size and rate, as small pure objects beside the methods.

A theorem speaks of a few constants of costs and weights and holds for all costs that have them. So
its range of step sizes is a part of those that converge, and its rate a bound: on the costs at
hand a method may be faster, but never slower. For what it is exactly there see
`p2pdo.simulation.linearised`.

A rate is the factor by which the distance to the limit shrinks in an iteration, in the long run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Constants:
    """What theorems speak of.

    Attributes:
        smoothness: L = maxᵢ Lᵢ; None where a cost does not tell it.
        convexity: μ = minᵢ μᵢ; None where a cost does not tell it.
        mean_convexity: of (1/N) Σᵢ fᵢ; at least the mean of all μᵢ.
        slem: the second largest modulus of an eigenvalue of W.
        contraction: ‖W − 11ᵀ/N‖₂, what a disagreement shrinks by at least; slem where W = Wᵀ.
        second: the second largest eigenvalue of a symmetric W.
        smallest: the smallest eigenvalue of a symmetric W.
        symmetric: whether W = Wᵀ; otherwise `second` and `smallest` are not defined.
    """

    smoothness: float | None
    convexity: float | None
    mean_convexity: float | None
    slem: float
    contraction: float
    second: float
    smallest: float
    symmetric: bool


@dataclass(frozen=True, slots=True)
class Theorem:
    """One result on one method.

    Attributes:
        source: the paper, and where in it.
        rate: of the method with its parameters; 1 where the result promises no rate.
        largest_step: step sizes below it converge; None where there is no step size.
        symmetric: whether it speaks of symmetric W only.
    """

    source: str
    rate: Callable[[Any, Constants], float]
    largest_step: Callable[[Constants], float | None] = lambda _constants: None
    symmetric: bool = False

    def applies_to(self, at: Constants) -> bool:
        return at.symmetric or not self.symmetric


# ---- descent ----


def over_smoothness(numerator: Callable[[Constants], float]) -> Callable[[Constants], float | None]:
    """A largest step size of the form numerator / L."""

    def largest(at: Constants) -> float | None:
        return None if not at.smoothness else numerator(at) / at.smoothness

    return largest


def descent_rate(algorithm: Any, at: Constants) -> float:
    """max(|1 − αμ|, |1 − αL|): a gradient step on every cost; a mean expands nothing."""
    a = float(algorithm.step_size)
    if at.smoothness is None or at.convexity is None or at.contraction > 1:
        return 1.0
    return max(abs(1 - a * at.convexity), abs(1 - a * at.smoothness))


def penalised_descent_rate(algorithm: Any, at: Constants) -> float:
    """Of a gradient step on Σᵢ fᵢ(xᵢ) + xᵀ(I − W)x/(2α): curvatures from μ to L + (1 − λmin)/α."""
    a = float(algorithm.step_size)
    if at.smoothness is None or at.convexity is None:
        return 1.0
    return max(abs(1 - a * at.convexity), abs(a * at.smoothness - at.smallest))


def primal_dual_rate(algorithm: Any, at: Constants) -> float:
    """√max(1 − αμ(2 − αL), (1 + λ₂)/2): the slower of descent and of agreement by (I + W)/2."""
    a = float(algorithm.step_size)
    if at.smoothness is None or at.convexity is None:
        return 1.0
    descent = 1 - a * at.convexity * (2 - a * at.smoothness)
    return math.sqrt(max(descent, (1 + at.second) / 2))


def extra_rate(algorithm: Any, at: Constants) -> float:
    """√max(1 − αμ(2 − αL/λmin(W̃)), (1 + λ₂)/2), W̃ = (I + W)/2.

    With B² = I − W̃, EXTRA is x⁺ = h − B y, y⁺ = y + B x⁺, h = W̃ x − α ∇f(x), about its limit:
    ‖x⁺‖² − ‖B x⁺‖² + ‖y⁺‖² = ‖h‖² + ‖y‖² − ‖B y‖². Here ‖B y‖² ≥ (1 − λ₂)/2 ‖y‖², and in u = W̃^½ x
    h is shorter than a gradient step on f(W̃^−½ u), which is μ-strongly convex and L/λmin(W̃)-smooth.
    """
    a, least = float(algorithm.step_size), (1 + at.smallest) / 2
    if at.smoothness is None or at.convexity is None or not a * at.smoothness < 2 * least:
        return 1.0
    descent = 1 - a * at.convexity * (2 - a * at.smoothness / least)
    return math.sqrt(max(descent, (1 + at.second) / 2))


# ---- gradient tracking ----


def tracking_rate(algorithm: Any, at: Constants) -> float:
    """The spectral radius of Qu & Li's matrix G(η).

    It bounds ‖y − mean y‖, ‖x − x̄‖ and √N ‖x̄ − x*‖, in this order, by those before.
    """
    return _tracking_radius(float(algorithm.step_size), at)


def _tracking_radius(eta: float, at: Constants) -> float:
    beta, mu, sigma = at.smoothness, at.mean_convexity, at.contraction
    if beta is None or mu is None:
        return 1.0
    descent = max(abs(1 - eta * mu), abs(1 - eta * beta))
    G = np.array(
        [
            [sigma + eta * beta, beta * (eta * beta + 2), eta * beta**2],
            [eta, sigma, 0],
            [0, eta * beta, descent],
        ]
    )
    return float(np.abs(np.linalg.eigvals(G)).max())


def largest_tracking_step(at: Constants) -> float | None:
    """The end of the step sizes from zero on for which that radius is below one."""
    if not at.smoothness or not at.mean_convexity:
        return None
    low, high = 0.0, 2 / at.smoothness
    for _ in range(60):  # as far as a float tells
        middle = (low + high) / 2
        low, high = (middle, high) if _tracking_radius(middle, at) < 1 else (low, middle)
    return low


# ---- agreement ----


def slem_rate(_algorithm: Any, at: Constants) -> float:
    """The second largest modulus of an eigenvalue of W."""
    return at.slem
