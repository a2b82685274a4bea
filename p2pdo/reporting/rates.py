"""The rate at which a run converged, from its observations.

A distance to the limit that shrinks by the factor ρ in an iteration is a straight line on a
logarithmic axis, and log ρ its slope. The consensus error is such a distance, and so is the root of
the gap, which is quadratic in it; the slower of the two lines tells.

The line begins late, where faster modes have died out, and ends where rounding begins: at a floor,
a part of the largest figure, or where what follows falls no further. It is fitted to the last half
of what the curve fell by until there. Slow modes that turn make it wavy; over few observations the
fit is rough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from p2pdo.reporting.records import Metric

FEWEST = 5
"""Observations that a line is fitted to."""

FLOOR = 1e-12
"""The part of its largest figure below which a distance may be rounding."""

FALL = 10.0
"""By how much a distance must have fallen to say that it falls."""

LOOKS = 400
"""Observations, evenly apart, of which it is asked whether the curve still falls."""


def observed_rate(metrics: Sequence[Metric]) -> float | None:
    """The factor per iteration; None where too little was observed to tell."""
    errors = [(m.iteration, m.consensus_error) for m in metrics]
    roots = [(m.iteration, _root(m.gap)) for m in metrics]
    floors = (FLOOR, math.sqrt(FLOOR))  # a gap is lost in the cost's rounding, its root sooner
    found = [_fitted(points, floor) for points, floor in zip((errors, roots), floors, strict=True)]
    known = [rate for rate in found if rate is not None]
    return max(known) if known else None


def _root(gap: float | None) -> float | None:
    return None if gap is None or not gap > 0 else math.sqrt(gap)


def _fitted(points: Sequence[tuple[int, float | None]], floor: float) -> float | None:
    seen = [(k, e) for k, e in points if e is not None and math.isfinite(e) and e > 0]
    if not seen:
        return None
    largest = max(e for _, e in seen)
    begin = next(i for i, (_, e) in enumerate(seen) if e == largest)
    falling = []
    for k, e in seen[begin:]:
        if e <= floor * largest:
            break
        falling.append((k, math.log(e)))
    falling = falling[: _fallen([e for _, e in falling])]
    if not falling or falling[0][1] - falling[-1][1] < math.log(FALL):
        return None
    middle = (falling[0][1] + falling[-1][1]) / 2
    late = [point for point in falling if point[1] <= middle]
    if len(late) < FEWEST:
        late = falling[-FEWEST:]
    if len(late) < FEWEST:
        return None
    slope = np.polyfit([k for k, _ in late], [e for _, e in late], 1)[0]
    return float(math.exp(slope))


def _fallen(logs: Sequence[float]) -> int:
    """How many observations it took until what followed was no longer half of what was there.

    What follows is the median of the latter half of the rest: waves and single figures that
    rounding happens to make small do not count.
    """
    stride = max(1, len(logs) // LOOKS)
    ends = range(0, len(logs) - FEWEST, stride)
    late = next((at for at in ends if not _falls(logs[at:])), None)
    if late is None:
        return len(logs)
    return next(at for at in range(max(0, late - stride), late + 1) if not _falls(logs[at:])) + 1


def _falls(rest: Sequence[float]) -> bool:
    return bool(np.median(rest[len(rest) // 2 :]) < rest[0] - math.log(2))
