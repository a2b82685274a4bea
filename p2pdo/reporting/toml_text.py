"""TOML text. The standard library reads TOML and does not write it; this writes what we need.

Plain data goes in: text, whole numbers, floats (inf and nan too), booleans, lists and tables.
None has no spelling in TOML: a key whose value is None is left out, and reads back as absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from p2pdo.errors import ConfigError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dumps(table: Mapping[str, Any]) -> str:
    """The table as TOML.

    Raises:
        ConfigError: a value that TOML cannot say; the message names its key.
    """
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Own values first, then the tables inside: a value after a header would belong to it."""
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value, (*path, key))}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            yield f"\n[{'.'.join(map(_key, inner))}]"
            yield from _lines(value, inner)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key, (key,))


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return int.__repr__(value)
        case float():
            return float.__repr__(value)
        case str():
            return _text(value, path)
        case list() | tuple():
            return f"[{', '.join(_value(item, path) for item in value)}]"
        case Mapping():
            items = (f"{_key(k)} = {_value(v, path)}" for k, v in value.items() if v is not None)
            return f"{{{', '.join(items)}}}"
        case _:
            kind = type(value).__name__
            raise ConfigError(
                f"{'.'.join(path)}: a value of type {kind} cannot be written as TOML",
                hint="use text, numbers, booleans, lists and tables of them",
            )


def _text(text: str, path: tuple[str, ...]) -> str:
    """JSON's escapes are TOML's, but for DEL; half a surrogate pair is text in neither."""
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ConfigError(f"{'.'.join(path)!r}: {text!r} is not Unicode text", hint="correct it")
    return quoted
