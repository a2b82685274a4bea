"""Samples that no node has: which they are, and that no node has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from p2pdo.data.catalogue import HELD_OUT, PROBLEMS, build_all, held_out
from p2pdo.data.held_out import split
from p2pdo.errors import ConfigError

pytest.importorskip("sklearn")

NODES = 5


def rows_of(cost: Any) -> set[bytes]:
    return {row.tobytes() for row in np.column_stack([cost.A, cost.b])}


@pytest.mark.parametrize("how", ["iid", "label-skew", "dirichlet:0.3", "shards:2", "by-size"])
@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_nodes_and_test_have_every_sample_once(name: str, how: str) -> None:
    all_samples: Any = build_all(name, 1, seed=3)
    problems: Any = build_all(name, NODES, how, 3, parameters={"test": 0.2})
    test: Any = held_out(name, 3, {"test": 0.2})
    m = len(all_samples[0].b)
    parts = [*problems, test]
    assert sum(len(cost.b) for cost in parts) == m
    assert set.union(*map(rows_of, parts)) == rows_of(all_samples[0])
    assert len(test.b) == pytest.approx(0.2 * m, abs=len(np.unique(test.b)))
    assert {cost.samples for cost in problems} == {m - len(test.b)}, "the mean is of what is shared"


def test_each_class_is_held_out_in_its_share() -> None:
    labels = np.repeat([0.0, 1.0, 2.0], [100, 50, 10])
    shared, held = split(labels, 0.3, 7)
    assert [int(np.sum(labels[held] == c)) for c in range(3)] == [30, 15, 3]
    assert sorted([*shared, *held]) == list(range(160))
    again, other = split(labels, 0.3, 7)[1], split(labels, 0.3, 8)[1]
    np.testing.assert_array_equal(held, again)
    assert list(held) != list(other)


def test_without_a_share_nothing_is_held_out_and_nothing_changes() -> None:
    plain: Any = build_all("wine", NODES, "iid", 4)
    asked: Any = build_all("wine", NODES, "iid", 4, parameters={"test": 0.0})
    for one, other in zip(plain, asked, strict=True):
        np.testing.assert_array_equal(one.A, other.A)
    assert held_out("wine", 4, {"test": 0.0}) is None
    assert held_out("wine", 4, {}) is None


def test_what_has_no_classes_takes_no_share() -> None:
    for name in PROBLEMS.keys() - HELD_OUT.keys():
        with pytest.raises(ConfigError, match="no parameter 'test'"):
            held_out(name, 0, {"test": 0.2})


@pytest.mark.parametrize("test", [1.0, -0.1, float("nan"), "much"])
def test_no_share_is_refused(test: Any) -> None:
    with pytest.raises(ConfigError, match="test must"):
        held_out("wine", 0, {"test": test})


def test_a_class_without_a_sample_to_learn_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="all samples of the class 1") as caught:
        split(np.array([0.0] * 6 + [1.0]), 0.8, 0)
    assert caught.value.hint == "test=0.2"
