"""Column-stochastic B, and row-stochastic W beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import Ab, GradientPush, PushDiging, PushPull, PushSum
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.03


def push_sum(net: Dense) -> Iterator[Array]:
    U, w = net.X, np.ones((net.n, 1))
    while True:
        yield U / w
        U, w = net.B @ U, net.B @ w


def gradient_push(net: Dense) -> Iterator[Array]:
    U, w = net.X, np.ones((net.n, 1))
    X = U / w
    while True:
        yield X
        w = net.B @ w
        X = net.B @ U / w
        U = net.B @ U - A * net.gradient(X)


def push_diging(net: Dense) -> Iterator[Array]:
    U, w, X, Y = net.X, np.ones((net.n, 1)), net.X, net.gradient(net.X)
    while True:
        yield X
        U, w = net.B @ (U - A * Y), net.B @ w
        Y = net.B @ Y + net.gradient(U / w) - net.gradient(X)
        X = U / w


def ab(net: Dense) -> Iterator[Array]:
    X, Y = net.X, net.gradient(net.X)
    while True:
        yield X
        old, X = X, net.W @ X - A * Y
        Y = net.B @ Y + net.gradient(X) - net.gradient(old)


def push_pull(net: Dense) -> Iterator[Array]:
    X, Y = net.X, net.gradient(net.X)
    while True:
        yield X
        old, X = X, net.W @ (X - A * Y)
        Y = net.B @ Y + net.gradient(X) - net.gradient(old)


def sum_tracker_is_sum_gradient(states: Sequence[Any]) -> Array:
    return np.asarray(np.sum([s.y - s.g for s in states], axis=0))


def weight_is_kept(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.w for s in states], axis=0) - 1)


CASES = [
    Case(PushSum(), push_sum, weight_is_kept, rounds=600),
    Case(GradientPush(A), gradient_push, weight_is_kept, rounds=1500),
    Case(PushDiging(A), push_diging, sum_tracker_is_sum_gradient),
    Case(Ab(A), ab, sum_tracker_is_sum_gradient),
    Case(PushPull(A), push_pull, sum_tracker_is_sum_gradient),
]
