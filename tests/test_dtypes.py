"""bfloat16 where it is installed and where it is not; its bits beside PyTorch's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from p2pdo.dtypes import bfloat16, dtype_named, is_bfloat16, is_half, is_inexact, summed_in
from p2pdo.effects import Row, freeze
from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.participants.trees import pack as packed, received, to_host, to_tensor
from p2pdo.wire.arrays import pack, unpack

torch = pytest.importorskip("torch")
BFLOAT16 = bfloat16()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without ml_dtypes."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for cached in (bfloat16, dtype_named):
        cached.cache_clear()
    yield
    for cached in (bfloat16, dtype_named):
        cached.cache_clear()


@pytest.mark.parametrize("size", [(), (1,), (5,), (3, 20_000)])
def test_a_weighted_sum_is_pytorchs_of_float32_rounded_once(size: tuple[int, ...]) -> None:
    weights = (0.2, 1 / 3, 7 / 15)
    tensors = [torch.randn(size, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    halves = [tensor.to(torch.bfloat16) for tensor in tensors]
    expected = torch.zeros(size)
    for w, half in zip(weights, halves, strict=True):
        expected = expected + torch.tensor(w, dtype=torch.float32) * half.float()

    values = {i: freeze(to_host(half)) for i, half in enumerate(halves)}
    mixed: Any = Row(tuple(enumerate(weights))).weighted_sum(values)

    assert mixed.dtype == BFLOAT16
    assert torch.equal(to_tensor(np.array(mixed)), expected.to(torch.bfloat16))


def test_what_is_no_bfloat16_is_not_taken_for_one() -> None:
    for other in (np.dtype("V2"), np.dtype([("bfloat16", "V2")]), np.dtype(np.float16)):
        assert not is_bfloat16(other)
    assert is_half(np.dtype(np.float16))
    assert not is_half(np.dtype(np.int16))
    assert is_inexact(np.dtype(np.complex64))
    assert summed_in(np.dtype(np.int16)) == np.float64
    with pytest.raises(LocalProtocolError, match="cannot be exchanged"):
        freeze(np.zeros(3, "V2"))


def test_a_tensor_travels_as_half_the_bytes_and_comes_as_float32() -> None:
    tensor = torch.tensor([1.5, -0.1]).to(torch.bfloat16)
    value = packed(tensor).value
    assert isinstance(value, np.ndarray)
    assert (value.dtype, value.nbytes) == (BFLOAT16, 4)
    theirs: Any = received(freeze(value))
    assert theirs.dtype == np.float32
    assert torch.equal(torch.from_numpy(theirs), tensor.float())


def test_without_the_library_a_tensor_travels_as_float32_and_mixes_to_the_same_bits(
    without: None,
) -> None:
    tensor = torch.randn(1000, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    own = packed(tensor)
    assert isinstance(own.value, np.ndarray)
    assert own.value.dtype == np.float32
    mixed = Row(((0, 0.3), (1, 0.7))).weighted_sum({0: own.value, 1: own.value})
    bits = own.unpack(mixed)

    for cached in (bfloat16, dtype_named):
        cached.cache_clear()
    sys.modules.pop("ml_dtypes")
    own = packed(tensor)
    assert isinstance(own.value, np.ndarray)
    assert own.value.dtype.name == "bfloat16"
    mixed = Row(((0, 0.3), (1, 0.7))).weighted_sum({0: own.value, 1: own.value})
    assert torch.equal(own.unpack(mixed), bits)


def test_without_the_library_a_value_that_comes_is_refused_with_what_to_install() -> None:
    layout, parts = pack(np.ones(3, BFLOAT16))
    payload = b"".join(parts)
    value: Any = unpack(layout, payload)
    assert value.dtype == BFLOAT16
    # A node of its own: readers of layouts are kept.
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from p2pdo.wire.arrays import unpack\n"
        f"unpack({layout!r}, {payload!r})"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert RemoteProtocolError.__name__ in done.stderr
    assert "install ml_dtypes on all nodes" in done.stderr
