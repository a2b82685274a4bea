"""Values as bytes, checked. Raw little-endian array data beside a small description, no pickle.

    layout, parts = pack(value)          the description, and the payload's parts without a copy
    value = unpack(layout, payload)      checked against each other; arrays are read-only

A layout is the protobuf `Layout` as bytes. Iterating nodes send the same layout again and again,
so both directions keep the last few: encoding and parsing cost a dictionary look-up.

What comes from the network is not believed: only numeric dtypes, a bounded number of leaves and
axes, and a payload of exactly the layout's length; anything else is a `RemoteProtocolError`.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError

from p2pdo.effects import DTYPES
from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.types import Array, Value
from p2pdo.wire.v1 import peer_pb2 as pb

MAX_PARTS = 4096
MAX_AXES = 32
MAX_DEPTH = 16
MAX_LAYOUT_BYTES = 1 << 19
MAX_VOLUME = 1 << 48
"""What the axes that are not empty may multiply to: an empty array can have large ones too."""

_DTYPES = {name: np.dtype(name) for name in DTYPES}

_SCALARS: dict[int, struct.Struct] = {
    pb.SCALAR_FLOAT: struct.Struct("<d"),
    pb.SCALAR_INT: struct.Struct("<q"),
    pb.SCALAR_BOOL: struct.Struct("<?"),
}

Part: TypeAlias = bytes | memoryview
Key: TypeAlias = tuple[Any, ...]


# ---- out ----


def pack(value: Value) -> tuple[bytes, list[Part]]:
    """The layout and the payload's parts; the arrays' parts are views of their memory.

    Raises:
        LocalProtocolError: the value holds something that is no number.
    """
    parts: list[Part] = []
    return _encode(_flatten(value, parts)), parts


def _flatten(value: Any, parts: list[Part]) -> Key:
    """A hashable description of the layout; appends the leaves' bytes to `parts`."""
    if isinstance(value, np.ndarray):
        return _flatten_array(value, parts)
    if isinstance(value, tuple):
        return ("tuple", *[_flatten(item, parts) for item in value])
    if isinstance(value, dict):
        return ("dict", *[(str(key), _flatten(item, parts)) for key, item in value.items()])
    return _flatten_scalar(value, parts)


def _flatten_array(a: Array, parts: list[Part]) -> Key:
    if a.dtype.name not in DTYPES:
        raise LocalProtocolError(
            f"an array of dtype {a.dtype} cannot be sent",
            hint=f"use one of {', '.join(DTYPES)}",
        )
    a = np.ascontiguousarray(a, a.dtype.newbyteorder("<"))
    if a.size:
        parts.append(a.reshape(-1).view(np.uint8).data)
    return ("array", a.dtype.name, *a.shape)


def _flatten_scalar(value: Any, parts: list[Part]) -> Key:
    item = value.item() if isinstance(value, np.generic) else value
    if isinstance(item, bool):
        kind = pb.SCALAR_BOOL
    elif isinstance(item, int):
        kind = pb.SCALAR_INT
    elif isinstance(item, float):
        kind = pb.SCALAR_FLOAT
    else:
        raise LocalProtocolError(
            f"a {type(value).__name__} cannot be sent",
            hint="exchange arrays, numbers, or tuples and dicts of them",
        )
    parts.append(_SCALARS[kind].pack(item))
    return ("scalar", int(kind))


@lru_cache(maxsize=256)
def _encode(key: Key) -> bytes:
    return _message(key).SerializeToString(deterministic=True)


def _message(key: Key) -> pb.Layout:
    kind, *rest = key
    if kind == "array":
        return pb.Layout(array=pb.Tensor(dtype=rest[0], shape=rest[1:]))
    if kind == "tuple":
        return pb.Layout(tuple=pb.Items(items=[_message(item) for item in rest]))
    if kind == "dict":
        names = [name for name, _ in rest]
        values = [_message(item) for _, item in rest]
        return pb.Layout(dict=pb.Fields(keys=names, values=values))
    return pb.Layout(scalar=rest[0])


# ---- in ----


