"""PG-EXTRA and NIDS with a proximal map, as the papers print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import PgExtra, ProxNids
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.05


def pulled(net: Dense, Z: Array) -> Array:
    return net.prox(Z, np.full(net.n, 1 / A))


def pg_extra(net: Dense) -> Iterator[Array]:
    lazy = (np.eye(net.n) + net.W) / 2
    old, Z = net.X, net.W @ net.X - A * net.gradient(net.X)
    X = pulled(net, Z)
    yield old
    while True:
        yield X
        Z = net.W @ X + Z - lazy @ old - A * (net.gradient(X) - net.gradient(old))
        old, X = X, pulled(net, Z)


def prox_nids(net: Dense) -> Iterator[Array]:
    lazy = (np.eye(net.n) + net.W) / 2
    old, Z = net.X, net.X - A * net.gradient(net.X)
    X = pulled(net, Z)
    yield old
    while True:
        yield X
        inner = 2 * X - old - A * net.gradient(X) + A * net.gradient(old)
        Z = Z - X + lazy @ inner
        old, X = X, pulled(net, Z)


def mean_correction(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.c for s in states], axis=0))


def mean_correction_and_rest(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.c + s.u for s in states], axis=0))


CASES = [
    Case(PgExtra(A), pg_extra, mean_correction),
    Case(ProxNids(A), prox_nids, mean_correction_and_rest),
]
