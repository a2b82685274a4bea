"""Whether a run has diverged: asked of one that came to its end with numbers that are finite.

A run whose values are not finite any more fails at once. One that ends before that, after fewer
iterations than it takes to overflow, has a gap far above that of its start that goes on growing; or
states whose cost has overflowed, so that it has no gap at all.

A method with a bias, or a start at the optimum, ends above its start as well, but has stopped
growing there. A gap at the start that is within rounding of zero says nothing of either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from p2pdo.reporting.formats import small
from p2pdo.reporting.records import Metric

GROWN = 10.0
"""The gap at the end, over that of the start, beyond which a run may have diverged."""

GROWING = 2.0
"""The gap at the end, over that half way, beyond which it has."""

ROUNDING = 1e-9
"""Of the cost: a gap that may be nothing but rounding."""


def divergence(metrics: Sequence[Metric]) -> str | None:
    """How a run that has ended diverged, in words; None where it did not, or nobody can tell."""
    if not metrics:
        return None
    values = [_finite(metric.value) for metric in metrics]
    if values[0] is not None and values[-1] is None:
        return "its cost is no finite number any more"
    gaps = [_finite(metric.gap) for metric in metrics]
    start, half, end = gaps[0], gaps[(len(gaps) - 1) // 2], gaps[-1]
    if start is None or end is None or start <= ROUNDING * abs(values[0] or 0.0):
        return None
    if end > GROWN * start and end > GROWING * (start if half is None else half):
        return f"the gap grew from {small(start)} to {small(end)}"
    return None


def _finite(x: float | None) -> float | None:
    """Of a metric as it was told, or as it was written: there what is not finite is null."""
    return x if x is not None and math.isfinite(x) else None
