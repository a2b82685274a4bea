"""Robust consensus: order statistics by counting, clipping by Laplacians of the moment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from p2pdo.algorithms import ClippedGossip, MedianConsensus, TrimmedMean
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

RADIUS = 0.3


def median(net: Dense) -> Iterator[Array]:
    X, heard = net.X, (net.hears + np.eye(net.n)) > 0
    while True:
        yield X
        X = np.stack([middle(X[row]) for row in heard])


def middle(values: Array) -> Array:
    in_order, m = np.sort(values, axis=0), len(values)
    return np.asarray((in_order[(m - 1) // 2] + in_order[m // 2]) / 2)


def trimmed(net: Dense) -> Iterator[Array]:
    """Without the largest and the smallest: the sum of all less these two."""
    X = net.X
    while True:
        yield X
        X = np.stack([without_extremes(x, X[row > 0]) for x, row in zip(X, net.hears, strict=True)])


def without_extremes(own: Array, heard: Array) -> Array:
    if len(heard) <= 2:
        return own
    rest = heard.sum(axis=0) - heard.max(axis=0) - heard.min(axis=0)
    return np.asarray((own + rest) / (len(heard) - 1))


def clipped(net: Dense) -> Iterator[Array]:
    """x⁺ = x − L(x) x, with the weights of the Laplacian shrunk by min(1, τ/‖xⱼ − xᵢ‖)."""
    X = net.X
    while True:
        yield X
        apart = np.linalg.norm(X[:, None] - X[None], axis=2)
        weights = net.W * np.minimum(1, RADIUS / np.where(apart > 0, apart, RADIUS))
        np.fill_diagonal(weights, 0)
        X = X - (np.diag(weights.sum(axis=1)) - weights) @ X


CASES = [
    Case(MedianConsensus(), median, rounds=100),
    Case(TrimmedMean(1), trimmed, rounds=100),
    Case(ClippedGossip(RADIUS), clipped, rounds=2000),
]
