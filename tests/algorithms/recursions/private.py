"""DP-DGD with noise from the secrets of the laws' costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count

import numpy as np

from p2pdo.algorithms import DpDgd
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, CLIP, NOISE = 0.1, 0.3, 0.5


def noise_of(net: Dense, i: int, k: int) -> Array:
    """Node i's secret is i."""
    digest = hashlib.sha256(f"{i:064x}:{net.seed}:{i}:{k}".encode()).hexdigest()
    return np.random.Generator(np.random.PCG64(int(digest, 16))).standard_normal(net.X.shape[1])


def noisy_gradient(net: Dense, i: int, x: Array, k: int) -> Array:
    total = 2 * CLIP * NOISE * noise_of(net, i, k)
    terms = net.costs[i].terms
    for gradient in net.term_gradients(i, x, np.arange(terms)):
        total = total + gradient * min(1.0, CLIP / float(np.linalg.norm(gradient)))
    return np.asarray(total / terms)


def dp_dgd(net: Dense) -> Iterator[Array]:
    X = net.X
    for k in count():
        yield X
        X = net.W @ X - A * np.stack([noisy_gradient(net, i, X[i], k) for i in range(net.n)])


CASES = [
    # Without noise and cuts to speak of its bias is that of `dgd`.
    Case(DpDgd(A, CLIP, NOISE), dp_dgd, tuned=DpDgd(1.0, 1e3, 1e-15), rounds=80),
]
