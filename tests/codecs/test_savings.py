"""What compression saves where d is large: the same accuracy for a fraction of the real bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Beer, ChocoSgd, Dgd, GradientTracking, Lead, Nids
from p2pdo.algorithms.base import Algorithm
from p2pdo.reporting.records import Summary
from p2pdo.types import Array

pytestmark = pytest.mark.slow

D, NODES, ROWS, RIDGE = 5000, 4, 60, 0.1


@dataclass(frozen=True, eq=False)
class Ridge:
    """‖Ax − b‖²/(2m) + (λ/2)‖x‖², with far fewer rows than columns."""

    A: Array
    b: Array

    @property
    def dimension(self) -> int:
        return self.A.shape[1]

    def value(self, x: Array) -> float:
        r = self.A @ x - self.b
        return float(r @ r / (2 * len(r)) + RIDGE / 2 * (x @ x))

    def gradient(self, x: Array) -> Array:
        return np.asarray(self.A.T @ (self.A @ x - self.b) / len(self.b) + RIDGE * x)

    @staticmethod
    def minimiser(problems: list[Ridge]) -> Array:
        """By the rows' Gram matrix, which is small."""
        A = np.vstack([p.A / len(p.b) ** 0.5 for p in problems])
        b = np.concatenate([p.b / len(p.b) ** 0.5 for p in problems])
        gram = A @ A.T + len(problems) * RIDGE * np.eye(len(b))
        return np.asarray(A.T @ np.linalg.solve(gram, b))


@cache
def costs() -> list[Ridge]:
    rng = np.random.default_rng(0)
    scale = (ROWS / D) ** 0.5
    return [
        Ridge(rng.standard_normal((ROWS, D)) * scale, 3 * rng.standard_normal(ROWS))
        for _ in range(NODES)
    ]


def step() -> float:
    """1/L."""
    return 1 / (max(np.linalg.norm(p.A, 2) ** 2 / ROWS for p in costs()) + RIDGE)


def run(algorithm: Algorithm[Any], **how: Any) -> Summary:
    how = {"on": "dense", "observe_every": 10, "rounds": 600, **how}
    return p2pdo.run(costs(), algorithm=algorithm, **how).summary


def test_lead_reaches_the_optimum_with_a_tenth_of_the_bytes_of_nids() -> None:
    plain = run(Nids(step()), tol=1e-8)
    small = run(Lead(step(), 0.8, 0.5, "max-qsgd:7"), tol=1e-8)
    assert (plain.status, small.status) == ("converged", "converged")
    assert small.bytes_sent < plain.bytes_sent / 10


def test_beer_reaches_the_optimum_with_a_tenth_of_the_bytes_of_gradient_tracking() -> None:
    plain = run(GradientTracking(0.3 * step()), tol=1e-8)
    small = run(Beer(0.3 * step(), 0.7, "max-qsgd:15"), tol=1e-8)
    assert (plain.status, small.status) == ("converged", "converged")
    assert small.bytes_sent < plain.bytes_sent / 10


def test_gradient_tracking_by_copies_needs_as_few() -> None:
    plain = run(GradientTracking(0.3 * step()), tol=1e-8)
    small = run(GradientTracking(0.3 * step()), tol=1e-8, codec="max-qsgd:15,step=0.9")
    assert (plain.status, small.status) == ("converged", "converged")
    assert small.bytes_sent < plain.bytes_sent / 10


@pytest.mark.parametrize(
    ("algorithm", "rounds"),
    [(ChocoSgd(0.05, 1.0, "max-qsgd:15"), 600), (ChocoSgd(0.0125, 0.3, "top-k:0.05"), 1500)],
    ids=["max-qsgd", "top-k"],
)
def test_choco_sgd_ends_as_near_as_dgd_with_a_fifth_of_the_bytes(
    algorithm: Algorithm[Any], rounds: int
) -> None:
    plain = run(Dgd(0.05))
    small = run(algorithm, rounds=rounds)
    assert plain.gap is not None
    assert small.gap is not None
    assert small.gap <= plain.gap
    assert small.bytes_sent < plain.bytes_sent / 5
