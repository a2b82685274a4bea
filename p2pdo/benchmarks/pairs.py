"""What one thing costs another, by pairs of short windows side by side.

Something is switched on and off in windows that follow each other, in random order within a pair.
A machine that is slower for a while is slower for both windows of a pair, so the pair's ratio does
not hear of it; what disturbs one of the two makes the ratio larger as often as smaller, so their
median does not hear of that. What is left is told by an interval: of medians of as many ratios,
drawn again and again from those that were measured (the percentile bootstrap of Efron 1979).

A claim names the bounds of a ratio. It holds where the interval lies inside of them, and does not
where the interval lies outside; in between, the measurement does not tell, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from p2pdo.types import Plain

_RESAMPLES = 10_000


class Verdict(StrEnum):
    """What a measurement says of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Paired:
    """The ratios of many pairs: their median, and the interval in which it lies.

    Attributes:
        low, high: the ends of the interval, by default of 95 % confidence.
        pairs: how many ratios there are.
    """

    median: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(
        cls, ratios: Sequence[float], rng: np.random.Generator, confidence: float = 0.95
    ) -> Self:
        """At least one ratio, all of them finite."""
        values = np.asarray(ratios, dtype=float)
        drawn = rng.integers(len(values), size=(_RESAMPLES, len(values)))
        medians = np.median(values[drawn], axis=1)
        low, high = np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2])
        return cls(float(np.median(values)), float(low), float(high), len(values))

    def verdict(self, least: float, most: float) -> Verdict:
        """Whether the ratio is from `least` to `most`."""
        if least <= self.low and self.high <= most:
            return Verdict.HOLDS
        if self.high < least or most < self.low:
            return Verdict.FAILS
        return Verdict.NOT_SHOWN

    def in_words(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_plain(self) -> dict[str, Plain]:
        return {"median": self.median, "low": self.low, "high": self.high, "pairs": self.pairs}
