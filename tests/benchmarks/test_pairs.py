"""What many pairs of windows say of a ratio."""

import numpy as np
import pytest

from p2pdo.benchmarks.pairs import Paired, Verdict


def paired(ratios: list[float] | np.ndarray, seed: int = 0) -> Paired:
    return Paired.of(list(ratios), np.random.default_rng(seed))


def test_the_interval_has_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    found = [paired(0.8 * rng.lognormal(0.0, 0.1, 40), seed) for seed in range(100)]
    covered = sum(one.low <= 0.8 <= one.high for one in found)
    assert 88 <= covered <= 99  # of 100; said are 95


def test_more_pairs_make_the_interval_narrower() -> None:
    rng = np.random.default_rng(3)
    few, many = (paired(rng.lognormal(0.0, 0.1, size)) for size in (40, 640))
    assert (few.pairs, many.pairs) == (40, 640)
    assert 0.1 < (many.high - many.low) / (few.high - few.low) < 0.5  # a quarter


def test_a_pair_that_was_disturbed_moves_the_median_little() -> None:
    rng = np.random.default_rng(5)
    ratios = [*rng.normal(1.0, 0.01, 40), 0.1, 9.0, 0.2]
    assert paired(ratios).verdict(0.95, 1.05) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.96, 1.04, Verdict.HOLDS),
        (0.95, 1.05, Verdict.HOLDS),
        (0.90, 1.02, Verdict.NOT_SHOWN),
        (0.90, 1.10, Verdict.NOT_SHOWN),
        (0.80, 0.94, Verdict.FAILS),
        (1.06, 1.20, Verdict.FAILS),
    ],
)
def test_a_claim_holds_only_where_the_whole_interval_is_inside(
    low: float, high: float, verdict: Verdict
) -> None:
    assert Paired((low + high) / 2, low, high, 40).verdict(0.95, 1.05) is verdict
