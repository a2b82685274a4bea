"""Accelerated gossip: powers of the companion matrix, and Chebyshev polynomials of W itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from p2pdo.algorithms import ChebyshevGossip, FastMix
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

SLEM = 0.8


def fastmix(net: Dense) -> Iterator[Array]:
    root = np.sqrt(1 - SLEM**2)
    eta = (1 - root) / (1 + root)
    eye = np.eye(net.n)
    companion = np.block([[(1 + eta) * net.W, -eta * eye], [eye, 0 * eye]])
    both = np.vstack([net.X, net.X])
    while True:
        yield both[: net.n]
        both = companion @ both


def chebyshev_polynomials(net: Dense) -> Iterator[Array]:
    """Tₖ(W/λ) X / Tₖ(1/λ), by the eigenvalues of W, which is symmetric."""
    eigenvalues, V = np.linalg.eigh(net.W)
    for k in count():
        T = chebyshev.Chebyshev.basis(k)
        yield V @ np.diag(T(eigenvalues / SLEM) / T(1 / SLEM)) @ V.T @ net.X


def mean_moves(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.x - s.before for s in states], axis=0))


CASES = [
    Case(FastMix(SLEM), fastmix, mean_moves, rounds=400),
    Case(ChebyshevGossip(SLEM), chebyshev_polynomials, mean_moves, rounds=400),
]
