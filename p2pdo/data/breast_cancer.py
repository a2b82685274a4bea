"""The breast-cancer data of scikit-learn as a logistic regression.

569 samples of 30 features, standardised with the whole data set's mean and population standard
deviation, and a column of ones: d = 31. Labels are +1 (benign) and −1 (malignant). With λ = `l2`
and m = 569 the nodes' costs add up, for every number of nodes and every partition, to

    F(x) = (1/m) Σₖ log(1 + exp(−bₖ aₖᵀx)) + (λ/2) ‖x‖²        F* = 0.1004463037812… for λ = 0.01
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from p2pdo.data.held_out import own_rows, split
from p2pdo.errors import MissingExtra
from p2pdo.problems.hinge import Hinge
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.private import PrivateLogistic, fresh_secret
from p2pdo.types import Array


def breast_cancer(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    test: float = 0.0,
) -> Logistic:
    """This node's part of the data; the penalty is shared out evenly."""
    features, labels = load()
    rows, m = own_rows(labels, node_index, nodes, partition, seed, test)
    own_features, own_labels = features[rows].astype(dtype), labels[rows].astype(dtype)
    return Logistic(own_features, own_labels, samples=m, l2=l2 / nodes)


def breast_cancer_svm(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    test: float = 0.0,
) -> Hinge:
    """This node's part of the data, with the loss of a support vector machine."""
    public = breast_cancer(node_index, nodes, partition, seed, dtype, l2=l2, test=test)
    return Hinge(public.A, public.b, public.samples, public.l2)


def breast_cancer_private(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    l2: float = 0.01,
    test: float = 0.0,
) -> PrivateLogistic:
    """This node's part of the data, with a secret that is drawn anew in every call."""
    public = breast_cancer(node_index, nodes, partition, seed, dtype, l2=l2, test=test)
    return PrivateLogistic(public.A, public.b, public.samples, public.l2, secret=fresh_secret())


def held_out(seed: int, *, test: float, **_others: float) -> Logistic:
    """The samples that no node has, as a cost; there are some."""
    features, labels = load()
    _, rows = split(labels, test, seed)
    return Logistic(features[rows], labels[rows], samples=len(rows), l2=0.0)


@lru_cache(maxsize=1)
def load() -> tuple[Array, Array]:
    """Features (569, 31) and labels (569,) of the whole data set, in float64 and read-only.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise MissingExtra("the breast-cancer data", "scikit-learn", "data") from None
    raw, target = load_breast_cancer(return_X_y=True)
    standardised = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    features = np.hstack([standardised, np.ones((len(target), 1))])
    labels = 2.0 * target - 1.0
    for array in (features, labels):
        array.flags.writeable = False  # every later call is given these very arrays
    return features, labels
