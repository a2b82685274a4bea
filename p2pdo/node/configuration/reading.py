"""Reads a node's configuration; all its mistakes are told at once, each with file and line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.keys import dotted, guess
from p2pdo.node.configuration.lines import Location, line_at, line_of_syntax_error, lines_of
from p2pdo.node.configuration.models import ADDRESS, Configuration

Mistake: TypeAlias = tuple[int, str]
"""Its line, and how it is told."""


@dataclass(frozen=True)
class Source:
    """A configuration with the file that it came from."""

    configuration: Configuration
    path: Path | None
    lines: Mapping[Location, int]

    def where(self, *place: str | int) -> str:
        """FILE:LINE of a place."""
        line = line_at(self.lines, place)
        return f"{self.path}:{line}" if line else str(self.path)

    def names(self, table: str) -> list[str]:
        """What the file has in that table, what is not of its form too."""
        fitting = getattr(self.configuration, table)
        written = (place[1] for place in self.lines if len(place) > 1 and place[0] == table)
        return [*dict.fromkeys([*fitting, *map(str, written)])]

    def resolve(self, path: Path) -> Path:
        """A path in the file is relative to the file."""
        return path if self.path is None else self.path.parent / path

    def locate(self, where: str) -> str:
        """The same for "script.py:Name"; "package.module:Name" stays as it is."""
        place, _, name = where.rpartition(":")
        return f"{self.resolve(Path(place))}:{name}" if place.endswith(".py") else where


EMPTY = Source(Configuration(), None, {})


def read_configuration(path: Path) -> Source:
    """The configuration in that file.

    Raises:
        ConfigError: it cannot be read, or is wrong: every mistake with its line.
    """
    source, mistakes = read_what_fits(path)
    if mistakes:
        raise wrong(mistakes, path)
    return source


def read_what_fits(path: Path) -> tuple[Source, list[Mistake]]:
    """The configuration without what is not of its form, and each such mistake.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"cannot read {path}: {why}",
            hint="name the file: p2pdo config check FILE; p2pdo new PROJECT -t executor makes one",
        ) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = line_of_syntax_error(error, text)
        raise wrong([(line, f"{path}:{line}: this is no TOML: {error}")], path) from None
    lines = lines_of(text)
    mistakes: list[Mistake] | None = None
    while True:
        try:
            return Source(Configuration.model_validate(data), path, lines), mistakes or []
        except ValidationError as error:
            if mistakes is None:
                source = Source(Configuration(), path, lines)
                mistakes = [_describe(source, item) for item in error.errors()]
            _drop(data, error.errors()[0]["loc"])


def _drop(data: dict[str, Any], place: Location) -> None:
    """Takes out what stands there, or the nearest thing around it; of a list all of it."""
    holder, key, inner = data, place[0], data.get(str(place[0]))
    for part in place[1:]:
        if not isinstance(inner, dict) or part not in inner:
            break
        holder, key, inner = inner, part, inner[part]
    del holder[str(key)]


def wrong(mistakes: Sequence[Mistake], path: Path | None) -> ConfigError:
    """The error that tells all of them, in the order of their lines."""
    words = [words for _, words in sorted(mistakes, key=lambda mistake: mistake[0])]
    several = "".join(f"\n  {each}" for each in words)
    told = f" {words[0]}" if len(words) == 1 else f" {len(words)} mistakes:{several}"
    return ConfigError(
        f"the configuration is wrong:{told}",
        hint=f"correct {'this' if len(words) == 1 else 'these'}, then: p2pdo config check {path}",
    )


def _describe(source: Source, item: Any) -> Mistake:
    place: Location = tuple(item["loc"])
    if item["type"] == "extra_forbidden":
        what = f"there is no such key{guess(Configuration, place)}"
    elif item["type"] == "string_pattern_mismatch":
        what = f"'{item['input']}' is not of the form {_form(item['ctx']['pattern'])}"
    else:
        what = f"{item['msg'][:1].lower()}{item['msg'][1:]}"
    return line_at(source.lines, place) or 0, f"{source.where(*place)}: {dotted(place)}: {what}"


def _form(pattern: str) -> str:
    if pattern == ADDRESS:
        return "HOST:PORT"
    return "package.module:Name" if ":" in pattern else "letters, digits, dots, dashes"
