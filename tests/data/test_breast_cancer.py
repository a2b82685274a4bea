import sys
from typing import Any

import numpy as np
import pytest

from p2pdo.data.breast_cancer import load
from p2pdo.data.catalogue import build, build_all
from p2pdo.data.partition import partition
from p2pdo.errors import MissingExtra
from p2pdo.problems import Logistic

pytest.importorskip("sklearn")

OPTIMUM = 0.1004463037812


@pytest.mark.parametrize(("nodes", "how"), [(1, "iid"), (8, "iid"), (8, "label-skew")])
def test_the_optimum_is_the_known_figure_however_the_samples_are_dealt(
    nodes: int, how: str
) -> None:
    problems: Any = build_all("breast-cancer", nodes, how)
    x = Logistic.minimiser(problems)
    assert sum(p.value(x) for p in problems) == pytest.approx(OPTIMUM, rel=1e-12)
    assert np.linalg.norm(sum(p.gradient(x) for p in problems)) < 1e-12


def test_the_parts_add_up_to_the_mean_loss_of_all_samples() -> None:
    features, labels = load()
    x = np.random.default_rng(0).standard_normal(31)
    expected = np.mean(np.logaddexp(0, -labels * (features @ x))) + 0.005 * (x @ x)
    total = sum(p.value(x) for p in build_all("breast-cancer", 8))
    assert total == pytest.approx(expected, rel=1e-14)


def test_features_are_standardised_and_followed_by_ones() -> None:
    features, labels = load()
    assert features.shape == (569, 31)
    np.testing.assert_allclose(features[:, :30].mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(features[:, :30].std(axis=0), 1, rtol=1e-13)
    assert (features[:, 30] == 1).all()
    assert (np.sum(labels == 1), np.sum(labels == -1)) == (357, 212)


def test_a_node_gets_the_rows_of_its_block() -> None:
    features, labels = load()
    rows = partition(labels, 569, 8, "iid", 3)[5]
    problem: Any = build("breast-cancer", 5, 8, "iid", 3, parameters={"l2": 0.8})
    np.testing.assert_array_equal(problem.A, features[rows])
    np.testing.assert_array_equal(problem.b, labels[rows])
    assert (problem.samples, problem.l2) == (569, 0.1)


def test_label_skew_leaves_most_nodes_with_one_label() -> None:
    problems: Any = build_all("breast-cancer", 8, "label-skew")
    assert [len(np.unique(p.b)) for p in problems].count(1) == 7


def test_float32_data_are_standardised_in_float64_first() -> None:
    wide: Any = build("breast-cancer", 0, 8)
    narrow: Any = build("breast-cancer", 0, 8, dtype="float32")
    np.testing.assert_array_equal(narrow.A, wide.A.astype(np.float32))


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    load.cache_clear()
    with pytest.raises(MissingExtra, match="breast-cancer data needs scikit-learn") as caught:
        build("breast-cancer", 0, 8)
    assert caught.value.hint == "pip install 'p2pdo[data]'"
