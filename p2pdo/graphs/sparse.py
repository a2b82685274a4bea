"""SciPy's sparse matrices, for what is large; everything has another way where it is not installed.

SciPy's product of a compressed matrix adds each row from zero in the order of its entries, multiply
and add as separate operations: the bits of `Row.weighted_sum`. A build whose compiler fused the two
(as it may on ARM) has other bits, so `rounds_products` asks it once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from p2pdo.types import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
LARGE = 100_000
"""Multiplications from which on a product is worth SciPy's import."""


def matrix(parts: tuple[Array, Array, Array], n: int, columns: int | None = None) -> Any:
    """The matrix of (data, indices, indptr) with n rows and as many columns, or so many."""
    from scipy.sparse import csr_array

    return csr_array(parts, shape=(n, n if columns is None else columns))


def reached(indptr: Array, indices: Array, n: int) -> Array | None:
    """The nodes that a search from node 0 finds, 0 among them; None without SciPy."""
    try:
        from scipy.sparse.csgraph import breadth_first_order
    except ImportError:
        return None
    links = matrix((np.ones(len(indices), np.int8), indices, indptr), n)
    found: Array = breadth_first_order(links, 0, return_predecessors=False)
    return found


@cache
def rounds_products() -> bool:
    """Whether SciPy is there and rounds each product before it is added.

    With x = 1 + ε, where ε² is below the last digit of x², −x² rounded plus x·x is zero; fused, it
    is ε².
    """
    try:
        import scipy.sparse  # noqa: F401
    except ImportError:
        return False
    return all(_rounds(dtype, columns) for dtype in FLOATS for columns in (1, 2, 16))


def _rounds(dtype: np.dtype[Any], columns: int) -> bool:
    x = dtype.type(1) + np.sqrt(np.finfo(dtype).eps) / dtype.type(4)
    data = np.array([-(x * x), x, 0], dtype)
    row = matrix((data, np.array([0, 1, 0]), np.array([0, 2, 3])), 2)
    values = np.repeat(np.array([[1], [x]], dtype), columns, axis=1)
    return not (row @ values)[0].any()
