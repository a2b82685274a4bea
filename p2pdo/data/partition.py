"""Who gets which samples.

A partition gives every sample to exactly one node, in blocks whose sizes differ by one at most:

    iid           the samples in an order drawn from the seed, cut into N blocks
    label-skew    the samples sorted by label (equal labels in their first order), cut into N
                  blocks: most nodes see one label only, the hardest case; needs no seed
"""

from __future__ import annotations

import numpy as np

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.problems.checks import whole_number
from p2pdo.types import Array

PARTITIONS = ("iid", "label-skew")


def partition(labels: Array | None, samples: int, nodes: int, how: str, seed: int) -> list[Array]:
    """The sample numbers of each node.

    Raises:
        ConfigError: an unknown partition, one that needs labels where there are none, or more
            nodes than samples.
    """
    check_partition(how)
    whole_number("nodes", nodes)
    if nodes > samples:
        raise ConfigError(
            f"cannot give {samples} samples to {nodes} nodes: some would have none",
            hint=f"use at most {samples} nodes",
        )
    if how == "iid":
        order = np.random.default_rng(whole_number("seed", seed, least=0)).permutation(samples)
    elif labels is None:
        raise no_labels("these data")
    else:
        order = np.argsort(labels, kind="stable")
    return np.array_split(order, nodes)


def by_class(labels: Array, nodes: int) -> list[Array]:
    """The sample numbers of each node, where each class is one node's alone.

    The classes in order are cut into `nodes` groups as `np.array_split` does; the blocks are as
    large as their classes are.

    Raises:
        ConfigError: more nodes than classes.
    """
    classes = np.unique(labels)
    if nodes > len(classes):
        raise ConfigError(
            f"cannot give {len(classes)} classes to {nodes} nodes: some would have none",
            hint=f"use at most {len(classes)} nodes, or the partition 'label-skew'",
        )
    return [np.flatnonzero(np.isin(labels, group)) for group in np.array_split(classes, nodes)]


def check_partition(how: str) -> None:
    if how not in PARTITIONS:
        raise ConfigError(f"unknown partition '{how}'", hint=did_you_mean(how, list(PARTITIONS)))


def no_labels(what: str) -> ConfigError:
    return ConfigError(
        f"{what} have no labels to skew", hint="use the partition 'iid', which is the default"
    )
