"""Dual decomposition with the incidence matrix: one row an edge, +1 at one end, −1 at the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import DualDecomposition
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.04


def dual_decomposition(net: Dense) -> Iterator[Array]:
    first, second = np.nonzero(np.triu(net.hears))
    incidence = np.eye(net.n)[first] - np.eye(net.n)[second]
    prices = np.zeros((len(first), net.X.shape[1]))
    yield net.X
    while True:
        X = net.dual_gradient(-incidence.T @ prices)
        yield X
        prices = prices + A * incidence @ X


def all_prices(states: Sequence[Any]) -> Array:
    return np.asarray(np.sum([s.z.sum(axis=0) for s in states], axis=0))


CASES = [Case(DualDecomposition(A), dual_decomposition, all_prices)]
