"""Delays: how long a frame is on its way from one node to another, without its own length.

20ms                    constant
exponential:20ms        of this mean
lognormal:20ms,0.5      of this median, and this standard deviation of the logarithm
Measured                a matrix of what was measured, see `measured`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from p2pdo.simulation.links.units import seconds


class Delay(Protocol):
    """Draws the delay, in seconds, of one frame from `sender` to `receiver`."""

    def draw(self, rng: np.random.Generator, sender: int, receiver: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Constant:
    seconds: float

    def draw(self, _rng: np.random.Generator, _sender: int, _receiver: int) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Exponential:
    mean: float

    def draw(self, rng: np.random.Generator, _sender: int, _receiver: int) -> float:
        return float(rng.exponential(self.mean))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """What round trips in wide area networks look like: a long tail above the median."""

    median: float
    sigma: float

    def draw(self, rng: np.random.Generator, _sender: int, _receiver: int) -> float:
        return self.median * float(np.exp(self.sigma * rng.standard_normal()))


def read_delay(written: object) -> Delay:
    """The delay of that form.

    Raises:
        ValueError: it is of none.
    """
    kind, colon, rest = str(written).partition(":")
    if not colon:
        return Constant(seconds(written))
    if kind == "exponential":
        return Exponential(seconds(rest))
    if kind == "lognormal":
        median, sigma = read_spread(rest)
        return LogNormal(median, sigma)
    raise ValueError(f"'{kind}' is no kind of delay; there are exponential:T and lognormal:T,S")


def read_spread(written: str) -> tuple[float, float]:
    """The median and the standard deviation of the logarithm in "20ms,0.5".

    Raises:
        ValueError: there are no such two.
    """
    median, comma, sigma = written.partition(",")
    if not comma:
        raise ValueError(f"'{written}' lacks how far it spreads, as in lognormal:20ms,0.5")
    try:
        spread = float(sigma)
    except ValueError:
        raise ValueError(f"'{sigma}' is no standard deviation, as 0.5") from None
    if not 0 <= spread < 10:  # noqa: PLR2004 - beyond it a delay is nothing or a year
        raise ValueError(f"the standard deviation of a logarithm is between 0 and 10, got {sigma}")
    return seconds(median), spread
