"""Entries of fewer bits.

IEEE's 16 bits reach from 6·10⁻⁸ to 65504, which a vector that shrinks to nothing or grows leaves
soon. So fp16 divides by the power of two above the largest modulus first, which is exact, and sends
its exponent: an entry is off by 2⁻¹¹ of itself, or where it is small by 2⁻²⁵ of the largest one.
bf16 has the range of float32, and is off by 2⁻⁹ of each entry; below 10⁻³⁸ it is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p2pdo.codecs.base import Codec, Parts, as_bytes, check_finite
from p2pdo.types import Array


@dataclass(frozen=True)
class Uncompressed(Codec):
    """The vector itself."""

    unbiased: ClassVar[bool] = True
    least = 1.0

    def encode(self, v: Array, rng: np.random.Generator) -> Array:  # noqa: ARG002
        return as_bytes(v)

    def decode(self, sent: Any, like: Array) -> Array:
        return Parts(sent, like.nbytes).take(like.dtype, len(like))

    def size(self, d: int, itemsize: int) -> int:
        return d * itemsize

    def contraction(self, d: int) -> float:  # noqa: ARG002
        return 1.0


@dataclass(frozen=True)
class Float16(Codec):
    """IEEE half precision beside a common power of two."""

    least = 0.99  # of less than 10¹² entries

    def encode(self, v: Array, rng: np.random.Generator) -> Array:  # noqa: ARG002
        with np.errstate(under="ignore"):
            _, exponent = np.frexp(np.abs(v).max(initial=0.0))
            halves = np.ldexp(v, -exponent).astype(np.float16)
        return as_bytes(np.array([exponent], np.int16), halves)

    def decode(self, sent: Any, like: Array) -> Array:
        parts = Parts(sent, self.size(len(like), like.itemsize))
        (exponent,) = parts.take(np.int16, 1).tolist()
        halves = parts.take(np.float16, len(like))
        with np.errstate(over="ignore", under="ignore"):
            v: Array = np.ldexp(halves.astype(like.dtype), exponent)
        check_finite(v)
        return v

    def size(self, d: int, itemsize: int) -> int:  # noqa: ARG002
        return 2 + 2 * d

    def contraction(self, d: int) -> float:
        return 1 - (2.0**-11 + math.sqrt(d) * 2.0**-25) ** 2


@dataclass(frozen=True)
class BFloat16(Codec):
    """The upper half of float32, to the nearest, ties to even."""

    least = 0.99

    def encode(self, v: Array, rng: np.random.Generator) -> Array:  # noqa: ARG002
        with np.errstate(over="ignore", under="ignore"):
            bits = v.astype(np.float32).view(np.uint32)
        upper = np.minimum((bits & _NO_SIGN) + _HALF + ((bits >> 16) & 1), _LARGEST)
        return as_bytes(((upper | (bits & ~_NO_SIGN)) >> 16).astype(np.uint16))

    def decode(self, sent: Any, like: Array) -> Array:
        bits = Parts(sent, 2 * len(like)).take(np.uint16, len(like)).astype(np.uint32) << 16
        v = bits.view(np.float32).astype(like.dtype)
        check_finite(v)
        return v

    def size(self, d: int, itemsize: int) -> int:  # noqa: ARG002
        return 2 * d

    def contraction(self, d: int) -> float:  # noqa: ARG002
        return 1 - 2.0**-16  # the largest float32 and above are cut to it


_NO_SIGN = np.uint32(0x7FFFFFFF)
_HALF = np.uint32(0x7FFF)
_LARGEST = np.uint32(0x7F7FFFFF)
