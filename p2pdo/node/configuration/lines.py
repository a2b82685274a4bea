"""On which line of a TOML file something stands.

The standard library's parser keeps no positions. This reads headers and keys, line by line, and
knows no more of TOML than that: where a key stands inside an inline table or a list, the line of
the nearest thing around it is told.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Location: TypeAlias = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def lines_of(text: str) -> Mapping[Location, int]:
    """The line, from 1, on which each table and each key begins."""
    found: dict[Location, int] = {}
    counts: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            _note(found, table, number)
        elif key := _KEY.match(line):
            _note(found, (*table, *_parts(key[1])), number)
    return found


def _note(found: dict[Location, int], place: Location, number: int) -> None:
    for length in range(1, len(place) + 1):
        found.setdefault(place[:length], number)


def _parts(dotted: str) -> Location:
    words = re.findall(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""", dotted)
    return tuple(word.strip("\"'") for word in words)


def line_at(lines: Mapping[Location, int], place: Sequence[str | int]) -> int | None:
    """The line of the place, or of the nearest thing around it."""
    for length in range(len(place), 0, -1):
        if (number := lines.get(tuple(place[:length]))) is not None:
            return number
    return None


def line_of_syntax_error(error: tomllib.TOMLDecodeError, text: str) -> int:
    match = re.search(r"line (\d+)", str(error))
    return int(match[1]) if match else max(1, len(text.splitlines()))  # at its end
