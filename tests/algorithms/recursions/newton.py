"""Newton methods with the block matrices of the whole network, as the papers print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.algorithms import Dqm, Esom, NetworkNewton, NewtonTracking
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

A, DAMPING, RHO = 0.4, 2.25, 0.4
EPS = 0.9  # DAMPING · A


class Blocks:
    """All nodes' vectors one below the other, and matrices for them."""

    def __init__(self, net: Dense) -> None:
        self.net = net
        self.n, self.d = net.X.shape
        self.W = np.kron(net.W, np.eye(self.d))
        self.diagonal = np.kron(np.diag(np.diag(net.W)), np.eye(self.d))
        self.one = np.eye(self.n * self.d)
        self.apart = self.one - self.W

    def rows(self, z: Array) -> Array:
        return z.reshape(self.n, self.d)

    def gradient(self, z: Array) -> Array:
        return self.net.gradient(self.rows(z)).ravel()

    def hessian(self, z: Array) -> Array:
        G = np.zeros_like(self.one)
        for i, H in enumerate(self.net.hessians(self.rows(z))):
            at = slice(i * self.d, (i + 1) * self.d)
            G[at, at] = H
        return G


def series(D: Array, B: Array, order: int) -> Array:
    """Σ_{k ≤ K} (D⁻¹B)^k D⁻¹."""
    inverse = np.linalg.inv(D)
    total = power = inverse
    for _ in range(order):
        power = inverse @ B @ power
        total = total + power
    return total


def network_newton(net: Dense, order: int = 1) -> Iterator[Array]:
    b = Blocks(net)
    z = net.X.ravel()
    while True:
        yield b.rows(z)
        D = A * b.hessian(z) + 2 * (b.one - b.diagonal)
        B = b.one - 2 * b.diagonal + b.W
        z = z - series(D, B, order) @ (b.apart @ z + A * b.gradient(z))


def network_newton_3(net: Dense) -> Iterator[Array]:
    return network_newton(net, 3)


def esom(net: Dense, order: int = 1) -> Iterator[Array]:
    b = Blocks(net)
    z, q = net.X.ravel(), np.zeros(net.X.size)
    while True:
        yield b.rows(z)
        D = b.hessian(z) + EPS * b.one + 2 * A * (b.one - b.diagonal)
        B = A * (b.one - 2 * b.diagonal + b.W)
        z = z - series(D, B, order) @ (b.gradient(z) + q + A * b.apart @ z)
        q = q + A * b.apart @ z


def esom_0(net: Dense) -> Iterator[Array]:
    return esom(net, 0)


def newton_tracking(net: Dense) -> Iterator[Array]:
    b = Blocks(net)
    z = net.X.ravel()
    H = b.hessian(z) + EPS * b.one
    u = np.linalg.solve(H, b.gradient(z) + A * b.apart @ z)
    while True:
        yield b.rows(z)
        old, z = z, z - u
        v = H @ u + b.gradient(z) - b.gradient(old) + A * b.apart @ (2 * z - old)
        H = b.hessian(z) + EPS * b.one
        u = np.linalg.solve(H, v)


def dqm(net: Dense) -> Iterator[Array]:
    b = Blocks(net)
    degrees = np.kron(np.diag(net.degrees[:, 0]), np.eye(b.d))
    L = np.kron(net.laplacian, np.eye(b.d))
    z, phi = net.X.ravel(), np.zeros(net.X.size)
    while True:
        yield b.rows(z)
        H = b.hessian(z)
        # the paper's: (2cD + H) x⁺ = c (D + A) x + H x − ∇f(x) − φ
        right = RHO * (2 * degrees - L) @ z + H @ z - b.gradient(z) - phi
        z = np.linalg.solve(2 * RHO * degrees + H, right)
        phi = phi + RHO * L @ z


def mean_multiplier(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.q for s in states], axis=0))


def mean_dual(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.p for s in states], axis=0))


CASES = [
    Case(NetworkNewton(A), network_newton, rounds=150),
    Case(NetworkNewton(A, order=3), network_newton_3, rounds=100, label="order 3"),
    Case(Esom(A, DAMPING), esom, mean_multiplier),
    Case(Esom(A, DAMPING, order=0), esom_0, mean_multiplier, label="order 0"),
    Case(NewtonTracking(A, DAMPING), newton_tracking, mean_multiplier),
    Case(Dqm(RHO), dqm, mean_dual),
]
