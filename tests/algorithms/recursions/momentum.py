"""Momentum: heavy ball in x alone where the paper's two lines allow it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from p2pdo.algorithms import DecentLam, DmSgd, QgDsgdm
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, BETA = 0.02, 0.6


def dmsgd(net: Dense) -> Iterator[Array]:
    X, gradients = net.X, np.zeros_like(net.X)
    while True:
        yield X
        gradients = BETA * gradients + net.gradient(X)
        X = net.W @ X - A * net.W @ gradients


def decentlam(net: Dense) -> Iterator[Array]:
    """x⁺ = W (x − γ ∇f(x)) + β (x − x⁻)."""
    old, X = net.X, net.X
    while True:
        yield X
        old, X = X, net.W @ (X - A * net.gradient(X)) + BETA * (X - old)


def quasi_global(net: Dense) -> Iterator[Array]:
    """The momentum as the sum of all past moves, each discounted."""
    moves: list[Array] = []
    X = net.X
    while True:
        yield X
        ages = range(len(moves) - 1, -1, -1)
        M = sum((BETA**a * (1 - BETA) * D for a, D in zip(ages, moves, strict=True)), 0 * X)
        old, X = X, net.W @ (X - A * (BETA * M + net.gradient(X)))
        moves.append((old - X) / A)


CASES = [
    Case(DmSgd(A, BETA), dmsgd, rounds=600),
    Case(DecentLam(A, BETA), decentlam, rounds=600),
    Case(QgDsgdm(A, BETA), quasi_global, rounds=600),
]
