"""Accelerated methods in matrices: momentum written out, inner gossip as polynomials of W."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from p2pdo.algorithms import AccDngd, Msda, Mudag, Opapc, Ssda
from p2pdo.testing.laws import Case, Dense
from p2pdo.types import Array

ETA, MU, SLEM = 0.02, 0.3, 0.8
L, CONVEX, LOW, HIGH = 9.0, 0.1, -0.5, 0.8


def acc_dngd(net: Dense) -> Iterator[Array]:
    alpha = np.sqrt(MU * ETA)
    x = v = y = net.X
    s = net.gradient(y)
    while True:
        yield x
        old = y
        x = net.W @ y - ETA * s
        v = (1 - alpha) * net.W @ v + alpha * net.W @ old - ETA / alpha * s
        y = (x + alpha * v) / (1 + alpha)
        s = net.W @ s + net.gradient(y) - net.gradient(old)


def fastmix(W: Array, times: int) -> Array:
    """The matrix that X is multiplied by: a power of the companion matrix."""
    root, n = np.sqrt(1 - SLEM**2), len(W)
    eta = (1 - root) / (1 + root)
    eye = np.eye(n)
    companion = np.block([[(1 + eta) * W, -eta * eye], [eye, 0 * eye]])
    return (np.linalg.matrix_power(companion, times) @ np.vstack([eye, eye]))[:n]


def mudag(net: Dense, times: int) -> Iterator[Array]:
    M, alpha = fastmix(net.W, times), np.sqrt(MU * ETA)
    x = y = net.X
    s = net.gradient(y)
    while True:
        yield x
        before, old = x, y
        x = M @ (y - ETA * s)
        y = x + (1 - alpha) / (1 + alpha) * (x - before)
        s = M @ (s + net.gradient(y) - net.gradient(old))


def mudag_3(net: Dense) -> Iterator[Array]:
    return mudag(net, 3)


def mudag_as_it_comes(net: Dense) -> Iterator[Array]:
    """With the least K for which λ-modes are left a thirty-second, λ = e^−… by the companion."""
    slowest = SLEM / (1 + np.sqrt(1 - SLEM**2))
    return mudag(net, next(k for k in range(1, 99) if slowest**k <= 1 / 32))


def polynomial(W: Array, times: int) -> Array:
    """I − T_K(t(W))/T_K(t(1)), by W's eigenvalues; t maps [LOW, HIGH] to [−1, 1]."""
    eigenvalues, V = np.linalg.eigh(W)
    T = chebyshev.Chebyshev.basis(times, domain=[LOW, HIGH])
    return np.asarray(V @ np.diag(1 - T(eigenvalues) / T(1.0)) @ V.T)


def extremes(times: int) -> tuple[float, float]:
    """Of the polynomial over all of [LOW, HIGH]."""
    left = 1 / chebyshev.Chebyshev.basis(times, domain=[LOW, HIGH])(1.0)
    return 1 - left, 1 + left


def opapc(net: Dense, times: int) -> Iterator[Array]:
    P, (low, high) = polynomial(net.W, times), extremes(times)
    tau = min(1, 0.5 * np.sqrt(high / low * CONVEX / L))
    eta = 1 / (4 * tau * L)
    theta = 1 / (eta * high)
    x, xf, y = net.X, net.X, np.zeros_like(net.X)
    while True:
        yield x
        xg = tau * x + (1 - tau) * xf
        pull = net.gradient(xg) - CONVEX * xg
        half = (x - eta * (pull + y)) / (1 + eta * CONVEX)
        y = y + theta * P @ half
        old, x = x, (x - eta * (pull + y)) / (1 + eta * CONVEX)
        xf = xg + 2 * tau / (2 - tau) * (x - old)


def apapc(net: Dense) -> Iterator[Array]:
    return opapc(net, 1)


def opapc_as_it_comes(net: Dense) -> Iterator[Array]:
    return opapc(net, int(np.sqrt((1 - LOW) / (1 - HIGH))))


def opapc_4(net: Dense) -> Iterator[Array]:
    return opapc(net, 4)


def dual(net: Dense, P: Array, low: float, high: float) -> Iterator[Array]:
    ratio = np.sqrt((L / CONVEX) / (low / high))
    beta = (ratio - 1) / (ratio + 1)
    u = y = np.zeros_like(net.X)
    yield net.X
    while True:
        theta = net.dual_gradient(u)
        yield theta
        old, y = y, u - CONVEX / high * P @ theta
        u = (1 + beta) * y - beta * old


def ssda(net: Dense) -> Iterator[Array]:
    return dual(net, np.eye(net.n) - net.W, 1 - HIGH, 1 - LOW)


def msda(net: Dense, times: int = 2) -> Iterator[Array]:
    return dual(net, polynomial(net.W, times), *extremes(times))


def msda_4(net: Dense) -> Iterator[Array]:
    return msda(net, 4)


def tracker(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.s - s.g for s in states], axis=0))


def mean_dual(states: Sequence[Any]) -> Array:
    return np.asarray(np.mean([s.y for s in states], axis=0))


TRACKING, SEVERAL = AccDngd(ETA, MU), Mudag(ETA, MU, SLEM)
THREE = Mudag(ETA, MU, SLEM, mixings=3)
SPAN = (L, CONVEX, HIGH, LOW)
CASES = [
    Case(TRACKING, acc_dngd, tuned=TRACKING, rounds=1500),
    Case(SEVERAL, mudag_as_it_comes, tracker, tuned=SEVERAL, rounds=1500),
    Case(THREE, mudag_3, tracker, tuned=THREE, rounds=1500, label="3 mixings"),
    Case(Opapc(*SPAN), opapc_as_it_comes, mean_dual, rounds=1500),
    Case(Opapc(*SPAN, mixings=1), apapc, mean_dual, label="APAPC", rounds=1500),
    Case(Opapc(*SPAN, mixings=4), opapc_4, mean_dual, rounds=1500, label="4 mixings"),
    Case(Ssda(*SPAN), ssda, mean_dual),
    Case(Msda(*SPAN), msda, mean_dual),
    Case(Msda(*SPAN, mixings=4), msda_4, mean_dual, label="4 mixings"),
]