@dataclass(frozen=True, slots=True)
class Reader:
    """How to read a payload: its length and the value's parsed layout."""

    size: int
    layout: pb.Layout

    def read(self, payload: bytes | memoryview) -> Value:
        """The value; its arrays are read-only and own no bytes that others could change."""
        if len(payload) != self.size:
            raise RemoteProtocolError(
                f"a payload of {len(payload)} bytes came for a layout of {self.size}"
            )
        value, _ = _read(self.layout, payload, 0)
        return value


@lru_cache(maxsize=64)
def reader(layout: bytes) -> Reader:
    """The reader of a layout.

    Raises:
        RemoteProtocolError: it is no layout, or one beyond the bounds.
    """
    if len(layout) > MAX_LAYOUT_BYTES:
        raise RemoteProtocolError(f"a layout of {len(layout)} bytes is too large")
    try:
        message = pb.Layout.FromString(layout)
    except DecodeError:
        raise RemoteProtocolError("the layout of a value cannot be parsed") from None
    sizes = list(islice(_sizes(message, 0), MAX_PARTS + 1))
    if len(sizes) > MAX_PARTS:
        raise RemoteProtocolError(f"a value has more than {MAX_PARTS} parts")
    return Reader(sum(sizes), message)


def unpack(layout: bytes, payload: bytes | memoryview) -> Value:
    """The value that `pack` packed.

    Raises:
        RemoteProtocolError: layout or payload are not what they should be.
    """
    return reader(layout).read(payload)


def _sizes(message: pb.Layout, depth: int) -> Iterator[int]:
    """The payload bytes of each part; a tuple or dict is a part of none besides its own parts."""
    if depth > MAX_DEPTH:
        raise RemoteProtocolError(f"a value is nested deeper than {MAX_DEPTH}")
    kind = message.WhichOneof("node")
    if kind == "array":
        yield _array_size(message.array)
    elif kind == "scalar" and message.scalar in _SCALARS:
        yield _SCALARS[message.scalar].size
    elif kind in ("tuple", "dict"):
        items = message.tuple.items if kind == "tuple" else message.dict.values
        keys = message.dict.keys
        if kind == "dict" and not len(keys) == len(set(keys)) == len(items):
            raise RemoteProtocolError("a layout's keys do not match its values")
        yield 0
        for item in items:
            yield from _sizes(item, depth + 1)
    else:
        raise RemoteProtocolError("a layout names no known kind of value")


def _array_size(tensor: pb.Tensor) -> int:
    dtype, axes = _DTYPES.get(tensor.dtype), len(tensor.shape)
    if dtype is None or axes > MAX_AXES or math.prod(n or 1 for n in tensor.shape) > MAX_VOLUME:
        raise RemoteProtocolError(
            f"an array of dtype '{tensor.dtype[:32]}' with {axes} axes is refused"
        )
    return math.prod(tensor.shape) * dtype.itemsize


def _read(message: pb.Layout, payload: bytes | memoryview, offset: int) -> tuple[Value, int]:
    kind = message.WhichOneof("node")
    if kind == "array":
        return _read_array(message.array, payload, offset)
    if kind == "scalar":
        packed = _SCALARS[message.scalar]
        return packed.unpack_from(payload, offset)[0], offset + packed.size
    items = message.tuple.items if kind == "tuple" else message.dict.values
    values: list[Value] = []
    for item in items:
        value, offset = _read(item, payload, offset)
        values.append(value)
    if kind == "tuple":
        return tuple(values), offset
    return dict(zip(message.dict.keys, values, strict=True)), offset


def _read_array(tensor: pb.Tensor, payload: bytes | memoryview, offset: int) -> tuple[Array, int]:
    dtype = _DTYPES[tensor.dtype].newbyteorder("<")
    count = math.prod(tensor.shape)
    a = np.frombuffer(payload, dtype, count, offset).reshape(tuple(tensor.shape))
    if sys.byteorder == "big" or not a.flags.aligned:
        a = a.astype(a.dtype.newbyteorder("="))
    if dtype.kind == "b" and (a.view(np.uint8) > 1).any():
        raise RemoteProtocolError("an array of truth values holds a byte that is none")
    a.flags.writeable = False
    return a, offset + count * dtype.itemsize
