"""Averages, extremes, and averages in finite time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

from p2pdo.algorithms import Consensus, FiniteTime, LogicAnd, MaxConsensus, MinConsensus
from p2pdo.testing.laws import Case, Dense, Recursion
from p2pdo.types import Array

HOPS = 2


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


def logic_and(net: Dense) -> Iterator[Array]:
    yes, heard = net.X > 0, (net.hears + np.eye(net.n)) > 0
    while True:
        yield yes.astype(float)
        yes = np.stack([yes[row].all(axis=0) for row in heard])


def finite_time(net: Dense) -> Iterator[Array]:
    """Plain consensus up to the iteration from which the eigenvalues say that nodes may know."""
    values, vectors = np.linalg.eig(net.W.T)
    pi = vectors[:, np.abs(values - 1).argmin()].real
    limit = pi / pi.sum() @ net.X
    degrees = [degree_at(net.W, i) for i in range(net.n)]
    Z = net.X
    for k in count():
        yield np.stack([limit if k and k >= when(degrees[i]) else Z[i] for i in range(net.n)])
        Z = net.W @ Z


def degree_at(W: Array, i: int) -> int:
    """How many powers of W − I's rows are needed to see all that node i can: the degree of p."""
    seen, row = [], (W - np.eye(len(W)))[i]
    for _ in range(len(W)):
        seen.append(row)
        row = row @ W
    return int(np.linalg.matrix_rank(np.stack(seen), tol=1e-9))


def when(degree: int, entries: int = 4) -> int:
    """The first k whose k − degree shifts of `entries` rows overdetermine degree + 1 numbers."""
    return max(2 * HOPS, degree + -(-(degree + 2) // entries))


CASES = [
    Case(Consensus(), consensus, rounds=600),
    Case(FiniteTime(hops=HOPS), finite_time, rounds=30, within=1e-12),
    Case(LogicAnd(), logic_and, rounds=10, within=0.0),
    Case(MaxConsensus(), extreme(np.max), rounds=10, within=0.0),
    Case(MinConsensus(), extreme(np.min), rounds=10, within=0.0),
]
