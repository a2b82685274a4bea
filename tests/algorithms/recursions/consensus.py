"""Averages and extremes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from p2pdo.algorithms import Consensus, MaxConsensus, MinConsensus
from p2pdo.testing.laws import Case, Dense, Recursion
from p2pdo.types import Array


def consensus(net: Dense) -> Iterator[Array]:
    X = net.X
    while True:
        yield X
        X = net.W @ X


def extreme(of: Callable[..., Any]) -> Recursion:
    def recursion(net: Dense) -> Iterator[Array]:
        X, heard = net.X, (net.hears + np.eye(net.n)) > 0
        while True:
            yield X
            X = np.stack([of(X[row], axis=0) for row in heard])

    return recursion


CASES = [
    Case(Consensus(), consensus, rounds=600),
    Case(MaxConsensus(), extreme(np.max), rounds=10, within=0.0),
    Case(MinConsensus(), extreme(np.min), rounds=10, within=0.0),
]
