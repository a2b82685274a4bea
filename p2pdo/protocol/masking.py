"""Sums of all nodes' numbers whose parts nobody sees: masks on the edges, which cancel.

Each two neighbours agree on a secret. Under it node i adds to its numbers what a pseudo-random
function makes of the iteration, and its neighbour subtracts the same:

    hidden_i = numbers_i + Σ_{j>i} PRF(secret_ij, k) − Σ_{j<i} PRF(secret_ij, k)     mod 2²¹⁷⁶

so the sum over all nodes is the sum of the numbers, and any fewer of a connected graph's hidden
numbers are uniform (Bonawitz et al. 2017, *Practical secure aggregation for privacy-preserving
machine learning*, over the edges of the graph and without dropouts: a node that is missing ends the
workload anyway). Who has a share of the secrets, because it is some of the nodes, learns the sum
over each connected piece of the graph without them.

Cancelling has to be exact, and is: a double is an integer multiple of 2⁻¹⁰⁷⁴ below 2¹⁰²⁴, and so
are sums of them. 2²¹⁷⁶ leaves room for 2⁷⁷ of the largest, with their sign. The function is
SHAKE-256 with the secret in front of what it hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from p2pdo.errors import LocalProtocolError

SHARE = 32
"""Bytes that each of two neighbours draws for their secret."""

WIDTH = 272
"""Bytes of a hidden number: two blocks of SHAKE-256."""

_UNIT = 1074  # of numbers: 2 to minus this
_BITS = 8 * WIDTH
_MASK = (1 << _BITS) - 1

Units: TypeAlias = int
"""A number in multiples of 2⁻¹⁰⁷⁴, modulo 2²¹⁷⁶."""


def agree(mine: bytes, theirs: bytes) -> bytes:
    """The secret of two neighbours, the same from either end."""
    return hashlib.sha3_256(b"".join(sorted((mine, theirs)))).digest()


def to_units(number: float) -> Units:
    """A finite number, exactly; its sign is lost in the modulus and found again."""
    numerator, denominator = number.as_integer_ratio()
    return (numerator << (_UNIT + 1 - denominator.bit_length())) & _MASK


def from_units(units: Units) -> float:
    """The nearest number; infinite beyond the largest."""
    signed = units - (1 << _BITS) if units >> (_BITS - 1) else units
    try:
        return signed / (1 << _UNIT)
    except OverflowError:
        return float("inf") if signed > 0 else float("-inf")


class Masks:
    """One node's, of one workload."""

    def __init__(self, node: int, secrets: Mapping[int, bytes]) -> None:
        """`secrets` has what was agreed with each neighbour, by its index."""
        self._node = node
        self._secrets = dict(secrets)
        self._last = -1

    def hide(self, iteration: int, numbers: Sequence[float]) -> bytes:
        """The numbers under this iteration's masks, `WIDTH` bytes each.

        Raises:
            LocalProtocolError: no later iteration than the last: two numbers under one mask would
                tell their difference.
            ValueError, OverflowError: one is not finite.
        """
        if iteration <= self._last:
            raise LocalProtocolError(
                f"node {self._node} hides iteration {iteration} after iteration {self._last}"
            )
        self._last = iteration
        totals = [to_units(number) for number in numbers]
        for neighbor, secret in self._secrets.items():
            asked = secret + iteration.to_bytes(8, "little")
            mask = split(hashlib.shake_256(asked).digest(len(totals) * WIDTH))
            sign = 1 if self._node < neighbor else -1
            totals = [total + sign * part for total, part in zip(totals, mask, strict=True)]
        return b"".join((total & _MASK).to_bytes(WIDTH, "little") for total in totals)


def split(hidden: bytes) -> list[Units]:
    """The hidden numbers in these bytes."""
    starts = range(0, len(hidden), WIDTH)
    return [int.from_bytes(hidden[at : at + WIDTH], "little") for at in starts]


def add(reports: Iterable[Sequence[Units]]) -> list[Units]:
    """Adds up reports of equal length, number by number."""
    return [sum(same) & _MASK for same in zip(*reports, strict=True)]


class MaskedSums:
    """Adds up the hidden numbers of all nodes, iteration by iteration.

    A node's reports come in order; nodes may be far apart, and any report may come twice or never.
    Of an iteration only the sum so far is kept, of at most `most` iterations: where there are more,
    those that can no longer be complete are given up, or else the newest.

    Attributes:
        looked_at: iterations whose sum was complete.
        passed_over: those between, or before the first, of which a report is missing.
    """

    def __init__(self, nodes: int, every: int, most: int = 8192) -> None:
        self.looked_at = 0
        self.passed_over = 0
        self._nodes = nodes
        self._every = every
        self._most = most
        self._heard: dict[int, int] = {}  # the last iteration of each node
        self._open: dict[int, tuple[int, list[Units]]] = {}  # of how many nodes, and their sum
        self._before: int | None = None  # the last iteration that was complete or passed over

    @property
    def kept(self) -> int:
        """Iterations that are not complete."""
        return len(self._open)

    def add(self, node: int, iteration: int, hidden: bytes) -> list[float] | None:
        """Takes a node's report; the sums of its iteration, if it was the last that was missing."""
        if iteration <= self._heard.get(node, -1):
            return None
        self._heard[node] = iteration
        if self._before is None:
            self._before = iteration - self._every
        if iteration <= self._before:
            return None
        units = split(hidden)
        count, total = self._open.pop(iteration, (0, [0] * len(units)))
        count, total = count + 1, add((total, units))
        if count < self._nodes:
            if count > 1 or self._has_room():
                self._open[iteration] = count, total
            return None
        self.looked_at += 1
        self.passed_over += (iteration - self._before) // self._every - 1
        self._before = iteration
        self._pass_over(iteration)
        return [from_units(units) for units in total]

    def _has_room(self) -> bool:
        if len(self._open) >= self._most and len(self._heard) == self._nodes:
            over = min(self._heard.values())  # up to there nobody will report any more
            self._open = {k: told for k, told in self._open.items() if k > over}
        return len(self._open) < self._most

    def _pass_over(self, iteration: int) -> None:
        """Drops those before it, which stay incomplete; they are at the front, or wait there."""
        while (first := next(iter(self._open), iteration)) < iteration:
            del self._open[first]
