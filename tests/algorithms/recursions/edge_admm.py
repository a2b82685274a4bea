"""Edge variables as one array Z of shape (n, n, …): Z[i, j] is what i keeps for j."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from p2pdo.algorithms import AdmmTracking, EdgeAdmm, LtAdmm, LtAdmmVr
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

RHO, RELAX, A, GAMMA, BETA, K, BATCH = 0.7, 0.6, 0.05, 0.2, 0.15, 3, 2


def edges(net: Dense) -> Array:
    return net.hears[:, :, None]


def reflected(net: Dense, X: Array, Z: Array, relax: float = RELAX, rho: float = RHO) -> Array:
    """Both ends' next variables: what j reflects at its X goes to i."""
    M = (2 * rho * X[:, None] - Z) * edges(net)
    return np.asarray((1 - relax) * Z + relax * M.swapaxes(0, 1))


def edge_admm(net: Dense) -> Iterator[Array]:
    X, Z = net.X, RHO * net.X[:, None] * edges(net)
    while True:
        yield X
        if net.n == 1:
            X = net.prox(X, np.array([RHO]))
            continue
        X = net.prox(Z.sum(axis=1) / (RHO * net.degrees), RHO * net.degrees)
        Z = reflected(net, X, Z)


def tracking(net: Dense) -> Iterator[Array]:
    X = net.X
    Zx, Zs = np.zeros((2, net.n, *net.X.shape))
    while True:
        yield X
        Y = (X + Zx.sum(axis=1)) / (1 + RHO * net.degrees)
        S = (net.gradient(X) + Zs.sum(axis=1)) / (1 + RHO * net.degrees)
        X = (1 - GAMMA) * X + GAMMA * (Y - A * S)
        Zx, Zs = reflected(net, Y, Zx), reflected(net, S, Zs)


def lt_admm(net: Dense) -> Iterator[Array]:
    X, Z = net.X, RHO * net.X[:, None] * edges(net)
    while True:
        yield X
        pull = BETA * (RHO * net.degrees * X - Z.sum(axis=1))
        for _ in range(K):
            X = X - A * net.gradient(X) - pull
        Z = reflected(net, X, Z)


def lt_admm_vr(net: Dense) -> Iterator[Array]:
    X, Z, k = net.X, RHO * net.X[:, None] * edges(net), 0
    while True:
        yield X
        pull = BETA * (RHO * net.degrees * X - Z.sum(axis=1))
        X = np.stack([local(net, i, k, X[i], pull[i]) for i in range(net.n)])
        Z, k = reflected(net, X, Z), k + 1


def local(net: Dense, i: int, k: int, x: Array, pull: Array) -> Array:
    m, dice = net.costs[i].terms, net.dice(i, k)
    seen_at = [x] * m  # where each term's gradient was last taken
    for _ in range(K):
        rows = dice.integers(m, size=BATCH)
        known = np.stack(
            [net.term_gradients(i, at, np.array([j]))[0] for j, at in enumerate(seen_at)]
        )
        estimate = (net.term_gradients(i, x, rows) - known[rows]).mean(axis=0) + known.mean(axis=0)
        for j in rows:
            seen_at[j] = x
        x = x - A * estimate - pull
    return x


CASES = [
    Case(EdgeAdmm(RHO, RELAX), edge_admm),
    Case(AdmmTracking(A, GAMMA, RHO, RELAX), tracking),
    Case(LtAdmm(A, K, BETA, RHO, RELAX), lt_admm),
    Case(LtAdmmVr(A, K, BATCH, BETA, RHO, RELAX), lt_admm_vr, within=1e-6),
]
