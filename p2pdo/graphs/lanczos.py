"""The second largest eigenvalue modulus of large symmetric weights, by the recursion of Lanczos.

Vectors are orthogonalised against the last two and the agreement only: that costs one mixing and a
few vectors an iteration. What is lost is that eigenvalues may be found several times (Paige 1976);
the extreme ones, which alone are asked for, are none the less right.
"""

from __future__ import annotations

import math

import numpy as np

from p2pdo.graphs.weights import Weights
from p2pdo.types import Array

LOOKS = (50, 100, 200, 300, 400, 600, 800, 1100, 1600)
"""Iterations after which the ends of the spectrum are looked at."""

SHARE = 1e-3
"""The part of the gap that the residual may be: no eigenvalue is further from what was found."""


def lanczos(weights: Weights) -> float | None:
    """Of symmetric weights whose rows sum to one; None if the last of `LOOKS` does not find it."""
    n = weights.n
    v = _apart(np.random.default_rng(0).standard_normal(n))  # equal weights, equal figures
    v /= math.sqrt(_inner(v, v))
    before, beta = np.zeros(n), 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    while len(diagonal) < LOOKS[-1]:
        mixed = _apart(weights.apply(v)) - beta * before
        diagonal.append(_inner(mixed, v))
        mixed -= diagonal[-1] * v
        beta = math.sqrt(_inner(mixed, mixed))
        is_whole = beta < np.finfo(float).eps * n
        if is_whole or len(diagonal) in LOOKS:
            slem, residual = _largest(np.array(diagonal), np.array(beside), beta)
            if is_whole or residual <= SHARE * abs(1 - slem):
                return slem
        beside.append(beta)
        before, v = v, mixed / beta
    return None


def _apart(x: Array) -> Array:
    """Without the agreement."""
    return np.asarray(x - x.mean())


def _inner(x: Array, y: Array) -> float:
    """Without BLAS: its threads cost more here than they bring, and a busy machine's far more."""
    return float(np.einsum("i,i->", x, y))


def _largest(diagonal: Array, beside: Array, beta: float) -> tuple[float, float]:
    """The largest modulus, and how far from it an eigenvalue of W surely is, at most."""
    from scipy.linalg import eigh_tridiagonal

    found = []
    for end in (0, len(diagonal) - 1):
        value, vector = eigh_tridiagonal(diagonal, beside, select="i", select_range=(end, end))
        found.append((abs(float(value[0])), beta * abs(float(vector[-1, 0]))))
    return max(found)
