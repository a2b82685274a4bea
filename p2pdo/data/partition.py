"""Who gets which samples.

A partition gives every sample to exactly one node, and every node at least one:

    iid           the samples in an order drawn from the seed, cut into N blocks, even to one sample
    label-skew    the samples sorted by label, cut into N blocks: most nodes see one label only, the
                  hardest case. The seed draws the order of the classes, and that of the samples
                  in each; with seed 0 both are the data's own
    dirichlet:a   each class is shared out by shares drawn from Dir(a, …, a) (Hsu, Qi & Brown 2019):
                  the smaller a, the more skewed; a = 0.5 where it is not given
    shards:k      the samples sorted by label, cut into N·k blocks, of which each node is dealt k
                  (McMahan et al. 2017); k = 2 where it is not given
    by-size:s     iid, and the size of node i's block is as 1/(i + 1)ˢ; s = 1 where it is not given

The labels of a regression are real numbers; for `dirichlet` their deciles are the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.problems.checks import whole_number
from p2pdo.types import Array

EXAMPLES: Mapping[str, str | None] = {
    "iid": None,
    "label-skew": None,
    "dirichlet": "0.5",
    "shards": "2",
    "by-size": "1",
}
"""Every partition, and a parameter that may follow its name behind a colon."""

PARTITIONS = tuple(EXAMPLES)
MOST_CLASSES = 50
DECILES = 10


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
    name = how.partition(":")[0]
    if labels is None and name not in UNLABELLED:
        raise no_labels("these data")
    rng = np.random.default_rng(whole_number("seed", seed, least=0))
    match name:
        case "iid":
            return np.array_split(rng.permutation(samples), nodes)
        case "by-size":
            return _by_size(rng.permutation(samples), nodes, _parameter(how))
        case "dirichlet":
            assert labels is not None
            return _dirichlet(_classes(labels), nodes, _parameter(how), rng)
        case "shards":
            assert labels is not None
            return _shards(labels, nodes, int(_parameter(how)), rng)
        case _:
            assert labels is not None
            return np.array_split(_by_label(labels, rng if seed else None), nodes)


UNLABELLED = ("iid", "by-size")
"""Those that look at no label."""


def _by_label(labels: Array, rng: np.random.Generator | None) -> Array:
    """Sample numbers, those of a class together; labels of a regression keep their order."""
    if rng is None:
        return np.argsort(labels, kind="stable")
    order = rng.permutation(len(labels))
    found, numbers = np.unique(labels[order], return_inverse=True)
    ranks = rng.permutation(len(found)) if len(found) <= MOST_CLASSES else np.arange(len(found))
    return order[np.argsort(ranks[numbers], kind="stable")]


def _by_size(order: Array, nodes: int, s: float) -> list[Array]:
    """One sample each, and the others by shares."""
    shares = 1.0 / np.arange(1, nodes + 1) ** s
    ends = np.rint(np.cumsum(shares) / shares.sum() * (len(order) - nodes)).astype(np.int64)
    return np.split(order, (ends + np.arange(1, nodes + 1))[:-1])


def _dirichlet(classes: Array, nodes: int, a: float, rng: np.random.Generator) -> list[Array]:
    parts: list[list[Array]] = [[] for _ in range(nodes)]
    for label in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == label))
        ends = np.rint(np.cumsum(rng.dirichlet(np.full(nodes, a))) * len(members))
        for node, part in enumerate(np.split(members, ends[:-1].astype(np.int64))):
            parts[node].append(part)
    blocks = [np.concatenate(part) for part in parts]
    for node in range(nodes):
        if not len(blocks[node]):  # whoever has most gives one
            richest = max(range(nodes), key=lambda i: len(blocks[i]))
            blocks[node], blocks[richest] = blocks[richest][-1:], blocks[richest][:-1]
    return blocks


def _shards(labels: Array, nodes: int, k: int, rng: np.random.Generator) -> list[Array]:
    if nodes * k > len(labels):
        raise ConfigError(
            f"cannot cut {len(labels)} samples into {nodes * k} shards",
            hint=f"shards:{max(1, len(labels) // nodes)} or fewer nodes",
        )
    shards = np.array_split(np.argsort(labels, kind="stable"), nodes * k)
    dealt = rng.permutation(nodes * k).reshape(nodes, k)
    return [np.concatenate([shards[shard] for shard in hand]) for hand in dealt]


def _classes(labels: Array) -> Array:
    """The labels where they are classes, else the decile of each."""
    if len(np.unique(labels)) <= MOST_CLASSES:
        return labels
    return np.digitize(labels, np.quantile(labels, np.arange(1, DECILES) / DECILES))


def _parameter(how: str) -> float:
    name, _, text = how.partition(":")
    return float(text or EXAMPLES[name] or 0)


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
    """Refuses what is no partition.

    Raises:
        ConfigError: the name is unknown, or its parameter is no positive number.
    """
    name, colon, text = how.partition(":")
    if name not in EXAMPLES:
        raise ConfigError(f"unknown partition '{name}'", hint=did_you_mean(name, list(PARTITIONS)))
    if not colon:
        return
    example = EXAMPLES[name]
    if example is None:
        raise ConfigError(f"partition '{name}' takes no parameter, got '{text}'", hint=name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0) or (name == "shards" and not value.is_integer()):
        kind = "whole number of at least 1" if name == "shards" else "positive number"
        raise ConfigError(
            f"the parameter of '{name}' must be a {kind}, got '{text}'", hint=f"{name}:{example}"
        )


def require_iid(partition: str) -> None:
    """Refuses to share out by labels what has none.

    Raises:
        ConfigError: it is another partition than "iid".
    """
    check_partition(partition)
    if partition != "iid":
        raise no_labels("synthetic data")


def no_labels(what: str) -> ConfigError:
    return ConfigError(
        f"{what} have no labels to skew", hint="use the partition 'iid', which is the default"
    )
