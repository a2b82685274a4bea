"""Several runs of one measurement."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from p2pdo.types import Plain


@dataclass(frozen=True)
class Spread:
    """Their median, and the runs in the order in which they were measured."""

    runs: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self | None:
        """None where a run could not tell, or there is none."""
        runs = list(values)
        known = tuple(value for value in runs if value is not None)
        return cls(known) if known and len(known) == len(runs) else None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def to_plain(self) -> dict[str, Plain]:
        return {
            "median": self.median,
            "min": min(self.runs),
            "max": max(self.runs),
            "runs": list(self.runs),
        }

    def in_words(self, write: Callable[[float], str] = lambda x: f"{x:.3g}") -> str:
        """As 713 (702-731), or as 713 where there is one run."""
        if len(self.runs) == 1:
            return write(self.median)
        return f"{write(self.median)} ({write(min(self.runs))}-{write(max(self.runs))})"


def plain(spread: Spread | None) -> Plain:
    return None if spread is None else spread.to_plain()


def figure(x: float) -> str:
    """Three significant digits without powers of ten: 0.0123, 4.56, 789, 12,345."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"  # noqa: PLR2004


def in_words(spread: Spread | None) -> str:
    return "-" if spread is None else spread.in_words(figure)
