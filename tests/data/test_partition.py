import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.data.partition import PARTITIONS, by_class, check_partition, partition
from p2pdo.errors import ConfigError


@settings(max_examples=60)
@given(
    samples=st.integers(1, 60),
    fraction=st.floats(0, 1),
    how=st.sampled_from(["iid", "label-skew"]),
    seed=st.integers(0, 2**64),
)
def test_every_sample_goes_to_exactly_one_node_and_the_blocks_are_even(
    samples: int, fraction: float, how: str, seed: int
) -> None:
    nodes = 1 + int(fraction * (samples - 1))
    labels = np.random.default_rng(seed).choice([-1.0, 1.0], samples)
    blocks = partition(labels, samples, nodes, how, seed)
    assert len(blocks) == nodes
    assert sorted(np.concatenate(blocks).tolist()) == list(range(samples))
    sizes = [len(block) for block in blocks]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_iid_cuts_the_permutation_of_the_seed() -> None:
    expected = np.array_split(np.random.default_rng(7).permutation(20), 3)
    for block, wanted in zip(partition(None, 20, 3, "iid", 7), expected, strict=True):
        assert block.tolist() == wanted.tolist()


def test_label_skew_cuts_the_samples_in_the_order_of_their_labels() -> None:
    labels = np.array([1, -1, 1, -1, -1, 1])
    blocks = partition(labels, 6, 2, "label-skew", 0)
    assert [block.tolist() for block in blocks] == [[1, 3, 4], [0, 2, 5]]


@pytest.mark.parametrize("seed", range(5))
def test_label_skew_leaves_a_node_few_classes_whatever_the_seed_is(seed: int) -> None:
    labels = np.repeat([0, 1, 2, 3], 6)[np.random.default_rng(0).permutation(24)]
    blocks = partition(labels, 24, 4, "label-skew", seed)
    assert [len(np.unique(labels[block])) for block in blocks] == [1] * 4
    uneven = partition(labels, 24, 3, "label-skew", seed)
    assert max(len(np.unique(labels[block])) for block in uneven) == 2


def test_another_seed_deals_classes_and_their_samples_in_another_order() -> None:
    labels = np.repeat(np.arange(10), 5)

    def dealt(seed: int) -> list[list[int]]:
        return [block.tolist() for block in partition(labels, 50, 5, "label-skew", seed)]

    assert dealt(1) == dealt(1)
    assert dealt(0) == np.arange(50).reshape(5, 10).tolist(), "seed 0: the data's own order"
    assert dealt(1) != dealt(2)
    classes = [[sorted({labels[i] for i in block}) for block in dealt(seed)] for seed in (0, 1)]
    assert classes[0] != classes[1]


