"""Node ADMM with the graph's Laplacian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import ConsensusAdmm, Dinno, Dlm
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, RHO, K = 0.1, 0.4, 3


def consensus_admm(net: Dense) -> Iterator[Array]:
    X, P = net.X, np.zeros_like(net.X)
    while True:
        yield X
        if net.n == 1:
            X = net.prox(X, np.array([RHO]))
            continue
        P = P + RHO * net.laplacian @ X
        middle = (net.degrees * X + net.hears @ X) / 2  # Σⱼ (xᵢ + xⱼ)/2
        X = net.prox((2 * RHO * middle - P) / (2 * RHO * net.degrees), 2 * RHO * net.degrees)


def dlm(net: Dense) -> Iterator[Array]:
    X, P = net.X, np.zeros_like(net.X)
    step = 1 / (2 * RHO * net.degrees + 1 / A)
    while True:
        yield X
        X = X - step * (net.gradient(X) + RHO * net.laplacian @ X + P)
        P = P + RHO * net.laplacian @ X


def dinno(net: Dense) -> Iterator[Array]:
    X, P = net.X, np.zeros_like(net.X)
    step = 1 / (2 * RHO * net.degrees + 1 / A)
    while True:
        yield X
        P = P + RHO * net.laplacian @ X
        middle = (net.degrees * X + net.hears @ X) / 2
        for _ in range(K):
            X = X - step * (net.gradient(X) + P + 2 * RHO * (net.degrees * X - middle))


def mean_dual(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.p for s in states], axis=0))


CASES = [
    Case(ConsensusAdmm(RHO), consensus_admm, mean_dual),
    Case(Dlm(A, RHO), dlm, mean_dual),
    Case(Dinno(A, RHO, K), dinno, mean_dual),
]
