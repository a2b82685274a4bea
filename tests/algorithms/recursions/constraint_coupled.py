"""Prices by a dual subgradient, and what nodes may use by primal decomposition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count

import numpy as np

from p2pdo.algorithms import DualSubgradient, PrimalDecomposition
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, DECAY, MOST = 0.1, 0.75, 50.0


def dual_subgradient(net: Dense) -> Iterator[Array]:
    X = net.X
    for k in count():
        yield X
        mixed = net.W @ X  # −∇q is what is used beyond the share, at the mixed price
        X = np.maximum(mixed - A / (k + 1) ** DECAY * net.gradient(mixed), 0)


def primal_decomposition(net: Dense) -> Iterator[Array]:
    Y = np.zeros_like(net.X)
    pieces = [piece_of(cost.gradient, net.X.shape[1]) for cost in net.costs]
    for k in count():
        M = np.stack([price_of(Q, g + y) for (Q, g), y in zip(pieces, Y, strict=True)])
        yield M
        Y = Y + A / (k + 1) ** DECAY * net.laplacian @ M


def piece_of(gradient: Callable[[Array], Array], d: int) -> tuple[Array, Array]:
    """Q and g of ∇q(μ) = Q μ + g where no bound cuts a decision, as in the costs of the laws."""
    g = gradient(np.zeros(d))
    return np.stack([2 * (gradient(unit / 2) - g) for unit in np.eye(d)], axis=1), g


def price_of(Q: Array, g: Array) -> Array:
    """The least of ½ μᵀQμ + gᵀμ on 0 ≤ μ ≤ M, by trying every choice of which bounds hold."""
    for held in choices(len(g)):
        mu = np.where(held == 2, MOST, 0.0)
        free = held == 0
        mu[free] = np.linalg.solve(Q[np.ix_(free, free)], -(g + Q @ mu)[free])
        slope = Q @ mu + g
        is_inside = (mu >= 0).all() and (mu <= MOST).all()
        if is_inside and (slope[held == 1] >= 0).all() and (slope[held == 2] <= 0).all():
            return np.asarray(mu)
    raise AssertionError("no choice of bounds fits")


@cache
def choices(d: int) -> list[Array]:
    """0: free, 1: at the lower bound, 2: at the upper; those that hold few first."""
    every = np.array(np.meshgrid(*[range(3)] * d)).reshape(d, -1).T
    return list(every[np.argsort((every > 0).sum(axis=1), kind="stable")])


CASES = [
    Case(
        DualSubgradient(A, DECAY),
        dual_subgradient,
        tuned=DualSubgradient(0.5, DECAY),
        rounds=3000,
        within=1e-2,
    ),
    Case(
        PrimalDecomposition(A, MOST, DECAY),
        primal_decomposition,
        tuned=PrimalDecomposition(0.1, MOST, decay=0.0),
    ),
]
