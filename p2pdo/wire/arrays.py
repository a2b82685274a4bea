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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError

from p2pdo.dtypes import BFLOAT16, DTYPES, dtype_named
from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.types import Array, Value
from p2pdo.wire.v1 import peer_pb2 as pb

MAX_PARTS = 4096
MAX_AXES = 32
MAX_DEPTH = 16
MAX_LAYOUT_BYTES = 1 << 19
MAX_VOLUME = 1 << 48
"""What the axes that are not empty may multiply to: an empty array can have large ones too."""

ALIGNMENT = 16
"""Of what NumPy allocates, and enough for every dtype."""

SMALL = 1 << 14
"""Bytes up to which copying an array costs less than a view of it."""

_NAMES = {np.dtype(name).newbyteorder("<"): name for name in DTYPES if name != BFLOAT16}

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
    name = _NAMES.get(a.dtype)
    if name is None:
        name = a.dtype.name
        dtype = _dtype_on_the_wire(name)
        if dtype is None:
            raise LocalProtocolError(
                f"an array of dtype {a.dtype} cannot be sent",
                hint=f"use one of {', '.join(DTYPES)}",
            )
        a = a if a.dtype == dtype else a.astype(dtype)
    if a.nbytes <= SMALL:
        parts.append(a.tobytes())
    else:
        parts.append(np.ascontiguousarray(a).reshape(-1).view(np.uint8).data)
    return ("array", name, *a.shape)


def _dtype_on_the_wire(name: str) -> np.dtype[Any] | None:
    """Little-endian; None where it cannot be exchanged."""
    dtype = dtype_named(name)
    return None if dtype is None else dtype.newbyteorder("<")


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
    """How to read a payload: its length, and the layout as a tree of readers.

    A payload that begins `shift` bytes behind an aligned place has its largest array at one too,
    so that it need not be copied.
    """

    size: int
    shift: int
    root: _Node

    def read(self, payload: bytes | memoryview) -> Value:
        """The value; its arrays are read-only and own no bytes that others could change."""
        if len(payload) != self.size:
            raise RemoteProtocolError(
                f"a payload of {len(payload)} bytes came for a layout of {self.size}"
            )
        value, _ = self.root.read(payload, 0)
        return value

    def view(self, payload: memoryview) -> Value | None:
        """The value with every array a view of the payload, which may change under it.

        None where it holds anything else: numbers, or truth values, which have to be checked.
        """
        return self.root.view(payload, 0)


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
    root = _Parser().node(message, 0)
    _, offset = max(_arrays(root, 0), default=(0, 0))
    return Reader(root.size, -offset % ALIGNMENT, root)


def unpack(layout: bytes, payload: bytes | memoryview) -> Value:
    """The value that `pack` packed.

    Raises:
        RemoteProtocolError: layout or payload are not what they should be.
    """
    return reader(layout).read(payload)


class _Node(Protocol):
    """Reads one part of a value at an offset; returns it with the offset after it."""

    @property
    def size(self) -> int: ...
    def read(self, payload: bytes | memoryview, offset: int) -> tuple[Value, int]: ...
    def view(self, payload: memoryview, offset: int) -> Value | None: ...