def test_label_skew_of_a_regression_keeps_the_order_of_its_labels() -> None:
    labels = np.random.default_rng(3).standard_normal(60)
    for seed in (0, 4):
        blocks = partition(labels, 60, 6, "label-skew", seed)
        ends = [(labels[block].min(), labels[block].max()) for block in blocks]
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_a_seed_gives_one_partition_and_another_seed_another() -> None:
    def drawn(seed: int) -> list[int]:
        return [int(i) for i in np.concatenate(partition(None, 50, 4, "iid", seed))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("arguments", "said", "remedy"),
    [
        ((5, 6, "iid", 0), "5 samples to 6 nodes", "at most 5 nodes"),
        ((5, 0, "iid", 0), "nodes must be a whole number of at least 1, got 0", "nodes="),
        ((5, 2, "idd", 0), "unknown partition 'idd'", "did you mean 'iid'?"),
        ((5, 2, "label-skew", 0), "no labels", "'iid'"),
        ((5, 2, "iid", -1), "seed must be a whole number of at least 0, got -1", "seed="),
    ],
)
def test_what_cannot_be_cut_is_refused_with_a_remedy(
    arguments: tuple[int, int, str, int], said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        partition(None, *arguments)
    assert caught.value.hint is not None
    assert remedy in caught.value.hint


def test_by_class_every_class_is_one_nodes_alone() -> None:
    labels = np.array([2, 0, 1, 2, 3, 0, 4])
    blocks = by_class(labels, 3)
    assert [sorted(set(labels[block].tolist())) for block in blocks] == [[0, 1], [2, 3], [4]]
    assert sorted(np.concatenate(blocks).tolist()) == list(range(7))


def test_more_nodes_than_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot give 2 classes to 3 nodes") as caught:
        by_class(np.array([0, 1, 1, 0]), 3)
    assert "label-skew" in str(caught.value.hint)


@settings(max_examples=60)
@given(
    samples=st.integers(1, 60),
    fraction=st.floats(0, 1),
    how=st.sampled_from([*PARTITIONS, "dirichlet:0.01", "by-size:3", "shards:1"]),
    seed=st.integers(0, 2**32),
)
def test_every_partition_gives_each_sample_to_one_node_and_each_node_one(
    samples: int, fraction: float, how: str, seed: int
) -> None:
    nodes = 1 + int(fraction * (samples - 1))
    if how == "shards" and 2 * nodes > samples:
        nodes = max(1, samples // 2)
        how = "shards" if 2 * nodes <= samples else "shards:1"
    labels = np.random.default_rng(seed).choice([0.0, 1.0, 2.0], samples)
    blocks = partition(labels, samples, nodes, how, seed)
    assert len(blocks) == nodes
    assert min(map(len, blocks)) >= 1
    assert sorted(np.concatenate(blocks).tolist()) == list(range(samples))
    again = partition(labels, samples, nodes, how, seed)
    assert all(np.array_equal(a, b) for a, b in zip(blocks, again, strict=True))


def test_sizes_fall_as_asked() -> None:
    sizes = [len(block) for block in partition(None, 1104, 4, "by-size:2", 0)]
    shares = 1 / np.arange(1, 5) ** 2
    assert sizes == pytest.approx(1 + 1100 * shares / shares.sum(), abs=1)


def test_dirichlet_is_even_for_a_large_parameter_and_one_class_a_node_for_a_small_one() -> None:
    labels = np.repeat(np.arange(5.0), 200)

    def most_of_one_class(how: str) -> list[float]:
        blocks = partition(labels, 1000, 5, how, 1)
        counts = [np.bincount(labels[block].astype(int), minlength=5) for block in blocks]
        held = np.array(counts) / 200
        return held.max(axis=0).tolist()

    assert max(most_of_one_class("dirichlet:1e5")) < 0.25
    assert min(most_of_one_class("dirichlet:0.001")) > 0.9


def test_real_numbers_are_shared_out_by_their_deciles() -> None:
    labels = np.random.default_rng(0).standard_normal(1000)
    blocks = partition(labels, 1000, 4, "dirichlet:0.01", 0)
    ranks = np.argsort(np.argsort(labels)) // 100
    owner = np.zeros(1000, int)
    for node, block in enumerate(blocks):
        owner[block] = node
    shares = [np.bincount(owner[ranks == decile]).max() / 100 for decile in range(10)]
    assert np.mean(shares) > 0.9


def test_a_node_is_dealt_its_shards_and_so_few_labels() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10.0), 20))
    for block in partition(labels, 200, 10, "shards:2", 3):
        assert len(block) == 20
        assert len(np.unique(labels[block])) <= 2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("iid:2", "takes no parameter"),
        ("dirichlet:0", "must be a positive number"),
        ("dirichlet:much", "must be a positive number"),
        ("by-size:inf", "must be a positive number"),
        ("shards:1.5", "must be a whole number"),
        ("dirichlett", "unknown partition 'dirichlett'"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(how: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_partition(how)


def test_more_shards_than_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="8 shards") as caught:
        partition(np.arange(7.0), 7, 4, "shards:2", 0)
    assert "shards:1" in str(caught.value.hint)
