"""Digests. One hash tells whether two runs ended in the same bits.

A node hashes its own final x: the SHA-256 of its elements in C order, little-endian, in their own
dtype. The run's hash is the SHA-256 of these 32-byte digests one after the other, in the order of
the workload's nodes. So it can be formed where the states are not: nodes send digests only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.types import Array, States


def digest_of(x: Array) -> bytes:
    """The 32 bytes for one node's x; its memory layout and byte order do not matter."""
    x = np.asarray(x)
    if x.dtype.hasobject:
        raise ConfigError(
            "a state of Python objects has no digest", hint="return x as an array of numbers"
        )
    x = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("<"), copy=False))
    # Read in place: a copy would be made under the interpreter's lock, and a large one made while
    # nothing else can run, not even what tells the coordinator that this node is alive.
    return sha256(x.reshape(-1).view(np.uint8).data).digest()


def combine_digests(digests: Iterable[bytes]) -> str:
    """The run's hash, in hex, from its nodes' digests in node order."""
    return sha256(b"".join(digests)).hexdigest()


def state_sha256(states: States) -> str:
    """The run's hash, in hex, from its nodes' final x in node order."""
    if isinstance(states, np.ndarray) and states.size and not states.dtype.hasobject:
        return combine_digests(_digests_of_rows(states))
    return combine_digests(digest_of(x) for x in states)


def _digests_of_rows(states: Array) -> Iterator[bytes]:
    """What `digest_of` gives for each row, without an array of each."""
    little = np.ascontiguousarray(states.astype(states.dtype.newbyteorder("<"), copy=False))
    content = little.reshape(-1).view(np.uint8).data
    width = len(content) // len(states)
    for at in range(0, len(content), width):
        yield sha256(content[at : at + width]).digest()
