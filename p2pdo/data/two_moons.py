"""Two moons: interleaved half circles with noise, told apart by logistic regression of a cubic.

Sample k of the network is on the upper moon (label +1) where k is even, else on the lower one
(−1), at a random angle. The features are the ten monomials of both coordinates up to degree three,
so the line between the moons may bend; d = 10.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from p2pdo.data.held_out import own_rows, split
from p2pdo.problems.checks import nonnegative, whole_number
from p2pdo.problems.logistic import Logistic
from p2pdo.types import Array

MOONS_STREAM = 11
DEGREE = 3


def two_moons(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    samples: int = 400,
    noise: float = 0.1,
    l2: float = 0.01,
    test: float = 0.0,
) -> Logistic:
    """This node's part of `samples` points; the penalty is shared out evenly."""
    points, labels = moons(whole_number("samples", samples), nonnegative("noise", noise), seed)
    rows, m = own_rows(labels, node_index, nodes, partition, seed, test)
    features = monomials(points[rows]).astype(dtype)
    return Logistic(features, labels[rows].astype(dtype), samples=m, l2=l2 / nodes)


def held_out(
    seed: int, *, test: float, samples: int = 400, noise: float = 0.1, **_others: float
) -> Logistic:
    """The points that no node has, as a cost; there are some."""
    points, labels = moons(samples, noise, seed)
    _, rows = split(labels, test, seed)
    return Logistic(monomials(points[rows]), labels[rows], samples=len(rows), l2=0.0)


def moons(samples: int, noise: float, seed: int) -> tuple[Array, Array]:
    """Points (samples, 2) around the origin and labels ±1 (samples,)."""
    rng = np.random.default_rng([seed, MOONS_STREAM])
    angle = rng.uniform(0, np.pi, samples)
    labels = np.where(np.arange(samples) % 2 == 0, 1.0, -1.0)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * labels[:, None]
    points = circle - labels[:, None] * np.array([0.5, 0.25])
    return points + noise * rng.standard_normal((samples, 2)), labels


def monomials(points: Array) -> Array:
    """1, y, y², y³, x, xy, xy², x², x²y, x³ of each point, shape (m, 10)."""
    x, y = points.T
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([x**i * y**j for i, j in powers], axis=1)
