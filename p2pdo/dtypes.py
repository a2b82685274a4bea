"""What an array that is exchanged may hold: NumPy's numbers, and bfloat16 where that is installed.

NumPy has no bfloat16; `ml_dtypes`, which JAX brings, gives it one, of the kind of raw bytes ("V").
So it is known here by its name, and nowhere by its kind. It is imported when the first such array
is met or comes from a neighbour. What is imported stands here: no byte from a network chooses it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

BFLOAT16 = "bfloat16"
DTYPES = (
    *("float64", "float32", "float16", "complex128", "complex64", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
    BFLOAT16,
)

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


@cache
def bfloat16() -> np.dtype[Any] | None:
    """The dtype; None where `ml_dtypes` is not installed."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


@cache
def dtype_named(name: str) -> np.dtype[Any] | None:
    """One of `DTYPES`; None where it is no such name, or is not installed."""
    if name == BFLOAT16:
        return bfloat16()
    return np.dtype(name) if name in DTYPES else None


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "V" and dtype.name == BFLOAT16 and dtype == bfloat16()


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether it holds means: real or complex floating-point numbers."""
    return dtype.kind in "fc" or is_bfloat16(dtype)


def is_half(dtype: np.dtype[Any]) -> bool:
    """float16 or bfloat16."""
    return dtype.itemsize == 2 and is_inexact(dtype)  # noqa: PLR2004 - bytes


def summed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The precision in which a weighted sum of such arrays is taken.

    Halves are summed in float32, and the sum is rounded once: three weights of ⅓ that were rounded
    to float16 would add up to 0.99976, and a mean would shrink by that in every iteration.
    """
    if is_half(dtype):
        return _FLOAT32
    return dtype if is_inexact(dtype) else _FLOAT64
