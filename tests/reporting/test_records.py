"""What was told as plain data can be told back."""

from __future__ import annotations

import pytest

from p2pdo.errors import ConfigError
from p2pdo.reporting.records import Metric

METRIC = Metric(3, 0.5, 1e-3, None, 2.0, 10, 2)


def test_a_metric_survives_plain_data() -> None:
    assert Metric.from_plain(METRIC.to_plain()) == METRIC


def test_a_field_of_a_newer_version_is_left_alone() -> None:
    assert Metric.from_plain(METRIC.to_plain() | {"colour": "red"}) == METRIC


def test_a_missing_field_is_named() -> None:
    plain = METRIC.to_plain()
    del plain["gap"]
    with pytest.raises(ConfigError, match="a metric lacks gap"):
        Metric.from_plain(plain)
