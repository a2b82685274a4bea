"""Whether a run that came to its end has diverged."""

from __future__ import annotations

import math

import pytest

from p2pdo.reporting.diverging import divergence
from p2pdo.reporting.records import Metric


def told(*gaps: float | None, cost: float = 1.0) -> list[Metric]:
    return [
        Metric(10 * i, float(i), gap, 0.0, None if gap is None else cost + gap, 0, 0)
        for i, gap in enumerate(gaps)
    ]


@pytest.mark.parametrize("end", [None, math.inf, math.nan])
def test_a_cost_that_is_no_number_at_the_end_has_diverged(end: float | None) -> None:
    assert divergence(told(1.0, 5.0, end)) == "its cost is no finite number any more"


def test_a_gap_that_goes_on_growing_has_diverged() -> None:
    words = "the gap grew from 1.0e+00 to 1.0e+04"
    assert divergence(told(1.0, 10.0, 100.0, 1e3, 1e4)) == words
    assert divergence(told(1.0, 1e4)) == words, "the start and the end are enough"


def test_what_converges_or_ends_at_its_bias_has_not() -> None:
    assert divergence(told(1.0, 0.1, 1e-9)) is None
    assert divergence(told(1e-3, 0.5, 0.9, 1.0, 1.0)) is None, "begun near the optimum"
    assert divergence(told(1e-16, 1e-3)) is None, "begun at it: rounding says nothing"
    assert divergence(told(1.0, 50.0, 3.0)) is None, "it came back"


def test_what_was_not_seen_is_not_judged() -> None:
    assert divergence([]) is None
    blind = [Metric(i, 0.0, None, 1.0, None, 0, 0) for i in range(3)]
    assert divergence(blind) is None
    no_optimum = [Metric(i, 0.0, None, 1.0, 10.0**i, 0, 0) for i in range(3)]
    assert divergence(no_optimum) is None
