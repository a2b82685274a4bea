"""The three recursions of distributed gradient descent."""

from __future__ import annotations

from collections.abc import Iterator

from p2pdo.algorithms import Atc, Dgd, DgdCta
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A = 0.05


def dgd(net: Dense) -> Iterator[Array]:
    X = net.X
    while True:
        yield X
        X = net.W @ X - A * net.gradient(X)


def dgd_cta(net: Dense) -> Iterator[Array]:
    X = net.X
    while True:
        yield X
        Z = net.W @ X
        X = Z - A * net.gradient(Z)


def atc(net: Dense) -> Iterator[Array]:
    X = net.X
    while True:
        yield X
        X = net.W @ (X - A * net.gradient(X))


CASES = [
    Case(Dgd(A), dgd, rounds=300),
    Case(DgdCta(A), dgd_cta, rounds=300),
    Case(Atc(A), atc, rounds=300),
]
