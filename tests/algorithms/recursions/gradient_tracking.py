"""Gradient tracking and its adaptive moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import GradientTracking, GtAdam
from p2pdo.testing.laws import Case, Dense, Recursion
from p2pdo.types import Array

A, AA = 0.05, 0.02


def gradient_tracking(*, zero: bool = False) -> Recursion:
    def recursion(net: Dense) -> Iterator[Array]:
        X = net.X
        old = np.zeros_like(X) if zero else net.gradient(X)
        Y = old
        while True:
            yield X
            X = net.W @ X - A * Y
            Y, old = net.W @ Y + net.gradient(X) - old, net.gradient(X)

    return recursion


def gtadam(b1: float, b2: float, eps: float, bound: float, *, zero: bool = False) -> Recursion:
    def recursion(net: Dense) -> Iterator[Array]:
        X = net.X
        old = np.zeros_like(X) if zero else net.gradient(X)
        Y, M, V = old, np.zeros_like(X), np.zeros_like(X)
        while True:
            yield X
            M = b1 * M + (1 - b1) * Y
            V = np.clip(b2 * V + (1 - b2) * Y**2, None, bound)
            X = net.W @ X - AA * M / (V + eps) ** 0.5
            Y, old = net.W @ Y + net.gradient(X) - old, net.gradient(X)

    return recursion


def mean_tracker_is_mean_gradient(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y - s.g for s in states], axis=0))


KEEPS = mean_tracker_is_mean_gradient
CASES = [
    Case(GradientTracking(A), gradient_tracking(), KEEPS),
    Case(GradientTracking(A, "zero"), gradient_tracking(zero=True), KEEPS, label="from zero"),
    Case(
        GtAdam(AA),
        gtadam(0.9, 0.999, 1e-8, 1e6),
        KEEPS,
        tuned=GtAdam(0.003),
        rounds=8000,
        within=1e-6,
    ),
    Case(
        GtAdam(AA, beta1=0.5, beta2=0.9, epsilon=0.01, bound=0.3, tracker_start="zero"),
        gtadam(0.5, 0.9, 0.01, 0.3, zero=True),
        KEEPS,
        label="bounded from zero",
    ),
]
