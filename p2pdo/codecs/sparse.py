"""Some of the entries: the largest, or some that are drawn.

The receiver must know which. The largest are told by their indices in ascending order, of two bytes
or four, or by a bit for each entry, whichever is less. Drawn ones need only the seed of the draw:
the k smallest of d numbers of PCG64, whose stream NumPy promises never to change.

Sources: top-k and rand-k of Stich, Cordonnier & Jaggi 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p2pdo.codecs.base import Codec, Parts, as_bytes, foreign
from p2pdo.errors import ConfigError
from p2pdo.types import Array

_SHORT = 1 << 16


@dataclass(frozen=True)
class _Entries(Codec):
    """A share of the entries."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"the share of entries that is kept must lie in (0, 1], got {self.share:g}",
                hint="for example top-k:0.1",
            )

    @property
    def least(self) -> float:  # type: ignore[override]
        return self.share

    def kept(self, d: int) -> int:
        """K."""
        return math.ceil(self.share * d)

    def contraction(self, d: int) -> float:
        return self.kept(d) / max(d, 1)


@dataclass(frozen=True)
class TopK(_Entries):
    """The entries of largest modulus; of those that are equally large the first ones."""

    def encode(self, v: Array, rng: np.random.Generator) -> Array:  # noqa: ARG002
        d, k = len(v), self.kept(len(v))
        if d == 0:
            return np.empty(0, np.uint8)
        size = np.abs(v)
        least = np.partition(size, d - k)[d - k]
        above, equal = np.flatnonzero(size > least), np.flatnonzero(size == least)
        indices = np.sort(np.concatenate([above, equal[: k - len(above)]]))
        return np.concatenate([_places(indices, d), as_bytes(v[indices])])

    def decode(self, sent: Any, like: Array) -> Array:
        d, k = len(like), self.kept(len(like))
        parts = Parts(sent, self.size(d, like.itemsize))
        indices = _indices(parts, d, k)
        whole = np.zeros_like(like)
        whole[indices] = parts.take(like.dtype, k)
        return whole

    def size(self, d: int, itemsize: int) -> int:
        k = self.kept(d)
        return min(_bits(d), k * _index(d).itemsize) + k * itemsize


@dataclass(frozen=True)
class RandK(_Entries):
    """Entries that are drawn without replacement."""

    draws: ClassVar[bool] = True

    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        seed = rng.integers(1 << 63, dtype=np.int64)
        return as_bytes(np.array([seed]), v[_drawn(int(seed), len(v), self.kept(len(v)))])

    def decode(self, sent: Any, like: Array) -> Array:
        d, k = len(like), self.kept(len(like))
        parts = Parts(sent, self.size(d, like.itemsize))
        (seed,) = parts.take(np.int64, 1).tolist()
        if seed < 0:
            raise foreign("no seed")
        whole = np.zeros_like(like)
        whole[_drawn(seed, d, k)] = parts.take(like.dtype, k)
        return whole

    def size(self, d: int, itemsize: int) -> int:
        return 8 + self.kept(d) * itemsize


def _drawn(seed: int, d: int, k: int) -> Array:
    """Ascending indices of k out of d, each set as likely as any other."""
    keys = np.random.PCG64(seed).random_raw(d)
    return np.sort(np.argsort(keys, kind="stable")[:k])


def _index(d: int) -> np.dtype[Any]:
    return np.dtype(np.uint16 if d <= _SHORT else np.uint32)


def _bits(d: int) -> int:
    return (d + 7) // 8


def _places(indices: Array, d: int) -> Array:
    if len(indices) * _index(d).itemsize < _bits(d):
        return as_bytes(indices.astype(_index(d)))
    chosen = np.zeros(d, bool)
    chosen[indices] = True
    return np.packbits(chosen)


def _indices(parts: Parts, d: int, k: int) -> Array:
    if k * _index(d).itemsize < _bits(d):
        indices = parts.take(_index(d), k).astype(np.int64)
        if k and (indices.max() >= d or not (indices[1:] > indices[:-1]).all()):
            raise foreign("indices that do not ascend within the vector")
        return indices
    indices = np.flatnonzero(np.unpackbits(parts.take(np.uint8, _bits(d)), count=d))
    if len(indices) != k:
        raise foreign(f"{len(indices)} entries where {k} should be")
    return indices
