"""Compression of vectors: a small form is sent, and computed with is what it stands for.

    sent = compressor.compress(v, rng)             # a pure function: equal draws, equal bytes
    Q(v) = compressor.restore(sent, like=v)        # at the sender and at every receiver alike

Operators are named in a parameter as "NAME" or "NAME:NUMBER":

    none             Q(v) = v
    top-k:SHARE      the ⌈SHARE·d⌉ entries of largest modulus             contraction, δ ≥ k/d
    rand-k:SHARE     ⌈SHARE·d⌉ entries drawn at random                    contraction, δ = k/d
    sign             ‖v‖₁/d · sign(v), one bit an entry                   contraction, δ ≥ 1/d
    qsgd:LEVELS      ‖v‖ sign(v) ξ, ξ one of 0, 1/s, …, 1 drawn so that E Q(v) = v    unbiased
    scaled-qsgd:LEVELS    the same divided by τ = 1 + min(d/s², √d/s)     contraction, δ = 1/τ

A contraction has E‖v − Q(v)‖² ≤ (1 − δ)‖v‖²: what methods with error feedback need. Entries are
sent as 32-bit indices with values of the dtype of v, levels as signed bytes, signs eight to a byte,
norms as one float64.

Sources: top-k and rand-k of Stich, Cordonnier & Jaggi 2018; QSGD of Alistarh, Grubic, Li, Tomioka
& Vojnović 2017, divided by τ in Koloskova, Stich & Jaggi 2019; the scaled sign of Karimireddy,
Rebjock, Stich & Jaggi 2019.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p2pdo.errors import ConfigError, RemoteProtocolError, did_you_mean
from p2pdo.types import Array, Value

MOST_LEVELS = 127
"""What a signed byte holds."""


class Compressor(ABC):
    """One operator Q with its parameters."""

    unbiased: ClassVar[bool] = False
    """Whether E Q(v) = v."""

    @abstractmethod
    def compress(self, v: Array, rng: np.random.Generator) -> Value:
        """What is sent for v of shape (d,)."""

    @abstractmethod
    def restore(self, sent: Any, like: Array) -> Array:
        """Q(v), of the shape and dtype of `like`.

        Raises:
            RemoteProtocolError: what was sent is no such form of a vector of this length.
        """

    @abstractmethod
    def contraction(self, d: int) -> float:
        """δ of vectors of length d; not positive where Q is no contraction."""


@dataclass(frozen=True)
class Uncompressed(Compressor):
    unbiased: ClassVar[bool] = True

    def compress(self, v: Array, rng: np.random.Generator) -> Value:  # noqa: ARG002
        return v

    def restore(self, sent: Any, like: Array) -> Array:
        return _vector(sent, like.dtype, len(like))

    def contraction(self, d: int) -> float:  # noqa: ARG002
        return 1.0


@dataclass(frozen=True)
class _Entries(Compressor):
    """Some of the entries, with their indices in ascending order."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"the share of entries that is kept must lie in (0, 1], got {self.share:g}",
                hint="for example top-k:0.1",
            )

    def kept(self, d: int) -> int:
        """K."""
        return math.ceil(self.share * d)

    def restore(self, sent: Any, like: Array) -> Array:
        indices, values = _pair(sent)
        k, d = self.kept(len(like)), len(like)
        indices = _vector(indices, np.dtype(np.uint32), k)
        if indices.max() >= d or not (indices[1:] > indices[:-1]).all():
            raise _foreign("indices that do not ascend within the vector")
        whole = np.zeros_like(like)
        whole[indices] = _vector(values, like.dtype, k)
        return whole

    def contraction(self, d: int) -> float:
        return self.kept(d) / d


@dataclass(frozen=True)
class TopK(_Entries):
    def compress(self, v: Array, rng: np.random.Generator) -> Value:  # noqa: ARG002
        """Of entries that are equally large the first ones are kept, so that it is a function."""
        size = np.abs(v)
        size[np.isnan(size)] = np.inf  # sent, so that it is found not to be finite
        k, d = self.kept(len(v)), len(v)
        least = np.partition(size, d - k)[d - k]
        above, equal = np.flatnonzero(size > least), np.flatnonzero(size == least)
        return _entries(v, np.concatenate([above, equal[: k - len(above)]]))


@dataclass(frozen=True)
class RandK(_Entries):
    def compress(self, v: Array, rng: np.random.Generator) -> Value:
        return _entries(v, rng.choice(len(v), self.kept(len(v)), replace=False))


