"""EXTRA, exact diffusion, NIDS, Wang–Elia: two-step recursions as the papers print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import ExactDiffusion, Extra, Nids, NidsOwnSteps, WangElia
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.05
SHARE, LEAST = 0.9, 0.1


def lazy(net: Dense) -> Array:
    return (np.eye(net.n) + net.W) / 2


def extra(net: Dense) -> Iterator[Array]:
    old, X = net.X, net.W @ net.X - A * net.gradient(net.X)
    yield old
    while True:
        yield X
        change = net.gradient(X) - net.gradient(old)
        old, X = X, X + net.W @ X - lazy(net) @ old - A * change


def exact_diffusion(net: Dense) -> Iterator[Array]:
    X, Y = net.X, net.X
    while True:
        yield X
        Y_new = X - A * net.gradient(X)
        X, Y = lazy(net) @ (X + Y_new - Y), Y_new


def nids(net: Dense) -> Iterator[Array]:
    old, X = net.X, net.X - A * net.gradient(net.X)
    yield old
    while True:
        yield X
        inner = 2 * X - old - A * net.gradient(X) + A * net.gradient(old)
        old, X = X, lazy(net) @ inner


def nids_own_steps(net: Dense) -> Iterator[Array]:
    steps = SHARE / net.smoothness
    c = LEAST / (2 * SHARE)
    mixing = np.eye(net.n) - c * steps * (np.eye(net.n) - net.W)
    old, X = net.X, net.X - steps * net.gradient(net.X)
    yield old
    while True:
        yield X
        inner = 2 * X - old - steps * net.gradient(X) + steps * net.gradient(old)
        old, X = X, mixing @ inner


def wang_elia(net: Dense) -> Iterator[Array]:
    K = (np.eye(net.n) - net.W) / 2
    X, Z = net.X, np.zeros_like(net.X)
    while True:
        yield X
        X, Z = X - K @ (X + Z) - A * net.gradient(X), Z + K @ X


def mean_correction(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.c for s in states], axis=0))


def mean_disagreement(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.v for s in states], axis=0))


def mean_integral(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.z for s in states], axis=0))


CASES = [
    Case(Extra(A), extra, mean_correction),
    Case(ExactDiffusion(A), exact_diffusion, mean_correction),
    Case(Nids(A), nids, mean_correction),
    Case(NidsOwnSteps(SHARE, LEAST), nids_own_steps, mean_disagreement, rounds=8000),
    Case(WangElia(A), wang_elia, mean_integral),
]
