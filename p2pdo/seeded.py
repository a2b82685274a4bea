"""Numbers that are a function of (seed, stream, node, entry), for any number of nodes at once.

A generator of its own for each node costs tens of microseconds, which 10⁶ nodes feel. Here entry k
of node i is the mixed counter i·2³² + k of SplitMix64 (Steele, Lea & Flood 2014, *Fast splittable
pseudorandom number generators*), whose gamma is odd and whose start comes from (seed, stream): a
node alone and a million of them make the same numbers.
"""

from __future__ import annotations

import numpy as np

from p2pdo.types import Array

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_BLOCK = 1 << 16  # rows whose temporaries are made at a time


def uniform(seed: int, stream: int, nodes: range, dimension: int) -> Array:
    """Entries uniform in [−1, 1), of shape (len(nodes), dimension), for consecutive nodes."""
    numbers = np.empty((len(nodes), dimension))
    key = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    entries = np.arange(1, dimension + 1, dtype=np.uint64)
    for at in range(0, len(nodes), _BLOCK):
        block = numbers[at : at + _BLOCK]
        first = nodes.start + at
        rows = np.arange(first, first + len(block), dtype=np.uint64) << np.uint64(32)
        block[...] = _unit(key + (rows[:, None] + entries) * _GAMMA)
        block *= 2
        block -= 1
    return numbers


def unit_of_keys(keys: Array, stream: tuple[int, ...]) -> Array:
    """A number in [0, 1) for each key (uint64): a function of the key and the stream."""
    start = np.random.SeedSequence(stream).generate_state(1, np.uint64)
    return _unit(start + (keys + np.uint64(1)) * _GAMMA)


def _unit(z: Array) -> Array:
    """The mixed counters as numbers in [0, 1)."""
    for shift, factor in _MIX:
        z ^= z >> shift
        z *= factor
    z ^= z >> np.uint64(31)
    unit: Array = (z >> np.uint64(11)) * 2.0**-53
    return unit
