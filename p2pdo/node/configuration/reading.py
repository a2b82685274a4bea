"""Reads a node's configuration; all its mistakes are told at once, each with file and line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.lines import Location, line_at, line_of_syntax_error, lines_of
from p2pdo.node.configuration.models import Configuration

DEFAULT_NAME = "p2pdo.toml"


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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"cannot read {path}: {why}", hint="p2pdo config check FILE tells more"
        ) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = line_of_syntax_error(error, text)
        raise wrong([f"{path}:{line}: this is no TOML: {error}"]) from None
    lines = lines_of(text)
    try:
        return Source(Configuration.model_validate(data), path, lines)
    except ValidationError as error:
        source = Source(Configuration(), path, lines)
        raise wrong([_describe(source, item) for item in error.errors()]) from None


def wrong(mistakes: Sequence[str]) -> ConfigError:
    """The error that tells all of them."""
    several = "".join(f"\n  {mistake}" for mistake in mistakes)
    told = f" {mistakes[0]}" if len(mistakes) == 1 else f" {len(mistakes)} mistakes:{several}"
    return ConfigError(
        f"the configuration is wrong:{told}",
        hint="correct these, then: p2pdo config check FILE",
    )


def _describe(source: Source, item: Any) -> str:
    place: Location = tuple(item["loc"])
    where = f"{source.where(*place)}: {_dotted(place)}"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such key{_guess(place)}"
    if item["type"] == "string_pattern_mismatch":
        return f"{where}: '{item['input']}' is not of the form {_form(item['ctx']['pattern'])}"
    return f"{where}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _form(pattern: str) -> str:
    return "package.module:Name" if ":" in pattern else "letters, digits, dots, dashes"


def _dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def _guess(place: Location) -> str:
    known = _fields_at(Configuration, place[:-1])
    near = get_close_matches(str(place[-1]), known, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known)}" if known else ""


def _fields_at(model: Any, place: Location) -> list[str]:
    """The keys of the table at that place."""
    for part in place:
        model = _inner(model, part)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _inner(model: Any, part: str | int) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel):
        known = model.model_fields.get(str(part))
        return None if known is None else known.annotation
    if get_origin(model) in (Union, UnionType):
        return _inner(next(arg for arg in get_args(model) if arg is not type(None)), part)
    if get_origin(model) in (dict, list):
        return get_args(model)[-1]
    return None
