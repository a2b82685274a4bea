"""Several mixings within one iteration, as a polynomial of W that agrees faster than W^K.

    x_mixed = yield from fast_mix(x, slem, K)                       # K exchanges
    x_mixed = yield from chebyshev_mix(x, Interval(λmin, λ₂), K)    # K exchanges

Both keep the mean of all nodes' x. What they are as algorithms of their own stands in
`accelerated_gossip`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from p2pdo.effects import Step, mix
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import DENSE, modes, spectrum
from p2pdo.graphs.weights import Weights
from p2pdo.types import Array


class Interval(NamedTuple):
    """Where the eigenvalues of a symmetric W lie beside the 1 of agreement."""

    smallest: float
    second: float

    @property
    def condition(self) -> float:
        """χ, the largest eigenvalue of I − W over its smallest that is not 0."""
        return (1 - self.smallest) / (1 - self.second)


def fast_mix(x: Array, slem: float, times: int) -> Step[Array]:
    """FastMix (Liu & Morse 2011; Ye, Luo, Zhou & Zhang 2020), `times` exchanges.

    x^{k+1} = (1 + η) W x^k − η x^{k−1}, x^{−1} = x⁰, η = (1 − √(1 − λ²)) / (1 + √(1 − λ²)).
    """
    root = math.sqrt(1 - slem**2)
    eta = (1 - root) / (1 + root)
    before = x
    for _ in range(times):
        x_mixed = yield from mix(x)
        x, before = (1 + eta) * x_mixed - eta * before, x
    return x


def chebyshev_mix(x: Array, within: Interval, times: int) -> Step[Array]:
    """R_K(W) x = T_K(t(W)) x / T_K(t(1)), t the line from `within` to [−1, 1]; K = `times` ≥ 1.

    By the three-term recursion of Golub & Varga (1961): with m the middle of the interval and
    r half its length, S = (W − m I)/(1 − m) and σ = r/(1 − m),

        x¹ = S x⁰        x^{k+1} = ω_{k+1} (S x^k − x^{k−1}) + x^{k−1}
        ω₂ = 1/(1 − σ²/2)        ω_{k+1} = 1/(1 − σ² ω_k/4)
    """
    middle = (within.second + within.smallest) / 2
    sigma = (within.second - within.smallest) / 2 / (1 - middle)
    before, x = x, ((yield from mix(x)) - middle * x) / (1 - middle)
    omega = 2.0
    for _ in range(times - 1):
        omega = 1 / (1 - sigma**2 * omega / 4)
        shrunk = ((yield from mix(x)) - middle * x) / (1 - middle)
        x, before = omega * (shrunk - before) + before, x
    return x


def left_by_chebyshev(within: Interval, times: int) -> float:
    """The largest |R_K| on the interval, 1/T_K(1/σ): what a disagreement may keep of itself."""
    middle = (within.second + within.smallest) / 2
    sigma = (within.second - within.smallest) / 2 / (1 - middle)
    if sigma <= 0:
        return 0.0
    q = sigma / (1 + math.sqrt(1 - sigma**2))
    return 2 * q**times / (1 + q ** (2 * times))


DISCONNECTED = 1 - 1e-12
TOLD = {
    "second": "the second largest eigenvalue of W",
    "smallest": "the smallest eigenvalue of W",
}


def interval_of(weights: Weights) -> Interval:
    """That of a symmetric W; on more nodes than eigenvalues are computed of, ±slem.

    Raises:
        ConfigError: the weights do not reach agreement, or their eigenvalues cannot be told apart.
    """
    if weights.n == 1:
        return Interval(0.0, 0.0)
    if weights.n > DENSE:
        slem = spectrum(weights).slem
        found = Interval(-slem, slem)
    else:
        eigenvalues = modes(weights).real
        found = Interval(float(eigenvalues.min()), float(eigenvalues.max()))
    if found.second >= DISCONNECTED:
        raise ConfigError(
            f"these weights do not reach agreement: their second eigenvalue is {found.second:.12g}",
            hint="join the parts of the graph, or give every node a weight of its own",
        )
    return found


def require_interval(within: Interval) -> None:
    """Refuses bounds of eigenvalues that are none."""
    if not -1 <= within.smallest <= within.second < 1:
        raise ConfigError(
            f"-1 <= smallest <= second < 1 must hold, got {within.smallest} and {within.second}",
            hint="leave them out for those of the network",
        )


def require_curvatures(smoothness: float, convexity: float) -> None:
    """Refuses an L and a μ that are none."""
    if not 0 < convexity <= smoothness:
        raise ConfigError(
            f"0 < convexity <= smoothness must hold, got {convexity} and {smoothness}",
            hint="leave them out for those of the costs",
        )


def require_times(mixings: int) -> None:
    """Refuses a number of mixings below 0, which stands for as many as are proposed."""
    if mixings < 0:
        raise ConfigError(f"mixings must be 0 or more, got {mixings}", hint="--set mixings=3")
