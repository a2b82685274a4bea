"""Mini-batches: which rows, and that it is a function of (seed, node, iteration)."""

import numpy as np
import pytest

from p2pdo.effects import Here
from p2pdo.errors import ConfigError
from p2pdo.problems.batches import checked_size, draw


def here(iteration: int = 0, node: int = 0, seed: int = 0) -> Here:
    return Here(iteration, node, (), (), seed)


def test_a_draw_has_no_row_twice_and_is_the_same_when_asked_again() -> None:
    for k in range(50):
        drawn, again = draw(here(k), 10, 6), draw(here(k), 10, 6)
        assert len(set(drawn.rows.tolist())) == 6
        assert drawn.rows.tolist() == again.rows.tolist()
        assert drawn.seed == again.seed


def test_every_row_comes_equally_often() -> None:
    counts = np.bincount(np.concatenate([draw(here(k), 8, 2).rows for k in range(2000)]))
    assert len(counts) == 8
    assert np.abs(counts / 500 - 1).max() < 0.2


def test_all_rows_come_in_order() -> None:
    assert draw(here(3), 5, 5).rows.tolist() == [0, 1, 2, 3, 4]


def test_iterations_nodes_and_seeds_draw_apart() -> None:
    places = [here(1), here(2), here(1, node=1), here(1, seed=1), here(0)]
    assert len({draw(place, 1000, 4).rows.tobytes() for place in places}) == len(places)


def test_a_mini_batch_is_not_larger_than_the_data() -> None:
    assert checked_size(None, 7) == 7
    with pytest.raises(ConfigError, match="batch_size is 8, but this node has 7 samples"):
        checked_size(8, 7)
