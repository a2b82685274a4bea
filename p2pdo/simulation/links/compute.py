"""Compute: how long a node computes one iteration, in simulated seconds.

    5ms                   constant
    lognormal:5ms,0.3     of this median, and this standard deviation of the logarithm

What is computed takes no simulated time by itself: an iteration on this machine says little of one
at a site. `Slow` makes some nodes slower, always or now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pdo.simulation.links.delay import read_spread
from p2pdo.simulation.links.units import seconds


@dataclass(frozen=True, slots=True)
class Slow:
    """Stragglers.

    Attributes:
        nodes: who.
        factor: how many times as long an iteration takes there.
        chance: the share of iterations in which it does.
    """

    nodes: tuple[int, ...]
    factor: float
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class ComputeTime:
    """Of an iteration.

    Attributes:
        medians: of each node, in node order; one for all where there is one.
        sigma: standard deviation of the logarithm.
        slow: who takes longer.
    """

    medians: tuple[float, ...] = (0.0,)
    sigma: float = 0.0
    slow: Sequence[Slow] = ()

    def draw(self, rng: np.random.Generator, node: int) -> float:
        taken = self.medians[node] if len(self.medians) > 1 else self.medians[0]
        if self.sigma:
            taken *= float(np.exp(self.sigma * rng.standard_normal()))
        for slow in self.slow:
            if node in slow.nodes and (slow.chance >= 1 or rng.random() < slow.chance):
                taken *= slow.factor
        return taken


def read_compute(written: object) -> tuple[float, float]:
    """The median and the standard deviation of the logarithm.

    Raises:
        ValueError: it is of neither form.
    """
    kind, colon, rest = str(written).partition(":")
    if not colon:
        return seconds(written), 0.0
    if kind == "lognormal":
        return read_spread(rest)
    raise ValueError(f"'{kind}' is no kind of computing time; there is lognormal:T,S")
