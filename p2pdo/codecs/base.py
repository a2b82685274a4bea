"""What a codec is; see the package.

`Parts` reads what was sent. It comes from another node and is not believed: its length is known,
and each codec says what the rest must be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from p2pdo.errors import ConfigError, RemoteProtocolError
from p2pdo.types import Array


class Codec(ABC):
    """One operator Q with its parameters. Objects are immutable and equal where they do the same.

    Attributes:
        unbiased: whether E Q(v) = v.
        draws: whether `encode` draws random numbers.
        least: a δ > 0 of vectors of every length; 0 where there is none.
    """

    unbiased: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    least: float = 0.0

    @abstractmethod
    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        """What is sent for v, finite floats of shape (d,): `size` bytes as uint8."""

    @abstractmethod
    def decode(self, sent: Any, like: Array) -> Array:
        """Q(v), a new array of the shape and dtype of `like`.

        Raises:
            RemoteProtocolError: what was sent stands for no vector of this length.
        """

    @abstractmethod
    def size(self, d: int, itemsize: int) -> int:
        """Bytes that are sent for a vector of length d whose entries have so many."""

    @abstractmethod
    def contraction(self, d: int) -> float:
        """δ of vectors of length d; not positive where Q is no contraction."""


class Parts:
    """What was sent, read from its beginning."""

    def __init__(self, sent: Any, size: int) -> None:
        """Checks that it is so many bytes."""
        if not (isinstance(sent, np.ndarray) and sent.dtype == np.uint8 and sent.shape == (size,)):
            raise foreign(f"no {size} bytes")
        self._bytes = sent
        self._at = 0

    def take(self, dtype: Any, count: int) -> Array:
        """The next numbers: little-endian, in memory of their own, finite."""
        stored = np.dtype(dtype).newbyteorder("<")
        start, self._at = self._at, self._at + count * stored.itemsize
        numbers: Array = self._bytes[start : self._at].copy().view(stored).astype(dtype, copy=False)
        if stored.kind == "f":
            check_finite(numbers)
        return numbers

    def scale(self) -> float:
        """A number by which others are multiplied."""
        return float(self.take(np.float64, 1)[0])


def as_bytes(*arrays: Array) -> Array:
    """The numbers one behind another, little-endian."""
    stored = [a.astype(a.dtype.newbyteorder("<"), copy=False) for a in arrays]
    parts = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in stored]
    return parts[0].copy() if len(parts) == 1 else np.concatenate(parts)


def scale_bytes(value: float) -> Array:
    return as_bytes(np.array([value], np.float64))


def check_finite(numbers: Array) -> None:
    if not np.isfinite(numbers).all():
        raise foreign("numbers that are not finite")


def foreign(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"a compressed value holds {what}",
        hint="all nodes must run one algorithm with one codec on problems of one dimension",
    )


def require_contraction(operator: Codec, d: int, name: str) -> None:
    """Refuses an operator that is no contraction of vectors of length d."""
    if operator.contraction(d) <= 0:
        raise ConfigError(
            f"codec '{name}' is no contraction of vectors of length {d}: its errors grow",
            hint="take scaled-qsgd, or more levels",
        )
