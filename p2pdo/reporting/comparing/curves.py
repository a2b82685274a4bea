"""Lines with bands: what several trials of one method did, against iterations or a price.

Trials are observed at points of their own: one stops earlier, and seconds are never the same twice.
So each is a line through its observations, straight on a logarithmic axis, held where it ended.
The lines are looked at on one common grid, which goes to where half of the trials have ended:
beyond, most of what could be shown is held.

A figure of zero or below has no logarithm: it is rounding around the optimum, and left out. What
has one point only, as a method without gradients against gradients, is no line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.reporting.comparing.figures import at
from p2pdo.reporting.comparing.trials import Group, Trial
from p2pdo.reporting.records import Metric

Floats: TypeAlias = npt.NDArray[np.float64]

QUANTITIES: Mapping[str, Callable[[Metric], float | None]] = {
    "gap": lambda m: m.gap,
    "consensus-error": lambda m: m.consensus_error,
    "value": lambda m: m.value,
    "accuracy": lambda m: m.accuracy,
    "test-accuracy": lambda m: m.test_accuracy,
}
SHARES = frozenset({"accuracy", "test-accuracy"})
LINEAR = SHARES | {"value"}
LINES = ("median", "mean")
BANDS = ("min-max", "std", "none")
_POINTS = 200


@dataclass(frozen=True, eq=False)
class Band:
    """One method: x and y of shape (K,), and the edges of its band."""

    label: str
    x: Floats
    y: Floats
    low: Floats
    high: Floats


def band_of(
    group: Group, quantity: str, against: str, line: str = "median", band: str = "min-max"
) -> Band | None:
    """Of the good trials; None where none is a line.

    Of a logarithmic quantity mean and standard deviation are of its logarithm.
    """
    is_log = quantity not in LINEAR
    lines = [_line(trial, quantity, against) for trial in group.good]
    seen = [(x, y) for x, y in lines if len(x) > 1]
    if not seen:
        return None
    end = float(np.median([x[-1] for x, _ in seen]))
    begin = max(float(x[0]) for x, _ in seen)
    knots = np.unique(np.concatenate([x for x, _ in seen]))
    grid = knots[(knots >= begin) & (knots <= end)]
    if len(grid) > _POINTS or not len(grid):
        grid = np.linspace(min(begin, end), end, _POINTS)
    held = np.array([np.interp(grid, x, np.log10(y) if is_log else y) for x, y in seen])
    middle = np.median(held, axis=0) if line == "median" else held.mean(axis=0)
    low, high = _edges(held, middle, band)
    if is_log:
        middle, low, high = (10.0**edge for edge in (middle, low, high))
    return Band(group.label, grid, middle, low, high)


def _edges(lines: Floats, middle: Floats, band: str) -> tuple[Floats, Floats]:
    if band == "none" or len(lines) == 1:
        return middle, middle
    if band == "std":
        std = lines.std(axis=0, ddof=1)
        return middle - std, middle + std
    return lines.min(axis=0), lines.max(axis=0)


def _line(trial: Trial, quantity: str, against: str) -> tuple[Floats, Floats]:
    """What was observed and can be shown: x, increasing, and y."""
    read = QUANTITIES[quantity]
    xs: list[float] = []
    ys: list[float] = []
    for metric in trial.metrics:
        x, y = at(metric, against), read(metric)
        if x is None or y is None or (y <= 0 and quantity not in LINEAR):
            continue
        if not xs or x > xs[-1]:
            xs.append(x)
            ys.append(y)
    return np.array(xs, np.float64), np.array(ys, np.float64)


def check_choice(what: str, chosen: str, known: Sequence[str]) -> str:
    """Refuses what is none of the known ones.

    Raises:
        ConfigError: with those that are known.
    """
    if chosen not in known:
        raise ConfigError(f"there is no {what} '{chosen}'", hint=did_you_mean(chosen, list(known)))
    return chosen
