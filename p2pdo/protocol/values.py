"""What is exchanged, looked at: its bytes, its layout in words, whether it is finite."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from p2pdo.dtypes import is_bfloat16
from p2pdo.types import Array, Value


def size_of(value: Value) -> int:
    """Payload bytes of a value: its arrays' bytes, eight for a scalar."""
    if isinstance(value, ndarray):
        return value.nbytes
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, tuple):
        return 8
    total = 0
    for item in value:  # sooner than a sum
        if type(item) is ndarray:
            total += item.nbytes
        else:
            total += 8 if type(item) is int else size_of(item)
    return total


def is_finite(value: Value) -> bool:
    if type(value) is ndarray:
        return _is_finite_array(value)
    if isinstance(value, tuple):
        for item in value:
            if not (_is_finite_array(item) if type(item) is ndarray else is_finite(item)):
                return False
        return True
    if isinstance(value, ndarray):
        return _is_finite_array(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return bool(np.isfinite(value))


_FEW = 32
"""Entries of which Python makes the sum faster than NumPy the product."""


def _is_finite_array(a: Array) -> bool:
    """One pass without a temporary: a·a is finite, or, where it overflows, each entry is.

    Of NumPy's products this one alone warns of no overflow, and needs nobody to be quiet.
    """
    kind = a.dtype.kind
    if kind not in "fc":
        return not is_bfloat16(a.dtype) or bool(np.isfinite(a).all())
    if kind == "f" and a.size <= _FEW:
        flat = a if a.ndim == 1 else a.reshape(-1)
        if math.isfinite(sum(flat.tolist())):
            return True
    return cmath.isfinite(np.vdot(a, a)) or bool(np.isfinite(a).all())


def same_layout(a: Value, b: Value) -> bool:
    """Equal in structure, shapes and dtypes."""
    if isinstance(a, ndarray):
        return isinstance(b, ndarray) and a.shape == b.shape and a.dtype == b.dtype
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same_layout, a, b))
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and a.keys() == b.keys()
            and all(same_layout(a[key], b[key]) for key in a)
        )
    return not isinstance(b, np.ndarray | tuple | dict)


class Layout:
    """A value's layout, looked at once: an iteration exchanges what the last one did.

    Attributes:
        size: payload bytes.
    """

    __slots__ = ("_arrays", "_like", "size")

    def __init__(self, value: Value) -> None:
        self.size = size_of(value)
        self._like = _weightless(value)
        self._arrays: list[tuple[tuple[int, ...], np.dtype[Any]]] | None = None
        if isinstance(value, tuple):  # of arrays alone, as what is mixed mostly is
            arrays = [(v.shape, v.dtype) for v in value if isinstance(v, ndarray)]
            self._arrays = arrays if len(arrays) == len(value) else None

    def fits(self, value: Value) -> bool:
        """`same_layout` as the value's that it was made of."""
        arrays = self._arrays
        if arrays is None or type(value) is not tuple or len(value) != len(arrays):
            return same_layout(self._like, value)
        for v, (shape, dtype) in zip(value, arrays):  # noqa: B905 - their lengths are equal
            if not isinstance(v, ndarray) or v.shape != shape or v.dtype != dtype:
                return False
        return True


def _weightless(value: Value) -> Value:
    """A value laid out alike that takes no memory for its numbers."""
    if isinstance(value, ndarray):
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)
    if isinstance(value, tuple):
        return tuple(map(_weightless, value))
    if isinstance(value, dict):
        return {key: _weightless(item) for key, item in value.items()}
    return value


def describe(value: Any) -> str:
    """A value's layout for people: 'float64 (31,)'."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    return type(value).__name__


def differences(own: Value, theirs: Value, where: str = "") -> Iterator[str]:
    """Where two values are not laid out alike, in words, from the first difference on."""
    if isinstance(own, dict) and isinstance(theirs, dict):
        for key in own:
            if key not in theirs:
                yield f"'{_join(where, key)}' is {describe(own[key])} here and absent there"
            else:
                yield from differences(own[key], theirs[key], _join(where, key))
        for key in theirs:
            if key not in own:
                yield f"'{_join(where, key)}' is absent here and {describe(theirs[key])} there"
    elif isinstance(own, tuple) and isinstance(theirs, tuple) and len(own) == len(theirs):
        for i, (a, b) in enumerate(zip(own, theirs, strict=True)):
            yield from differences(a, b, _join(where, str(i)))
    elif not same_layout(own, theirs):
        place = f"'{where}' is " if where else ""
        yield f"{place}{describe(own)} here, {describe(theirs)} there"


def leaves(value: Value, where: str = "") -> Iterator[tuple[str, Value]]:
    """Every array and scalar with the names that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, _join(where, key))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from leaves(item, where if len(value) == 1 else _join(where, str(i)))
    else:
        yield where, value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