@dataclass(frozen=True)
class ScaledSign(Compressor):
    def compress(self, v: Array, rng: np.random.Generator) -> Value:  # noqa: ARG002
        return float(np.abs(v).mean(dtype=np.float64)), np.packbits(v >= 0)

    def restore(self, sent: Any, like: Array) -> Array:
        scale, bits = _pair(sent)
        d = len(like)
        signs = np.unpackbits(_vector(bits, np.dtype(np.uint8), (d + 7) // 8), count=d)
        return (_scalar(scale) * (2.0 * signs - 1.0)).astype(like.dtype)

    def contraction(self, d: int) -> float:
        return 1 / d


@dataclass(frozen=True)
class Qsgd(Compressor):
    levels: int
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MOST_LEVELS:
            raise ConfigError(
                f"the number of levels must lie between 1 and {MOST_LEVELS}, got {self.levels}",
                hint="for example qsgd:15",
            )

    def compress(self, v: Array, rng: np.random.Generator) -> Value:
        norm = float(np.linalg.norm(v.astype(np.float64)))
        drawn = rng.random(len(v))
        if norm == 0:
            return norm, np.zeros(len(v), np.int8)
        heights = np.floor(self.levels * (np.abs(v.astype(np.float64)) / norm) + drawn)
        return norm, (np.sign(v) * np.minimum(heights, self.levels)).astype(np.int8)

    def restore(self, sent: Any, like: Array) -> Array:
        norm, heights = _pair(sent)
        heights = _vector(heights, np.dtype(np.int8), len(like))
        unit = _scalar(norm) / self.levels / self.divisor(len(like))
        return (unit * heights).astype(like.dtype)

    def divisor(self, d: int) -> float:  # noqa: ARG002
        return 1.0

    def variance(self, d: int) -> float:
        """ω, where E‖Q(v) − v‖² ≤ ω‖v‖² (Alistarh et al. 2017, lemma 3.1)."""
        return min(d / self.levels**2, math.sqrt(d) / self.levels)

    def contraction(self, d: int) -> float:
        return 1 - self.variance(d)


@dataclass(frozen=True)
class ScaledQsgd(Qsgd):
    unbiased: ClassVar[bool] = False

    def divisor(self, d: int) -> float:
        return 1 + self.variance(d)

    def contraction(self, d: int) -> float:
        return 1 / self.divisor(d)


_PLAIN: Mapping[str, Callable[[], Compressor]] = {"none": Uncompressed, "sign": ScaledSign}
_OF_SHARE: Mapping[str, Callable[[float], Compressor]] = {"top-k": TopK, "rand-k": RandK}
_OF_LEVELS: Mapping[str, Callable[[int], Compressor]] = {"qsgd": Qsgd, "scaled-qsgd": ScaledQsgd}


def compressor(text: str) -> Compressor:
    """The operator that a parameter names.

    Raises:
        ConfigError: there is none, or its number is missing, too much, or out of range.
    """
    name, colon, number = text.partition(":")
    try:
        if name in _PLAIN and not colon:
            return _PLAIN[name]()
        if name in _OF_SHARE:
            return _OF_SHARE[name](float(number))
        if name in _OF_LEVELS:
            return _OF_LEVELS[name](int(number))
    except ValueError:
        what, example = ("share of entries", 0.1) if name in _OF_SHARE else ("number of levels", 15)
        raise ConfigError(
            f"compressor '{text}' does not give the {what}", hint=f"for example {name}:{example}"
        ) from None
    known = [*_PLAIN, *_OF_SHARE, *_OF_LEVELS]
    if name in _PLAIN:
        raise ConfigError(f"compressor '{name}' takes no number", hint=f"write {name}")
    raise ConfigError(f"unknown compressor '{text}'", hint=did_you_mean(name, known))


def require_contraction(operator: Compressor, d: int, name: str) -> None:
    """Refuses an operator that is no contraction of vectors of length d."""
    if operator.contraction(d) <= 0:
        raise ConfigError(
            f"compressor '{name}' is no contraction of vectors of length {d}: its errors grow",
            hint=f"take scaled-{name}, or more levels",
        )


# ---- what is sent ----


def _entries(v: Array, indices: Array) -> Value:
    ascending = np.sort(indices)
    return ascending.astype(np.uint32), v[ascending]


def _pair(sent: Any) -> tuple[Any, Any]:
    if not (isinstance(sent, tuple) and len(sent) == 2):  # noqa: PLR2004 - a pair
        raise _foreign("no pair")
    return sent


def _vector(a: Any, dtype: np.dtype[Any], length: int) -> Array:
    if not (isinstance(a, np.ndarray) and a.dtype == dtype and a.shape == (length,)):
        raise _foreign(f"no {dtype} ({length},)")
    return a


def _scalar(value: Any) -> float:
    if not isinstance(value, float):
        raise _foreign("no number where the scale should be")
    return value


def _foreign(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"a compressed value holds {what}",
        hint="all nodes must run one algorithm with one compressor on problems of one dimension",
    )
