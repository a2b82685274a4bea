"""A configuration as people look at it: every setting with its origin, every task's executor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from p2pdo.errors import did_you_mean
from p2pdo.node.configuration.building import build_with
from p2pdo.node.configuration.findings import Findings
from p2pdo.node.configuration.offering import check_names, offers_with
from p2pdo.node.configuration.reading import Source, read_configuration, read_what_fits
from p2pdo.node.site import TASKS
from p2pdo.node.workplace import Workplace


def settings_with_origins(path: Path) -> list[tuple[str, Any, str]]:
    """(setting, value, FILE:LINE or "default"), in the order of the model.

    Raises:
        ConfigError: the file is wrong.
    """
    source = read_configuration(path)
    return [
        (".".join(map(str, place)), value, _origin(source, place))
        for place, value in _leaves(source.configuration, ())
    ]


def checked(path: Path) -> dict[str, str]:
    """Which executor handles each task of a node with this file.

    Raises:
        ConfigError: it cannot work; tells every mistake.
    """
    found = Findings(*read_what_fits(path))
    offers = offers_with(found)
    workplace = build_with(found, built_in())
    check_names(found, offers, [*built_in().executors, *found.source.names("executors")])
    if not found.mistakes:  # else an executor that is wrong may have had it
        _check_filters(found, workplace.tasks)
    found.check()
    return dict(workplace.tasks)


def _check_filters(found: Findings, tasks: Mapping[str, str]) -> None:
    """A filter that waits for a task by a wrong name would let everything pass."""
    file = found.source.configuration
    for kind in ("task_data_filters", "task_result_filters"):
        for i, table in enumerate(getattr(file, kind)):
            for name in table.tasks or ():
                if name not in tasks:
                    hint = did_you_mean(name, list(tasks))
                    words = f"{table.path} is for task '{name}', which nobody here handles ({hint})"
                    found.add(words, kind, i, "tasks")


def offered(path: Path) -> dict[str, dict[str, str]]:
    """Where the problems and participants of a node with this file are, by name."""
    file = read_configuration(path).configuration
    return {
        kind: {name: str(where) for name, where in getattr(file, kind).items()}
        for kind in ("problems", "participants")
    }


def built_in() -> Workplace:
    """The names that p2pdo's own executors take; none of them is made here."""

    def make(_context: object) -> Any:
        raise AssertionError("a check makes no executor")

    return Workplace(dict.fromkeys(TASKS.values(), make), tasks=TASKS)


def _leaves(
    value: Any, place: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*place, name))
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, (*place, name))
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
        for i, item in enumerate(value):
            yield from _leaves(item, (*place, i))
    else:
        yield place, [str(item) for item in value] if isinstance(value, list) else value


def _origin(source: Source, place: tuple[str | int, ...]) -> str:
    """A value that stands in an inline table is on the line of that table."""
    for length in range(len(place), 1, -1):
        if place[:length] in source.lines:
            is_table = length < len(place) and not _is_inline(source, place[:length])
            return "default" if is_table else source.where(*place[:length])
    return "default"


def _is_inline(source: Source, place: tuple[str | int, ...]) -> bool:
    """Whether what stands there has no lines of its own below."""
    return not any(len(key) > len(place) and key[: len(place)] == place for key in source.lines)
