"""The observed rate: that of a line under waves, above rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest

from p2pdo.reporting.rates import observed_rate
from p2pdo.reporting.records import Metric


def metric(k: int, gap: float | None, error: float | None) -> Metric:
    return Metric(k, float(k), gap, error, None, 0, 0)


def test_a_line_has_its_slope() -> None:
    metrics = [metric(k, 0.9 ** (2 * k), 0.9**k) for k in range(0, 200, 5)]
    assert observed_rate(metrics) == pytest.approx(0.9, abs=1e-9)


def test_the_slower_of_gap_and_disagreement_tells() -> None:
    metrics = [metric(k, 0.97 ** (2 * k), 0.9**k) for k in range(0, 200, 5)]
    assert observed_rate(metrics) == pytest.approx(0.97, abs=1e-9)
    metrics = [metric(k, None, 0.9**k) for k in range(0, 200, 5)]
    assert observed_rate(metrics) == pytest.approx(0.9, abs=1e-9)


def test_fast_beginnings_waves_and_rounding_are_looked_past() -> None:
    errors = [0.5**k + 0.93**k * (1.1 + math.sin(k / 4)) + 1e-14 for k in range(0, 900, 3)]
    metrics = [metric(3 * i, None, e) for i, e in enumerate(errors)]
    assert observed_rate(metrics) == pytest.approx(0.93, abs=5e-3)


@pytest.mark.parametrize("rounding", [1e-15, 1e-9, 1e-5])
@pytest.mark.parametrize("observations", [80, 300, 5000])
def test_what_follows_long_after_it_has_converged_is_no_part_of_the_rate(
    rounding: float, observations: int
) -> None:
    rng = np.random.default_rng(3)
    noise = rounding * np.exp(rng.standard_normal(observations))
    errors = [max(0.8**k, one) for k, one in enumerate(noise)]
    metrics = [metric(k, None, e) for k, e in enumerate(errors)]
    assert observed_rate(metrics) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    "errors",
    [[], [1.0], [1.0] * 50, [1.1**k for k in range(50)], [float("nan")] * 9, [0.0] * 9, [1, 0.5]],
)
def test_what_does_not_fall_or_is_hardly_seen_has_none(errors: list[float]) -> None:
    assert observed_rate([metric(k, None, e) for k, e in enumerate(errors)]) is None
