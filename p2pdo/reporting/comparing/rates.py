"""The linear rate that was observed: ρ in  gap ≈ C ρᵏ, a line fitted to log gap over iterations.

It is fitted to the second half of what lies above rounding: the first is the transient. A method
that converges more slowly than linearly, or stops short of the optimum, has a rate close to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from p2pdo.reporting.records import Metric

ROUNDING = 1e-13
"""Of the largest gap; what is smaller is noise of F(x̄) − F*."""

_FEWEST = 3


def fitted_rate(metrics: Sequence[Metric]) -> float | None:
    """ρ per iteration; None where fewer than three observations can tell it."""
    points = _above_rounding(metrics)
    late = points[len(points) // 2 :]
    if len(late) < _FEWEST:
        return None
    iterations, logarithms = np.array(late).T
    slope = np.polyfit(iterations - iterations[0], logarithms, 1)[0]
    return math.exp(float(slope))


def _above_rounding(metrics: Sequence[Metric]) -> list[tuple[int, float]]:
    """Iteration and log gap, up to the first gap that is noise."""
    known = [(m.iteration, m.gap) for m in metrics if m.gap is not None]
    least = ROUNDING * max((gap for _, gap in known), default=0.0)
    points = []
    for iteration, gap in known:
        if not gap > least:
            break
        points.append((iteration, math.log(gap)))
    return points
