"""Messages as values, and back: arrays, tensors, numbers, and whatever contains them.

    packed = pack(message)                 packed.value holds copies on the host
    packed.unpack(mixed)                   the same containers, kinds of array, dtypes and devices

Lists and named tuples travel as tuples and come back as they were. PyTorch and JAX are looked up
among what is imported already: a tensor cannot be here without its library. PyTorch's bfloat16
travels as such where `ml_dtypes` is installed, else as float32, and mixes to the same bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.dtypes import bfloat16, is_bfloat16
from p2pdo.errors import LocalProtocolError
from p2pdo.types import Array, Value


@dataclass(frozen=True, slots=True)
class Packed:
    """A message on its way: what is exchanged, and how it becomes the author's kind again."""

    value: Value
    unpack: Callable[[Any], Any]


def pack(message: Any) -> Packed:
    """The message as a value.

    Raises:
        LocalProtocolError: it holds something that cannot be exchanged.
    """
    leaf = _pack_leaf(message)
    if leaf is not None:
        return leaf
    if message is None:  # a pytree's way to leave a place empty
        return Packed((), lambda _value: None)
    if isinstance(message, tuple | list):
        return _pack_sequence(message)
    if type(message) is dict and all(isinstance(key, str) for key in message):
        packed = {key: pack(item) for key, item in message.items()}
        return Packed(
            {key: item.value for key, item in packed.items()},
            lambda value: {key: packed[key].unpack(value[key]) for key in packed},
        )
    return _pack_pytree(message)


def _pack_leaf(message: Any) -> Packed | None:
    if isinstance(message, np.ndarray):
        return Packed(np.array(message), _own)
    if isinstance(message, np.generic | float | int):
        return Packed(message, _same)
    if is_tensor(message):
        return Packed(to_host(message), lambda value: _like_tensor(value, message))
    if is_jax_array(message):
        return Packed(np.array(message), lambda value: _to_jax(value, message))
    return None


def _pack_sequence(message: tuple[Any, ...] | list[Any]) -> Packed:
    packed = [pack(item) for item in message]

    def unpack(value: tuple[Value, ...]) -> Any:
        items = [item.unpack(one) for item, one in zip(packed, value, strict=True)]
        return type(message)(*items) if hasattr(message, "_fields") else type(message)(items)

    return Packed(tuple(item.value for item in packed), unpack)


def _pack_pytree(message: Any) -> Packed:
    """A container that only JAX knows; each leaf under the path that leads to it."""
    jax = sys.modules.get("jax")
    if jax is None or jax.tree_util.all_leaves([message]):
        raise LocalProtocolError(
            f"{type(message).__name__} cannot be exchanged",
            hint="exchange arrays, tensors, numbers, or tuples, lists and dicts (with names as "
            "keys) of them; or give @p2pdo.participant an encode and a decode",
        )
    paths, structure = jax.tree_util.tree_flatten_with_path(message)
    packed = {jax.tree_util.keystr(path): pack(leaf) for path, leaf in paths}
    return Packed(
        {name: item.value for name, item in packed.items()},
        lambda value: jax.tree_util.tree_unflatten(
            structure, [packed[name].unpack(value[name]) for name in packed]
        ),
    )


def received(value: Value) -> Value:
    """What a neighbour sent, as its receiver's own: the arrays may be changed.

    bfloat16 is float32 here, which every library takes.
    """
    if isinstance(value, np.ndarray):
        return np.array(widened(value))
    if isinstance(value, tuple):
        return tuple(received(item) for item in value)
    if isinstance(value, dict):
        return {key: received(item) for key, item in value.items()}
    return value


def widened(array: Array) -> Array:
    """bfloat16 as float32; others as they are."""
    return array.astype(np.float32) if is_bfloat16(array.dtype) else array


def _same(value: Any) -> Any:
    return value


def _own(value: Any) -> Any:
    return value if value.flags.writeable else np.array(value)


# ---- PyTorch ----


def is_tensor(thing: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.Tensor)


def to_host(tensor: Any) -> Array:
    """A tensor's elements, copied into an array."""
    import torch

    tensor = tensor.detach()
    if tensor.is_sparse or tensor.is_quantized:
        raise LocalProtocolError(
            "a sparse or quantized tensor cannot be exchanged", hint="exchange tensor.to_dense()"
        )
    tensor = tensor.cpu().resolve_conj().resolve_neg()
    if tensor.dtype is not torch.bfloat16:
        return np.array(tensor.numpy())
    dtype = bfloat16()
    if dtype is None:
        return np.array(tensor.float().numpy())
    return np.array(tensor.view(torch.int16).numpy().view(dtype))


def to_tensor(array: Array) -> Any:
    """The same memory as a tensor."""
    import torch

    if is_bfloat16(array.dtype):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _like_tensor(value: Any, like: Any) -> Any:
    """On the device of the tensor that was sent; in its dtype, unless that holds no mean."""
    tensor = to_tensor(np.ascontiguousarray(value).reshape(np.shape(value)))
    holds_means = like.is_floating_point() or like.is_complex()
    return tensor.to(like.device, like.dtype if holds_means else None)


# ---- JAX ----


def is_jax_array(thing: Any) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(thing, jax.Array)


def _to_jax(value: Any, like: Any) -> Any:
    import jax
    import jax.numpy as jnp

    holds_means = jnp.issubdtype(like.dtype, jnp.inexact)
    array = jnp.asarray(value, like.dtype if holds_means else None)
    return jax.device_put(array, like.sharding)
