"""JSON lines. One record a line, whole as soon as its newline is there.

A record is written and flushed at once, so that a reader may follow a run and a crash costs at
most the line that was being written. That torn line has no newline: readers skip it, and whoever
opens the file to append cuts it off first. JSON has no nan and no inf: they become null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.types import Plain


def encode(value: Any, *, indent: int | None = None) -> str:
    """JSON that any reader understands; floats come back as they were."""
    return json.dumps(_sayable(value), allow_nan=False, indent=indent)


def append(file: IO[bytes], record: Mapping[str, Any]) -> None:
    file.write(encode(record).encode() + b"\n")
    file.flush()


def open_to_append(path: Path) -> IO[bytes]:
    """The file, ready for the next whole record."""
    whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
    file = path.open("ab")
    file.truncate(whole)
    return file


def read(path: Path) -> list[dict[str, Plain]]:
    """Every whole record.

    Raises:
        ConfigError: a line is no JSON object; the message says which.
    """
    *whole, _torn = path.read_bytes().split(b"\n")
    return [_record(line, path, number) for number, line in enumerate(whole, start=1)]


def _record(line: bytes, path: Path, number: int) -> dict[str, Plain]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ConfigError(
            f"{path}, line {number}: not a JSON object",
            hint="the file was changed after the run; restore it or delete the line",
        )
    return record


def _sayable(value: Any) -> Any:
    """The value with nan and inf as None and numpy's scalars as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: _sayable(item) for key, item in value.items()}
        case list() | tuple():
            return [_sayable(item) for item in value]
        case _:
            return value