@dataclass(frozen=True, slots=True)
class _ArrayNode:
    dtype: np.dtype[Any]  # little-endian
    shape: tuple[int, ...]
    count: int
    size: int

    def read(self, payload: bytes | memoryview, offset: int) -> tuple[Array, int]:
        a = np.frombuffer(payload, self.dtype, self.count, offset)
        if self.size <= SMALL or sys.byteorder == "big" or not a.flags.aligned:
            a = a.astype(self.dtype.newbyteorder("="))  # a small view would keep a whole write
        if self.dtype.kind == "b" and a.view(np.uint8).max(initial=0) > 1:
            raise RemoteProtocolError("an array of truth values holds a byte that is none")
        a = a.reshape(self.shape)
        a.flags.writeable = False
        return a, offset + self.size

    def view(self, payload: memoryview, offset: int) -> Array | None:
        a = np.frombuffer(payload, self.dtype, self.count, offset)
        if self.dtype.kind == "b" or sys.byteorder == "big" or not a.flags.aligned:
            return None
        return a.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class _ScalarNode:
    packed: struct.Struct

    @property
    def size(self) -> int:
        return self.packed.size

    def read(self, payload: bytes | memoryview, offset: int) -> tuple[Value, int]:
        value: Value = self.packed.unpack_from(payload, offset)[0]
        return value, offset + self.packed.size

    def view(self, _payload: memoryview, _offset: int) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _TupleNode:
    items: tuple[_Node, ...]
    size: int

    def read(self, payload: bytes | memoryview, offset: int) -> tuple[tuple[Value, ...], int]:
        values: list[Value] = []
        for item in self.items:
            value, offset = item.read(payload, offset)
            values.append(value)
        return tuple(values), offset

    def view(self, payload: memoryview, offset: int) -> tuple[Value, ...] | None:
        values: list[Value] = []
        for item in self.items:
            value = item.view(payload, offset)
            if value is None:
                return None
            values.append(value)
            offset += item.size
        return tuple(values)


@dataclass(frozen=True, slots=True)
class _DictNode:
    keys: tuple[str, ...]
    values: _TupleNode

    @property
    def size(self) -> int:
        return self.values.size

    def read(self, payload: bytes | memoryview, offset: int) -> tuple[dict[str, Value], int]:
        values, offset = self.values.read(payload, offset)
        return dict(zip(self.keys, values, strict=True)), offset

    def view(self, payload: memoryview, offset: int) -> dict[str, Value] | None:
        values = self.values.view(payload, offset)
        return None if values is None else dict(zip(self.keys, values, strict=True))


def _arrays(node: _Node, offset: int) -> Iterator[tuple[int, int]]:
    """Size and offset of each array in a node that begins at `offset`."""
    if isinstance(node, _ArrayNode):
        yield node.size, offset
    elif isinstance(node, _DictNode):
        yield from _arrays(node.values, offset)
    elif isinstance(node, _TupleNode):
        for item in node.items:
            yield from _arrays(item, offset)
            offset += item.size


class _Parser:
    """Makes the readers of one layout, and refuses what is beyond the bounds."""

    def __init__(self) -> None:
        self._parts = 0

    def node(self, message: pb.Layout, depth: int) -> _Node:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise RemoteProtocolError(f"a value has more than {MAX_PARTS} parts")
        if depth > MAX_DEPTH:
            raise RemoteProtocolError(f"a value is nested deeper than {MAX_DEPTH}")
        kind = message.WhichOneof("node")
        if kind == "array":
            return _array_node(message.array)
        if kind == "scalar" and message.scalar in _SCALARS:
            return _ScalarNode(_SCALARS[message.scalar])
        if kind == "tuple":
            return self._items(message.tuple.items, depth)
        if kind == "dict":
            keys, values = tuple(message.dict.keys), message.dict.values
            if not len(keys) == len(set(keys)) == len(values):
                raise RemoteProtocolError("a layout's keys do not match its values")
            return _DictNode(keys, self._items(values, depth))
        raise RemoteProtocolError("a layout names no known kind of value")

    def _items(self, items: Sequence[pb.Layout], depth: int) -> _TupleNode:
        nodes = tuple(self.node(item, depth + 1) for item in items)
        return _TupleNode(nodes, sum(node.size for node in nodes))


def _array_node(tensor: pb.Tensor) -> _ArrayNode:
    dtype, axes = _dtype_on_the_wire(tensor.dtype), len(tensor.shape)
    if dtype is None and tensor.dtype == BFLOAT16:
        raise RemoteProtocolError(
            "a neighbour sent bfloat16, for which this node has no library",
            hint="install ml_dtypes on all nodes: pip install ml_dtypes",
        )
    if dtype is None or axes > MAX_AXES or math.prod(n or 1 for n in tensor.shape) > MAX_VOLUME:
        raise RemoteProtocolError(
            f"an array of dtype '{tensor.dtype[:32]}' with {axes} axes is refused"
        )
    count = math.prod(tensor.shape)
    return _ArrayNode(dtype, tuple(tensor.shape), count, count * dtype.itemsize)
