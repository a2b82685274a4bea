"""Averages of numbers that nobody is shown: masks between neighbours that add up to nothing.

What a node sends in the first round that mixes is its number under one mask for each neighbour, and
all later values are functions of these. The masks are exact opposites, so the sum over the network,
and with it the mean that doubly stochastic mixing goes to, is that of the numbers.

What it gives, and what not. Two neighbours know their mask. All others together, but for a set of
honest nodes that its own edges connect, learn the sum of that set's numbers, which the mean tells
them anyway, and beside it what the masks leave: no test tells numbers of two honest neighbours, of
which one is up and the other down by Δ in an entry, apart by more than |Δ| / (2σ), σ the `spread`.
So σ is to be far larger than the numbers, and rounding costs as many digits. A node without an
honest neighbour has nothing to hide behind; who reads the links reads the shares. A node that lies
or leaves in the middle spoils the mean: p2pdo ends a run that loses one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.invariants import Invariant, zero_mean
from p2pdo.effects import Here, Step, exchange_each, mix
from p2pdo.problems.base import Secret
from p2pdo.types import Array

SHARE = 32
"""Bytes that each of two neighbours draws for the seed of their mask."""


class MaskedState(NamedTuple):
    x: Array  # estimate of the mean, under masks at first, shape (d,)
    m: Array  # the masks that were added to x, shape (d,)


@dataclass(frozen=True)
class MaskedConsensus(Algorithm[MaskedState]):
    """Consensus under zero-sum masks (GOPA of Sabater, Bellet & Ramon 2022, without its own noise).

    first xᵢ ← xᵢ + Σⱼ sᵢⱼ        sᵢⱼ = −sⱼᵢ uniform in [−σ, σ) from the seed of i and j
    then x⁺ᵢ = Σⱼ wᵢⱼ xⱼ

    `spread` is σ. The first iteration exchanges the shares of the seeds, 32 bytes an edge and end,
    drawn from the secret that the node's problem keeps; a problem without one is refused. Assumes W
    doubly stochastic, an undirected graph. Limit: the plain mean of the starts, to rounding of
    numbers of the size σ. Invariant: mean s = 0.
    """

    spread: float = 1000.0

    mixes: ClassVar[bool] = False
    requires: ClassVar[Requires] = Requires(Stochastic.DOUBLY, oracle=Secret, undirected=True)
    limit: ClassVar[Limit] = Limit.MEAN
    invariants: ClassVar[tuple[Invariant, ...]] = (zero_mean("m"),)

    def __post_init__(self) -> None:
        require_positive("spread", self.spread)

    def init(self, x: Array, problem: Secret, here: Here) -> MaskedState:  # noqa: ARG002
        return MaskedState(x, np.zeros_like(x))

    def step(self, s: MaskedState, problem: Secret, here: Here) -> Step[MaskedState]:
        if here.iteration:
            return MaskedState((yield from mix(s.x)), s.m)
        rng = problem.private_rng(here)
        shares = {j: rng.bytes(SHARE) for j in here.out_neighbors}
        theirs = yield from exchange_each(
            {j: np.frombuffer(share, np.uint8) for j, share in shares.items()}
        )
        m = s.m
        for j in here.in_neighbors:
            mask = uniform(agreed(shares[j], theirs[j].tobytes()), len(m))
            part = (self.spread * mask).astype(m.dtype)
            m = m + part if here.node < j else m - part
        return MaskedState(s.x + m, m)


def agreed(mine: bytes, theirs: bytes) -> bytes:
    """The seed of two neighbours, the same from either end."""
    return hashlib.sha3_256(b"".join(sorted((mine, theirs)))).digest()


def uniform(seed: bytes, d: int) -> Array:
    """In [−1, 1), shape (d,): multiples of 2⁻⁵², so that every machine has the same."""
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * d), "<u8") >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-52 - 1
