"""Local steps between exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import KGt, Led, ProxSkip
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, K, SERVER, P, CHI = 0.03, 3, 0.7, 0.4, 1.5


def k_gt(net: Dense) -> Iterator[Array]:
    X, C = net.X, np.zeros_like(net.X)
    while True:
        yield X
        V = X.copy()
        for _ in range(K):
            V = V - A * (net.gradient(V) + C)
        Z = (X - V) / (K * A)
        C = C - Z + net.W @ Z
        X = net.W @ (X - K * A * SERVER * Z)


def led(net: Dense) -> Iterator[Array]:
    lazy = (np.eye(net.n) + net.W) / 2
    X, Y = net.X, np.zeros_like(net.X)
    while True:
        yield X
        P_ = X
        for _ in range(K):
            P_ = P_ - A * net.gradient(P_) - Y / K
        X = lazy @ P_
        Y = Y + P_ - X


def proxskip(net: Dense) -> Iterator[Array]:
    Wa = np.eye(net.n) - (np.eye(net.n) - net.W) / (2 * CHI)
    X, Y, k = net.X, np.zeros_like(net.X), 0
    while True:
        yield X
        Z = X - A * net.gradient(X) - Y
        X = Z
        if net.coin(k).random() < P:
            X = Wa @ Z
            Y = Y + P * (Z - X)
        k += 1


def mean_pull(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y for s in states], axis=0))


CASES = [
    Case(KGt(A, K, SERVER), k_gt, mean_pull),
    Case(Led(A, K), led, mean_pull),
    Case(ProxSkip(A, P, CHI), proxskip, mean_pull),
]
