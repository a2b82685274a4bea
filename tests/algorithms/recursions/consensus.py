"""Averages and extremes."""

from __future__ import annotations

from collections.abc import Iterator

from p2pdo.algorithms import Consensus
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array


def consensus(net: Dense) -> Iterator[Array]:
    X = net.X
    while True:
        yield X
        X = net.W @ X


CASES = [Case(Consensus(), consensus, rounds=600)]
