"""The hash of a run, against one computed by hand."""

from __future__ import annotations

import struct
import tracemalloc
from hashlib import sha256

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.reporting.digests import combine_digests, digest_of, state_sha256


def test_the_hash_is_that_of_the_little_endian_bytes_of_each_node_in_order() -> None:
    by_hand = sha256(
        sha256(struct.pack("<2d", 1.0, -2.5)).digest() + sha256(struct.pack("<1f", 0.1)).digest()
    ).hexdigest()
    assert state_sha256([np.array([1.0, -2.5]), np.array([0.1], dtype=np.float32)]) == by_hand


def test_hashing_at_the_nodes_and_combining_gives_the_same() -> None:
    states = [np.arange(3.0), np.ones(2)]
    assert combine_digests([digest_of(x) for x in states]) == state_sha256(states)


def test_the_order_of_the_nodes_counts() -> None:
    a, b = np.zeros(2), np.ones(2)
    assert state_sha256([a, b]) != state_sha256([b, a])


def test_memory_layout_and_byte_order_do_not_count() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert digest_of(np.asfortranarray(x)) == digest_of(x)
    assert digest_of(np.repeat(x, 2, axis=1)[:, ::2]) == digest_of(x)
    assert digest_of(x.astype(">f8")) == digest_of(x)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_states_of_no_axis_and_of_no_element_have_a_digest_too(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 1.5)
    assert digest_of(x) == sha256(x.tobytes()).digest()


def test_a_large_state_is_hashed_in_place() -> None:
    x = np.ones(1 << 20)
    tracemalloc.start()
    try:
        digest_of(x)
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 100
    finally:
        tracemalloc.stop()


def test_the_dtype_counts() -> None:
    assert digest_of(np.ones(2)) != digest_of(np.ones(2, dtype=np.float32))


def test_one_bit_counts() -> None:
    assert digest_of(np.array([0.0])) != digest_of(np.array([-0.0]))


def test_python_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match="objects"):
        digest_of(np.array([object()]))
