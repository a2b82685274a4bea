"""What `mix_` mixes, by name: reads each array of a model to the host and writes it back.

Of a torch module: all parameters, those that are frozen too, because neighbours that have frozen
different ones would drift apart unseen; and the buffers of its state_dict that hold floating-point
or complex numbers. Buffers of integers and booleans (num_batches_tracked) count what happened at
this site, and stay. A parameter that is shared travels once. Of a dict of arrays or tensors, nested
or not: those of floating-point or complex numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.dtypes import is_inexact
from p2pdo.errors import LocalProtocolError
from p2pdo.participants.trees import is_tensor, to_host, to_tensor
from p2pdo.types import Array


@dataclass(frozen=True, slots=True)
class Place:
    """One array of a model, where it lies."""

    read: Callable[[], Array]
    write: Callable[[Array], None]


def places(model: Any) -> dict[str, Place]:
    """The arrays of a model that are mixed, by name.

    Raises:
        LocalProtocolError: it is no model whose arrays can be changed in place, or has none.
    """
    found = dict(_module_places(model) if _is_module(model) else _mapping_places(model, ""))
    if not found:
        raise LocalProtocolError(
            "mix_ was given nothing to mix: no array of floating-point numbers",
            hint="give it a torch module with parameters, or a dict of arrays",
        )
    return found


def _is_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _module_places(module: Any) -> list[tuple[str, Place]]:
    kept = module.state_dict(keep_vars=True).keys()
    buffers = [(name, b) for name, b in module.named_buffers() if name in kept and _is_real(b)]
    return [(name, _tensor_place(t)) for name, t in (*module.named_parameters(), *buffers)]


def _mapping_places(model: Any, where: str) -> list[tuple[str, Place]]:
    if not isinstance(model, Mapping) or not all(isinstance(key, str) for key in model):
        at = f" at '{where}'" if where else ""
        raise LocalProtocolError(
            f"mix_ cannot change {type(model).__name__}{at} in place",
            hint="give it a torch module or a dict of NumPy arrays or tensors; "
            "of anything else, a JAX pytree or a number, me.mix(value) returns a new one",
        )
    found: list[tuple[str, Place]] = []
    for key, item in model.items():
        name = f"{where}.{key}" if where else key
        if isinstance(item, np.ndarray):
            found += [(name, _array_place(name, item))] if is_inexact(item.dtype) else []
        elif is_tensor(item):
            found += [(name, _tensor_place(item))] if _is_real(item) else []
        else:
            found += _mapping_places(item, name)
    return found


def _is_real(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _tensor_place(tensor: Any) -> Place:
    def write(value: Array) -> None:
        import torch

        with torch.no_grad():  # copy_ goes to the tensor's device and dtype
            tensor.copy_(to_tensor(value))

    return Place(lambda: to_host(tensor), write)


def _array_place(name: str, array: Array) -> Place:
    if not array.flags.writeable:
        raise LocalProtocolError(
            f"mix_ cannot change '{name}': the array is read-only", hint="give it a copy"
        )

    def write(value: Array) -> None:
        array[...] = value

    return Place(lambda: np.array(array), write)
