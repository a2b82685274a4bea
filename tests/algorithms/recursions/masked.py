"""Consensus under masks that are drawn edge by edge, from the secrets of the laws' costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import MaskedConsensus
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

SPREAD = 20.0


def shares(net: Dense, i: int) -> dict[int, bytes]:
    """What node i, whose secret is i, draws for each neighbour at first."""
    digest = hashlib.sha256(f"{i:064x}:{net.seed}:{i}:0".encode()).hexdigest()
    rng = np.random.Generator(np.random.PCG64(int(digest, 16)))
    return {int(j): rng.bytes(32) for j in np.flatnonzero(net.hears[i])}


def masked(net: Dense) -> Iterator[Array]:
    yield net.X
    masks, d = np.zeros_like(net.X), net.X.shape[1]
    drawn = [shares(net, i) for i in range(net.n)]
    for i, j in zip(*np.nonzero(np.triu(net.hears)), strict=True):
        both = sorted([drawn[i][j], drawn[j][i]])
        stream = hashlib.shake_256(hashlib.sha3_256(both[0] + both[1]).digest()).digest(8 * d)
        words = [int.from_bytes(stream[8 * k : 8 * k + 8], "little") for k in range(d)]
        mask = np.array([SPREAD * ((word >> 11) / 2**52 - 1) for word in words])
        masks[i] += mask
        masks[j] -= mask
    X = net.X + masks
    while True:
        yield X
        X = net.W @ X


def all_masks(states: Sequence[Any]) -> Array:
    return np.asarray(np.sum([s.m for s in states], axis=0))


CASES = [Case(MaskedConsensus(SPREAD), masked, all_masks)]
