"""Plain data as JSON text, as other processes send it; with arrays, where tasks carry them.

What is `LARGE` belongs on a thread. That alone frees no event loop: the standard library's parser
and encoder keep the interpreter's lock from end to end, for 0.1 s where there are 4 MB of numbers.
So large data are encoded in pieces, and large texts parsed with calls back into Python, where
other threads get their turn.

An array is an object of three keys, so that the text stays JSON for whoever only passes it on:

    {"__array__": "<base64 of the C-ordered little-endian bytes>", "dtype": "float64", "shape": [3]}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from p2pdo.errors import P2pdoError

if TYPE_CHECKING:
    import numpy as np

ARRAY = "__array__"
LIMIT = 4 * 1024 * 1024
"""Characters of a task's data or result, a message or an answer; more is for the exchange."""
LARGE = 64 * 1024
"""Characters, or bytes of arrays: to encode or decode more takes a thread, not the event loop."""
_ITEM = 16  # characters of a number, a name or a bracket, about
_PIECE = 4096  # items of a list that are encoded at once
_FEW = 64  # items of a list that are looked at one by one
_NUMBERS = (int, float)
_NESTED = (dict, list, tuple)
_KINDS = "biufc"  # bool, integers, floats, complex; bfloat16 travels between peers only


def parse_plain(text: str) -> Any:
    """What the text says; arrays stay the objects that they are on the way.

    Raises:
        ValueError: it is no JSON, or nested more deeply than anybody's data.
    """
    try:
        if len(text) > LARGE:
            return json.loads(text, parse_float=_parse_float, parse_int=_parse_int)
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def encode_data(value: Any) -> str:
    """Plain data with numpy arrays and scalars in it, as JSON.

    Raises:
        ValueError: it holds something else, a NaN outside an array, or is nested too deeply.
    """
    if value is None or type(value) is int:  # an encoder costs as much as routing a task
        return "null" if value is None else int.__repr__(value)
    try:
        return "".join(_encode(value)) if is_large(value) else _encode_json(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None


def encode_bounded(value: Any, what: str, refusal: type[P2pdoError]) -> str:
    """The same for what is at most `LIMIT` characters; `what` names it in the refusal.

    Raises:
        P2pdoError: a `refusal`: it cannot travel, or is larger.
    """
    try:
        text = encode_data(value)
    except ValueError as error:
        raise refusal(
            f"{what} cannot travel as JSON: {error}",
            hint="numbers, text, lists, dicts and numpy arrays can; no NaN outside arrays",
        ) from None
    if len(text) > LIMIT:
        raise refusal(
            f"{what} has {len(text)} bytes, more than {LIMIT}",
            hint="give a summary: data stay where they are, and bulk is for the exchange",
        )
    return text


def decode_data(value: Any) -> Any:
    """Parsed JSON with its arrays made; they own their bytes and can be written to.

    Raises:
        ValueError: what looks like an array is none.
    """
    if isinstance(value, list):
        return [decode_data(item) for item in value]
    if not isinstance(value, dict):
        return value
    if ARRAY in value:
        return _decode_array(value)
    return {key: decode_data(item) for key, item in value.items()}


def is_large(value: Any) -> bool:
    """Whether data have more than about `LARGE` characters as JSON; looks no further than that."""
    if value is None or isinstance(value, _NUMBERS):  # most results
        return False
    waiting, size = [value], 0
    while waiting and size < LARGE:
        item = waiting.pop()
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, _NESTED):
            size += _ITEM * len(item)
            if size < LARGE:
                waiting.extend(item.values() if isinstance(item, dict) else item)
        else:
            size += getattr(item, "nbytes", _ITEM)
    return size >= LARGE


def _encode(value: Any) -> Iterator[str]:
    if not is_large(value):
        yield _encode_json(value)
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for i, (key, item) in enumerate(value.items()):
            yield f"{', ' if i else '{'}{_encode_json(key)}: "
            yield from _encode(item)
        yield "}"
    elif isinstance(value, list | tuple) and len(value) <= _FEW:
        for i, item in enumerate(value):
            yield ", " if i else "["
            yield from _encode(item)
        yield "]"
    elif isinstance(value, list | tuple):
        for start in range(0, len(value), _PIECE):
            yield ", " if start else "["
            yield _encode_json(value[start : start + _PIECE])[1:-1]
        yield "]"
    else:
        yield _encode_json(value)


def _parse_float(text: str) -> float:
    return float(text)


def _parse_int(text: str) -> int:
    return int(text)


def _encode_other(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        text = base64.b64encode(little.tobytes()).decode()
        return {ARRAY: text, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain data")


_encode_json = json.JSONEncoder(allow_nan=False, default=_encode_other).encode


def _decode_array(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        dtype = np.dtype(value["dtype"])
        data = base64.b64decode(value[ARRAY], validate=True)
        array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(value["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"an array that is none: {error}") from None
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of dtype {dtype}")
    return array.astype(dtype)
