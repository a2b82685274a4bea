"""Eigenvalues of weights that look the same from every node.

Where wᵢⱼ depends on j − i alone, in a commutative group whose elements are the nodes, the Fourier
transform of node 0's row is all eigenvalues of W, and the transforms of several such matrices
multiply as the matrices do. Rings and exponential graphs are of the cyclic group, a torus of the
product of its two rings, a hypercube of binary digits without carry.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from p2pdo.graphs.topologies import sides
from p2pdo.graphs.weights import Weights
from p2pdo.types import Array

ROUNDING = 2.0**-52
"""Times the entries of a row: a node's own weight is what others leave, added in its own order."""


class Group(NamedTuple):
    """Nodes as tuples of digits, the last one counting up first; each digit wraps round."""

    shape: tuple[int, ...]

    def differences(self, i: Array, j: Array) -> Array:
        """The node that j − i is."""
        if set(self.shape) == {2}:
            return np.asarray(i ^ j)
        columns = self.shape[-1]
        rows = (j // columns - i // columns) % (math.prod(self.shape[:-1]))
        return np.asarray(rows * columns + (j - i) % columns)


def by_symmetry(phases: Sequence[Weights]) -> Array | None:
    """The eigenvalues of the product of these weights, all of the same nodes.

    None where they are not alike from every node in one of the groups that topologies have.
    """
    for group in _groups(phases[0].n):
        product = np.ones(group.shape, complex)
        for weights in phases:
            row = _row_of_all(weights, group)
            if row is None:
                break
            product = product * np.fft.fftn(row)
        else:
            return np.asarray(product.ravel())
    return None


def _groups(n: int) -> Iterator[Group]:
    yield Group((n,))
    rows, columns = sides(n)
    if rows > 1:
        yield Group((rows, columns))
    if n & (n - 1) == 0:
        yield Group((2,) * (n.bit_length() - 1))


def _row_of_all(weights: Weights, group: Group) -> Array | None:
    """W by the difference that it depends on, of the group's shape; None if on more than that."""
    n, entries = weights.n, len(weights.data) // weights.n
    if (np.diff(weights.indptr) != entries).any():
        return None
    apart = group.differences(weights.rows, weights.indices).reshape(n, entries)
    data = weights.data.reshape(n, entries)
    order = apart.argsort(axis=1)
    apart, data = (np.take_along_axis(a, order, axis=1) for a in (apart, data))
    if (apart != apart[0]).any() or (np.abs(data - data[0]) > ROUNDING * entries).any():
        return None
    row = np.zeros(n)
    row[apart[0]] = data[0]
    return row.reshape(group.shape)
