"""Well-conditioned costs made from a seed.

What node i gets is a function of (seed, i): it does not change with the number of nodes, and a
node can make its own. The least-squares problems of one seed share the planted x they are noisy
measurements of, a function of the seed alone.

The streams' tags keep these draws apart from those that algorithms make with the same seed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from p2pdo.data.partition import require_iid
from p2pdo.errors import ConfigError
from p2pdo.problems.checks import nonnegative, whole_number
from p2pdo.problems.coupled import Coupled
from p2pdo.problems.distance import Distance, DistanceStack
from p2pdo.problems.least_squares import LeastSquares, LeastSquaresStack
from p2pdo.problems.private import PrivateDistance, fresh_secret
from p2pdo.problems.quadratic import Quadratic
from p2pdo.seeded import uniform
from p2pdo.types import Array

NODE_STREAM = 2
PLANTED_STREAM = 3
CENTRE_STREAM = 8
SMALLEST_EIGENVALUE = 1.0
LARGEST_EIGENVALUE = 10.0


def quadratic(
    node_index: int,
    nodes: int,  # noqa: ARG001  # every factory is called alike
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 10,
) -> Quadratic:
    """H with a random basis and eigenvalues uniform in [1, 10]; c standard normal."""
    require_iid(partition)
    d = whole_number("dimension", dimension)
    rng = _node_rng(seed, node_index)
    basis, _ = np.linalg.qr(rng.standard_normal((d, d)))
    eigenvalues = rng.uniform(SMALLEST_EIGENVALUE, LARGEST_EIGENVALUE, d)
    hessian = (basis * eigenvalues) @ basis.T
    hessian = (hessian + hessian.T) / 2
    return Quadratic(hessian.astype(dtype), rng.standard_normal(d).astype(dtype))


def least_squares(
    node_index: int,
    nodes: int,  # noqa: ARG001  # every factory is called alike
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 10,
    samples: int = 50,
    noise: float = 0.1,
) -> LeastSquares:
    """A standard normal with `samples` rows; b = A x + `noise` · standard normal."""
    require_iid(partition)
    d = whole_number("dimension", dimension)
    m = whole_number("samples", samples)
    sigma = nonnegative("noise", noise)
    rng = _node_rng(seed, node_index)
    rows = rng.standard_normal((m, d))
    measured = rows @ planted(seed, d) + sigma * rng.standard_normal(m)
    return LeastSquares(rows.astype(dtype), measured.astype(dtype))


def all_least_squares(
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 10,
    samples: int = 50,
    noise: float = 0.1,
) -> LeastSquaresStack:
    """`least_squares` of all nodes."""
    d, m = whole_number("dimension", dimension), whole_number("samples", samples)
    rows, measured = np.empty((nodes, m, d), dtype), np.empty((nodes, m), dtype)
    for i in range(nodes):
        made = least_squares(i, nodes, partition, seed, dtype, dimension=d, samples=m, noise=noise)
        rows[i], measured[i] = made.A, made.b
    return LeastSquaresStack(rows, measured, np.full(nodes, float(m)))


def averaging(
    node_index: int,
    nodes: int,  # noqa: ARG001  # every factory is called alike
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 10,
) -> Distance:
    """½ ‖x − cᵢ‖² with the entries of cᵢ uniform in [−1, 1)."""
    require_iid(partition)
    d = whole_number("dimension", dimension)
    own = range(node_index, node_index + 1)
    return Distance(uniform(seed, CENTRE_STREAM, own, d)[0].astype(dtype))


def averaging_private(
    node_index: int,
    nodes: int,
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 10,
) -> PrivateDistance:
    """`averaging` from the node's own point, with a secret that is drawn anew in every call."""
    public = averaging(node_index, nodes, partition, seed, dtype, dimension=dimension)
    return PrivateDistance(public.c, secret=fresh_secret())


def all_averaging(
    nodes: int, partition: str, seed: int, dtype: npt.DTypeLike, *, dimension: int = 10
) -> DistanceStack:
    """`averaging` of all nodes."""
    require_iid(partition)
    d = whole_number("dimension", dimension)
    return DistanceStack(uniform(seed, CENTRE_STREAM, range(nodes), d).astype(dtype, copy=False))


def allocation(
    node_index: int,
    nodes: int,  # noqa: ARG001  # every factory is called alike
    partition: str,
    seed: int,
    dtype: npt.DTypeLike,
    *,
    dimension: int = 3,
    decisions: int = 5,
    scarcity: float = 0.3,
) -> Coupled:
    """H in [1, 10], wishes c/h in [½, 1½] of what [0, 1] allows, uses A in [0, 1].

    The node's share of each resource is what it would like to use, less `scarcity` of it.
    """
    require_iid(partition)
    p, m = whole_number("dimension", dimension), whole_number("decisions", decisions)
    rng = _node_rng(seed, node_index)
    h = rng.uniform(SMALLEST_EIGENVALUE, LARGEST_EIGENVALUE, m)
    wishes, uses = rng.uniform(0.5, 1.5, m), rng.uniform(0, 1, (p, m))
    if not 0 <= scarcity < 1:
        raise ConfigError(f"scarcity must lie in [0, 1), got {scarcity}", hint="scarcity=0.3")
    share = (1 - scarcity) * uses @ np.minimum(wishes, 1)
    arrays = (h, h * wishes, np.zeros(m), np.ones(m), uses, share)
    return Coupled(*(a.astype(dtype) for a in arrays))


def planted(seed: int, dimension: int) -> Array:
    """The x that all nodes' least-squares problems of this seed measure."""
    return np.random.default_rng([seed, PLANTED_STREAM]).standard_normal(dimension)


def _node_rng(seed: int, node_index: int) -> np.random.Generator:
    return np.random.default_rng([seed, NODE_STREAM, node_index])
