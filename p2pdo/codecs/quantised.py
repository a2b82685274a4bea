"""Entries as few levels beside a common scale.

s levels are the 2s + 1 numbers −s … s, which take ⌈log₂(2s + 1)⌉ bits each. Where an entry lies
between two, it goes to one of them with the probability that keeps its mean.

Sources: QSGD of Alistarh, Grubic, Li, Tomioka & Vojnović 2017, divided by τ in Koloskova, Stich &
Jaggi 2019; of the largest modulus in blocks in Liu, Li, Wang, Tang & Yan 2021, section 5; the
scaled sign of Karimireddy, Rebjock, Stich & Jaggi 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p2pdo.codecs.base import Codec, Parts, as_bytes, foreign, scale_bytes
from p2pdo.errors import ConfigError
from p2pdo.types import Array

MOST_LEVELS = 127
"""What eight bits hold."""

BLOCK = 512
"""Entries with one scale."""


@dataclass(frozen=True)
class ScaledSign(Codec):
    """One bit an entry."""

    def encode(self, v: Array, rng: np.random.Generator) -> Array:  # noqa: ARG002
        scale = float(np.sum(np.abs(v) / max(len(v), 1), dtype=np.float64))
        return np.concatenate([scale_bytes(scale), np.packbits(v >= 0)])

    def decode(self, sent: Any, like: Array) -> Array:
        d = len(like)
        parts = Parts(sent, self.size(d, like.itemsize))
        scale = parts.scale()
        signs = np.unpackbits(parts.take(np.uint8, (d + 7) // 8), count=d)
        return (scale * (2.0 * signs - 1.0)).astype(like.dtype)

    def size(self, d: int, itemsize: int) -> int:  # noqa: ARG002
        return 8 + (d + 7) // 8

    def contraction(self, d: int) -> float:
        return 1 / max(d, 1)


@dataclass(frozen=True)
class _Levels(Codec):
    """s levels."""

    levels: int
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MOST_LEVELS:
            raise ConfigError(
                f"the number of levels must lie between 1 and {MOST_LEVELS}, got {self.levels}",
                hint="for example 15, as in max-qsgd:15",
            )

    @property
    def _width(self) -> int:
        """Bits an entry."""
        return (2 * self.levels).bit_length()

    def _packed_size(self, d: int) -> int:
        return (d * self._width + 7) // 8

    def _drawn(self, v: Array, scales: Array, rng: np.random.Generator) -> Array:
        """The levels of v, whose entries are at most `scales`; zero where that is."""
        drawn = rng.random(len(v))
        parts = np.abs(v.astype(np.float64)) / np.where(scales > 0, scales, 1.0)
        heights = np.minimum(np.floor(self.levels * parts + drawn), self.levels)
        return np.where(scales > 0, np.sign(v) * heights, 0.0).astype(np.int16)

    def _pack(self, heights: Array) -> Array:
        codes = (heights + self.levels).astype(np.uint8)
        bits = np.unpackbits(codes[:, None], axis=1)[:, 8 - self._width :]
        return np.packbits(bits.reshape(-1))

    def _unpack(self, parts: Parts, d: int) -> Array:
        packed = parts.take(np.uint8, self._packed_size(d))
        bits = np.unpackbits(packed, count=d * self._width).reshape(d, self._width)
        wide = np.zeros((d, 8), np.uint8)
        wide[:, 8 - self._width :] = bits
        codes = np.packbits(wide, axis=1)[:, 0].astype(np.int16)
        if codes.max(initial=0) > 2 * self.levels:
            raise foreign("a level that there is not")
        return codes - np.int16(self.levels)


@dataclass(frozen=True)
class Qsgd(_Levels):
    """Levels of the Euclidean norm."""

    unbiased: ClassVar[bool] = True

    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        norm = _norm(v.astype(np.float64))
        heights = self._drawn(v, np.full(len(v), norm), rng)
        return np.concatenate([scale_bytes(norm), self._pack(heights)])

    def decode(self, sent: Any, like: Array) -> Array:
        d = len(like)
        parts = Parts(sent, self.size(d, like.itemsize))
        unit = parts.scale() / self.levels / self.divisor(d)
        return (unit * self._unpack(parts, d)).astype(like.dtype)

    def size(self, d: int, itemsize: int) -> int:  # noqa: ARG002
        return 8 + self._packed_size(d)

    def divisor(self, d: int) -> float:  # noqa: ARG002
        return 1.0

    def variance(self, d: int) -> float:
        """ω, where E‖Q(v) − v‖² ≤ ω‖v‖² (Alistarh et al. 2017, lemma 3.1)."""
        return min(d / self.levels**2, math.sqrt(d) / self.levels)

    def contraction(self, d: int) -> float:
        return 1 - self.variance(d)


@dataclass(frozen=True)
class ScaledQsgd(Qsgd):
    """The same, shrunk until it is a contraction."""

    unbiased: ClassVar[bool] = False

    def divisor(self, d: int) -> float:
        return 1 + self.variance(d)

    def contraction(self, d: int) -> float:
        return 1 / self.divisor(d)


@dataclass(frozen=True)
class MaxQsgd(_Levels):
    """Levels of the largest modulus of each block of 512 entries."""

    unbiased: ClassVar[bool] = True

    @property
    def least(self) -> float:  # type: ignore[override]
        return max(0.0, self.contraction(BLOCK))

    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        size = np.abs(v.astype(np.float64))
        scales = np.maximum.reduceat(size, np.arange(0, len(v), BLOCK)) if len(v) else size
        heights = self._drawn(v, np.repeat(scales, BLOCK)[: len(v)], rng)
        return np.concatenate([as_bytes(scales), self._pack(heights)])

    def decode(self, sent: Any, like: Array) -> Array:
        d = len(like)
        parts = Parts(sent, self.size(d, like.itemsize))
        scales = parts.take(np.float64, _blocks(d))
        units = np.repeat(scales / self.levels, BLOCK)[:d]
        return (units * self._unpack(parts, d)).astype(like.dtype)

    def size(self, d: int, itemsize: int) -> int:  # noqa: ARG002
        return 8 * _blocks(d) + self._packed_size(d)

    def variance(self, d: int) -> float:
        """ω: an entry's variance is at most a quarter of a level's square."""
        return min(d, BLOCK) / (4 * self.levels**2)

    def contraction(self, d: int) -> float:
        return 1 - self.variance(d)


def _norm(v: Array) -> float:
    """‖v‖; of finite numbers a finite one."""
    largest = float(np.abs(v).max(initial=0.0))
    if largest == 0:
        return 0.0
    return float(min(largest * float(np.linalg.norm(v / largest)), np.finfo(np.float64).max))


def _blocks(d: int) -> int:
    return -(-d // BLOCK)
