"""Trackers that adapt before they combine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import AtcTracking, AugDgm
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.05


def atc_tracking(net: Dense) -> Iterator[Array]:
    X, Y = net.X, net.gradient(net.X)
    while True:
        yield X
        X_new = net.W @ (X - A * Y)
        Y = net.W @ Y + net.gradient(X_new) - net.gradient(X)
        X = X_new


def aug_dgm(net: Dense) -> Iterator[Array]:
    X, Y = net.X, net.gradient(net.X)
    while True:
        yield X
        X_new = net.W @ (X - A * Y)
        Y = net.W @ (Y + net.gradient(X_new) - net.gradient(X))
        X = X_new


def mean_tracker_is_mean_gradient(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y - s.g for s in states], axis=0))


CASES = [
    Case(AtcTracking(A), atc_tracking, mean_tracker_is_mean_gradient),
    Case(AugDgm(A), aug_dgm, mean_tracker_is_mean_gradient),
]
