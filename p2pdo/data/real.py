"""Real data that come with scikit-learn, as costs whose sum is the mean loss of the whole data set.

    digits      1797 images of 8 by 8 pixels, 10 classes     softmax regression
    wine        178 wines of 13 measurements, 3 classes      softmax regression
    diabetes    442 patients, 10 measurements, progression   ridge regression, or Huber's loss

Measurements are standardised with the whole data set's mean and population standard deviation,
pixels are divided by 16, diabetes' target is standardised; a column of ones comes last. The penalty
is shared out evenly among the nodes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from p2pdo.data.held_out import own_rows, split
from p2pdo.errors import MissingExtra
from p2pdo.problems.regression import Huber, Ridge
from p2pdo.problems.softmax import Softmax
from p2pdo.types import Array

CLASSES = {"digits": 10, "wine": 3}


def digits(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    test: float = 0.0,
) -> Softmax:
    """This node's images; x holds 65 by 10 weights."""
    rows, b, m = _own("digits", node_index, nodes, partition, seed, dtype, test)
    return Softmax(rows, b, classes=CLASSES["digits"], samples=m, l2=l2 / nodes)


def wine(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    test: float = 0.0,
) -> Softmax:
    """This node's wines; x holds 14 by 3 weights."""
    rows, b, m = _own("wine", node_index, nodes, partition, seed, dtype, test)
    return Softmax(rows, b, classes=CLASSES["wine"], samples=m, l2=l2 / nodes)


def digits_held_out(seed: int, *, test: float, **_others: float) -> Softmax:
    """The images that no node has, as a cost; there are some."""
    return _held_out("digits", seed, test)


def wine_held_out(seed: int, *, test: float, **_others: float) -> Softmax:
    """The wines that no node has, as a cost; there are some."""
    return _held_out("wine", seed, test)


def _held_out(name: str, seed: int, test: float) -> Softmax:
    features, labels = load(name)
    _, rows = split(labels, test, seed)
    return Softmax(features[rows], labels[rows], classes=CLASSES[name], samples=len(rows), l2=0.0)


def diabetes(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
) -> Ridge:
    """This node's patients, with squared residuals."""
    rows, b, m = _own("diabetes", node_index, nodes, partition, seed, dtype)
    return Ridge(rows, b, samples=m, l2=l2 / nodes)


def diabetes_huber(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    delta: float = 1.0,
) -> Huber:
    """This node's patients, with residuals beyond delta counted linearly."""
    rows, b, m = _own("diabetes", node_index, nodes, partition, seed, dtype)
    return Huber(rows, b, samples=m, l2=l2 / nodes, delta=delta)


def _own(  # noqa: PLR0917 - a factory's arguments
    name: str,
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    test: float = 0.0,
) -> tuple[Array, Array, int]:
    """This node's rows and labels, and how many all nodes have."""
    features, labels = load(name)
    rows, m = own_rows(labels, node_index, nodes, partition, seed, test)
    return features[rows].astype(dtype), labels[rows].astype(dtype), m


@lru_cache(maxsize=3)
def load(name: str) -> tuple[Array, Array]:
    """Features (m, p) with the column of ones, and labels (m,), in float64 and read-only.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise MissingExtra(f"the {name} data", "scikit-learn", "data") from None
    raw, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    measured = raw / 16 if name == "digits" else _standardised(raw)
    features = np.hstack([measured, np.ones((len(target), 1))])
    labels = _standardised(target) if name == "diabetes" else target.astype(np.float64)
    for array in (features, labels):
        array.flags.writeable = False  # every later call is given these very arrays
    return features, labels


def _standardised(values: Array) -> Array:
    scaled: Array = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled
