"""Compressed methods as the papers print them: copies of all nodes in one matrix, Q row by row.

The operators are written once more, from their formulas and without a form that is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from p2pdo.algorithms import Beer, CGt, ChocoGossip, ChocoSgd, Lead, Motef
from p2pdo.testing.laws import Case, Dense, Recursion
from p2pdo.types import Array

A, GAMMA, LEAD_A = 0.02, 0.2, 0.1
Operator: TypeAlias = Callable[[Array, np.random.Generator], Array]


def top_half(v: Array, rng: np.random.Generator) -> Array:
    size = sorted(np.abs(v), reverse=True)[len(v) // 2 - 1]
    return np.where(np.abs(v) >= size, v, 0.0)


def random_half(v: Array, rng: np.random.Generator) -> Array:
    """Drawn by numbers of a generator of its own: the entries with the smallest are kept."""
    numbers = np.random.PCG64(int(rng.integers(0, 2**63, dtype=np.int64))).random_raw(len(v))
    kept = sorted(range(len(v)), key=lambda entry: numbers[entry])[: len(v) // 2]
    return np.where(np.isin(np.arange(len(v)), kept), v, 0.0)


def sign(v: Array, rng: np.random.Generator) -> Array:
    return np.abs(v).sum() / len(v) * np.where(v >= 0, 1.0, -1.0)


def qsgd(v: Array, rng: np.random.Generator, levels: int = 15) -> Array:
    """Each |v|/‖v‖ goes up to the next multiple of 1/s with the probability that keeps its mean."""
    if not v.any():
        return v
    parts = np.abs(v) / np.linalg.norm(v) * levels
    below = np.floor(parts)
    up = rng.random(len(v)) >= 1 - (parts - below)
    return np.asarray(np.sign(v) * np.linalg.norm(v) * (below + up) / levels)


def scaled_qsgd(v: Array, rng: np.random.Generator, levels: int = 3) -> Array:
    d = len(v)
    return qsgd(v, rng, levels) / (1 + min(d / levels**2, d**0.5 / levels))


def dice(net: Dense, k: int) -> list[np.random.Generator]:
    return [net.dice(i, k) for i in range(net.n)]


def rows(Q: Operator, V: Array, each: Sequence[np.random.Generator]) -> Array:
    return np.stack([Q(v, rng) for v, rng in zip(V, each, strict=True)])


def gossip(net: Dense, Q: Operator) -> Iterator[Array]:
    X, copies, k = net.X, np.zeros_like(net.X), 0
    while True:
        yield X
        copies = copies + rows(Q, X - copies, dice(net, k))
        X = X + GAMMA * (net.W - np.eye(net.n)) @ copies
        k += 1


def sgd(net: Dense, Q: Operator) -> Iterator[Array]:
    X, copies, k = net.X, np.zeros_like(net.X), 0
    while True:
        yield X
        half = X - A * net.gradient(X)
        copies = copies + rows(Q, half - copies, dice(net, k))
        X = half + GAMMA * (net.W - np.eye(net.n)) @ copies
        k += 1


def beer(net: Dense, Q: Operator) -> Iterator[Array]:
    X, V, L = net.X, net.gradient(net.X), net.W - np.eye(net.n)
    H, G, k = np.zeros_like(X), np.zeros_like(X), 0
    while True:
        yield X
        old, X = X, X + GAMMA * L @ H - A * V
        V = V + GAMMA * L @ G + net.gradient(X) - net.gradient(old)
        each = dice(net, k)  # first the draws of x, then those of v
        H = H + rows(Q, X - H, each)
        G = G + rows(Q, V - G, each)
        k += 1


def lead(net: Dense, Q: Operator, gamma: float = 0.5, alpha: float = 0.2) -> Iterator[Array]:
    X, D, H, k = net.X, np.zeros_like(net.X), np.zeros_like(net.X), 0
    while True:
        yield X
        gradient = net.gradient(X)
        Y_hat = H + rows(Q, X - LEAD_A * (gradient + D) - H, dice(net, k))
        H = (1 - alpha) * H + alpha * Y_hat
        D = D + gamma * (np.eye(net.n) - net.W) @ Y_hat / (2 * LEAD_A)
        X = X - LEAD_A * gradient - LEAD_A * D
        k += 1


def cgt(net: Dense, Q: Operator, a: float = 0.5) -> Iterator[Array]:
    X, Y, L = net.X, net.gradient(net.X), np.eye(net.n) - net.W
    H, G, k = np.zeros_like(X), np.zeros_like(X), 0
    while True:
        yield X
        each = dice(net, k)  # first the draws of x, then those of y
        X_hat = H + rows(Q, X - H, each)
        Y_hat = G + rows(Q, Y - G, each)
        H, G = (1 - a) * H + a * X_hat, (1 - a) * G + a * Y_hat
        old, X = X, X - GAMMA * L @ X_hat - A * Y
        Y = Y - GAMMA * L @ Y_hat + net.gradient(X) - net.gradient(old)
        k += 1


def motef(net: Dense, Q: Operator, part: float = 0.4) -> Iterator[Array]:
    X, M, L = net.X, net.gradient(net.X), net.W - np.eye(net.n)
    V, H, G, k = M, np.zeros_like(X), np.zeros_like(X), 0
    while True:
        yield X
        X = X + GAMMA * L @ H - A * V
        old, M = M, (1 - part) * M + part * net.gradient(X)
        V = V + GAMMA * L @ G + M - old
        each = dice(net, k)  # first the draws of x, then those of v
        H = H + rows(Q, X - H, each)
        G = G + rows(Q, V - G, each)
        k += 1


def with_operator(recursion: Callable[..., Iterator[Array]], Q: Operator) -> Recursion:
    return partial(recursion, Q=Q)


def mean_dual(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.d for s in states], axis=0))


def mean_tracker_is_mean_gradient(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.v - s.g for s in states], axis=0))


def mean_compressed_tracker_is_mean_gradient(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y - s.g for s in states], axis=0))


def mean_of_copies_is_mean_of_sums(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.h - s.s for s in states], axis=0))


OPERATORS = {
    "top-k:0.5": top_half,
    "rand-k:0.5": random_half,
    "sign": sign,
    "scaled-qsgd:3": scaled_qsgd,
    "none": lambda v, rng: v,
}

CASES = [
    *(
        Case(
            ChocoGossip(GAMMA, name),
            with_operator(gossip, Q),
            mean_of_copies_is_mean_of_sums,
            rounds=3000,
            label=name,
        )
        for name, Q in OPERATORS.items()
    ),
    Case(
        ChocoSgd(A, GAMMA, "top-k:0.5"),
        with_operator(sgd, top_half),
        mean_of_copies_is_mean_of_sums,
        tuned=ChocoSgd(0.1, 0.5, "top-k:0.5"),
        rounds=120,
    ),
    Case(
        Beer(A, GAMMA, "top-k:0.5"),
        with_operator(beer, top_half),
        mean_tracker_is_mean_gradient,
        tuned=Beer(0.08, 0.4, "top-k:0.5"),
        label="top-k:0.5",
    ),
    Case(
        Beer(A, GAMMA, "rand-k:0.5"),
        with_operator(beer, random_half),
        mean_tracker_is_mean_gradient,
        tuned=Beer(0.08, 0.4, "rand-k:0.5"),
        label="rand-k:0.5",
    ),
    Case(
        CGt(A, GAMMA, 0.5, "top-k:0.5"),
        with_operator(cgt, top_half),
        mean_compressed_tracker_is_mean_gradient,
        tuned=CGt(0.08, 0.4, 0.8, "top-k:0.5"),
        label="top-k:0.5",
    ),
    Case(
        CGt(A, GAMMA, 0.5, "rand-k:0.5"),
        with_operator(cgt, random_half),
        mean_compressed_tracker_is_mean_gradient,
        tuned=CGt(0.08, 0.4, 0.8, "rand-k:0.5"),
        rounds=1500,
        within=1e-3,
        label="rand-k:0.5",
    ),
    Case(
        Motef(A, 0.4, GAMMA, "top-k:0.5"),
        with_operator(motef, top_half),
        tuned=Motef(0.08, 0.4, 0.4, "top-k:0.5"),
        label="top-k:0.5",
    ),
    Case(
        Motef(A, 0.4, GAMMA, "rand-k:0.5"),
        with_operator(motef, random_half),
        tuned=Motef(0.05, 0.4, 0.4, "rand-k:0.5"),
        label="rand-k:0.5",
    ),
    # What is rounded before a random operator spreads: with larger steps, to more than 1e-12.
    Case(Lead(LEAD_A, 0.5, 0.2), with_operator(lead, qsgd), mean_dual),
]
