"""Objects as arrays and plain data, and back, for checkpoints. Nothing is pickled.

    plain, arrays = take(things)           plain: what JSON can say; arrays: a safetensors file
    give(plain, arrays)                    the same things

An object with `state_dict` (a torch module, optimizer or scheduler) is its state. Where JSON has
no word, a dict with one key that begins with "$" stands for it: an array by its key in the file, a
tuple, a dict whose keys are not all text (an optimizer's are numbers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from p2pdo.dtypes import BFLOAT16, bfloat16, is_bfloat16
from p2pdo.errors import ConfigError
from p2pdo.participants.trees import is_jax_array, is_tensor
from p2pdo.types import Array, Plain

_DTYPES = frozenset({"float64", "float32", "float16", "complex64", "bool"}) | frozenset(
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
)
"""What a safetensors file holds of NumPy's."""

_BITS = {1: "uint8", 2: "uint16"}
"""A tensor of a dtype that NumPy has not is kept as its bits, by its bytes an element."""


def take(things: Mapping[str, Any]) -> tuple[dict[str, Plain], dict[str, Array]]:
    """The things as plain data and arrays.

    Raises:
        ConfigError: one of them is neither; says which.
    """
    arrays: dict[str, Array] = {}
    return {name: _take(thing, name, arrays) for name, thing in things.items()}, arrays


def has_state(thing: Any) -> bool:
    """Whether it gives and takes its state itself."""
    return hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")


def _take(thing: Any, where: str, arrays: dict[str, Array]) -> Plain:
    if has_state(thing):
        thing = thing.state_dict()
    if isinstance(thing, list | tuple):
        items = [_take(item, f"{where}.{i}", arrays) for i, item in enumerate(thing)]
        return items if isinstance(thing, list) else {"$tuple": items}
    if isinstance(thing, Mapping):
        return _take_mapping(thing, where, arrays)
    if type(thing) is float and not math.isfinite(thing):
        return {"$float": repr(thing)}
    if thing is None or isinstance(thing, bool | str) or type(thing) in (int, float):
        plain: Plain = thing
        return plain
    return _take_array(thing, where, arrays)


def _take_array(thing: Any, where: str, arrays: dict[str, Array]) -> Plain:
    if isinstance(thing, np.ndarray | np.generic):
        return _keep(np.asarray(thing), "numpy", where, arrays)
    if is_tensor(thing):
        return _take_tensor(thing, where, arrays)
    if is_jax_array(thing):
        return _keep(np.asarray(thing), "jax", where, arrays)
    raise ConfigError(
        f"'{where}' is of type {type(thing).__qualname__}, which a checkpoint cannot hold",
        hint="give arrays, plain data, or objects with state_dict and load_state_dict",
    )


def _take_mapping(thing: Mapping[Any, Any], where: str, arrays: dict[str, Array]) -> Plain:
    if all(isinstance(key, str) and not key.startswith("$") for key in thing):
        return {key: _take(item, f"{where}.{key}", arrays) for key, item in thing.items()}
    pairs: list[Plain] = []
    for key, item in thing.items():
        if not isinstance(key, int | str):
            raise ConfigError(
                f"'{where}' has the key {key!r}, which a checkpoint cannot hold",
                hint="use text or whole numbers as keys",
            )
        pairs.append([key, _take(item, f"{where}.{key}", arrays)])
    return {"$dict": pairs}


def _take_tensor(tensor: Any, where: str, arrays: dict[str, Array]) -> Plain:
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    host = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if dtype not in _DTYPES and host.element_size() in _BITS:
        host = host.view(getattr(torch, _BITS[host.element_size()]))
    return _keep(host.numpy(), f"torch.{dtype}", where, arrays)


def _keep(array: Array, kind: str, where: str, arrays: dict[str, Array]) -> Plain:
    if is_bfloat16(array.dtype):
        array, kind = array.view(np.uint16), f"{kind}.{BFLOAT16}"
    if array.dtype.name not in _DTYPES:
        raise ConfigError(
            f"'{where}' has dtype {array.dtype}, which a checkpoint cannot hold",
            hint=f"use one of {', '.join(sorted(_DTYPES))}",
        )
    name = where
    while name in arrays:  # 'a.b' and 'b' in 'a' may both be there
        name += "'"
    # The file is written later than this returns, and from rows.
    arrays[name] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return {"$array": [name, kind]}


def give(plain: Any, arrays: Mapping[str, Array]) -> Any:
    """What `take` took."""
    if isinstance(plain, list):
        return [give(item, arrays) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if len(plain) == 1:
        ((word, it),) = plain.items()
        if word.startswith("$"):
            return _give_word(word, it, arrays)
    return {key: give(item, arrays) for key, item in plain.items()}


def _give_word(word: str, it: Any, arrays: Mapping[str, Array]) -> Any:
    match word:
        case "$array":
            name, kind = it
            return _give_array(np.array(arrays[name]), kind)
        case "$tuple":
            return tuple(give(it, arrays))
        case "$dict":
            return {key: give(item, arrays) for key, item in it}
        case _:
            return float(it)


def _give_array(array: Array, kind: str) -> Any:
    if kind.startswith("numpy"):
        dtype = array.dtype if kind == "numpy" else bfloat16()
        if dtype is None:
            raise ConfigError(
                "the checkpoint holds bfloat16, for which this node has no library",
                hint="pip install ml_dtypes",
            )
        array = array.view(dtype)
        return array if array.shape else array[()]
    if kind.startswith("torch."):
        import torch

        dtype = getattr(torch, kind.removeprefix("torch."))
        tensor = torch.from_numpy(array)
        return tensor if tensor.dtype == dtype else tensor.view(dtype)
    import jax.numpy as jnp

    return jnp.asarray(array.view(jnp.bfloat16) if kind == "jax.bfloat16" else array)
