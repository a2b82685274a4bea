"""Samples that no node has: what a trained x is tested on.

A share of each class, drawn from the seed, is held out; the nodes share out the others, whatever
the partition is. So `test=0.2` leaves every fifth sample of each class for the test, and the costs
are then the mean loss of the other four. With `test=0` nothing is drawn and all samples are shared.
"""

from __future__ import annotations

import numpy as np

from p2pdo.data.partition import partition
from p2pdo.errors import ConfigError
from p2pdo.problems.checks import nonnegative
from p2pdo.types import Array

TEST_STREAM = 12
"""Keeps these draws apart from those of partitions and of synthetic data."""


def split(labels: Array, test: float, seed: int) -> tuple[Array, Array]:
    """The numbers of the samples that are shared out, and of those held out, both in order.

    Raises:
        ConfigError: `test` is no share, or leaves some class without a sample to learn from.
    """
    share = share_of("test", test)
    is_test = np.zeros(len(labels), bool)
    if share:
        rng = np.random.default_rng([seed, TEST_STREAM])
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            held = round(share * len(members))
            if held == len(members):
                raise ConfigError(
                    f"test={test:g} holds out all samples of the class {label:g}", hint="test=0.2"
                )
            is_test[members[:held]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def own_rows(  # noqa: PLR0917 - what every factory of real data is asked
    labels: Array, node_index: int, nodes: int, how: str, seed: int, test: float
) -> tuple[Array, int]:
    """This node's samples, and how many all nodes have."""
    shared, _ = split(labels, test, seed)
    own = partition(labels[shared], len(shared), nodes, how, seed)[node_index]
    return shared[own], len(shared)


def share_of(name: str, value: object) -> float:
    """`value` as a share: at least zero, and less than one."""
    share = nonnegative(name, value)
    if share >= 1:
        raise ConfigError(f"{name} must lie in [0, 1), got {share:g}", hint=f"{name}=0.2")
    return share
