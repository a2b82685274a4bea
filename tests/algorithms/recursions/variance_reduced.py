"""Trackers of variance-reduced estimates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import GtSaga, GtSarah, GtVr
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, BATCH, PERIOD, REFRESH = 0.02, 2, 4, 0.3


def drawn(net: Dense, i: int, k: int) -> Array:
    return net.dice(i, k).integers(net.costs[i].terms, size=BATCH)


def gt_saga(net: Dense) -> Iterator[Array]:
    X, Y, V, k = net.X, np.zeros_like(net.X), np.zeros_like(net.X), 0
    seen_at = [[x] * cost.terms for x, cost in zip(X, net.costs, strict=True)]
    while True:
        yield X
        old, V = (
            V,
            np.stack([saga(net, i, X[i], seen_at[i], drawn(net, i, k)) for i in range(net.n)]),
        )
        for i in range(net.n):
            for j in drawn(net, i, k):
                seen_at[i][j] = X[i]
        Y = net.W @ (Y + V - old)
        X = net.W @ (X - A * Y)
        k += 1


def saga(net: Dense, i: int, x: Array, seen_at: list[Array], rows: Array) -> Array:
    known = np.stack([net.term_gradients(i, at, np.array([j]))[0] for j, at in enumerate(seen_at)])
    change = net.term_gradients(i, x, rows) - known[rows]
    return np.asarray(change.mean(axis=0) + known.mean(axis=0))


def gt_sarah(net: Dense) -> Iterator[Array]:
    X, before, Y, V, k = net.X, net.X, np.zeros_like(net.X), np.zeros_like(net.X), 0
    while True:
        yield X
        old = V
        if k % PERIOD == 0:
            V = net.gradient(X)
        else:
            V = old + np.stack([change(net, i, k, X[i], before[i]) for i in range(net.n)])
        Y = net.W @ Y + V - old
        before, X = X, net.W @ X - A * Y
        k += 1


def change(net: Dense, i: int, k: int, x: Array, before: Array) -> Array:
    rows = drawn(net, i, k)
    now, then = net.term_gradients(i, x, rows), net.term_gradients(i, before, rows)
    return np.asarray((now - then).mean(axis=0))


def gt_vr(net: Dense) -> Iterator[Array]:
    X, snapshots, Y, V, k = net.X, net.X, np.zeros_like(net.X), np.zeros_like(net.X), 0
    while True:
        yield X
        old, rows = V, []
        for i in range(net.n):
            dice = net.dice(i, k)
            if dice.random() < REFRESH:
                snapshots = np.where(np.arange(net.n)[:, None] == i, X, snapshots)
            rows.append(dice.integers(net.costs[i].terms, size=BATCH))
        of_terms = [
            (net.term_gradients(i, X[i], r) - net.term_gradients(i, snapshots[i], r)).mean(axis=0)
            for i, r in enumerate(rows)
        ]
        V = np.stack(of_terms) + net.gradient(snapshots)
        Y = net.W @ Y + V - old
        X = net.W @ (X - A * Y)
        k += 1


def mean_tracker_is_mean_estimate(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y - s.v for s in states], axis=0))


CASES = [
    Case(
        GtSaga(A, BATCH),
        gt_saga,
        mean_tracker_is_mean_estimate,
        within=1e-5,
    ),
    Case(
        GtSarah(A, PERIOD, BATCH),
        gt_sarah,
        mean_tracker_is_mean_estimate,
        within=1e-5,
    ),
    Case(
        GtVr(A, REFRESH, BATCH),
        gt_vr,
        mean_tracker_is_mean_estimate,
        within=1e-5,
    ),
]
