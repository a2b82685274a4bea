"""Reads `links.toml`; all its mistakes are told at once, each with file, line and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph
from p2pdo.node.configuration.keys import dotted, guess
from p2pdo.node.configuration.lines import Location, line_at, line_of_syntax_error, lines_of
from p2pdo.simulation.links.compute import ComputeTime, Slow
from p2pdo.simulation.links.conditions import Conditions, Patience
from p2pdo.simulation.links.measured import Measured, read_matrix
from p2pdo.simulation.links.models import (
    AS_TABLE,
    AS_TEXT,
    MEASURED,
    LinksFile,
    LinkTable,
    MatrixTable,
)
from p2pdo.simulation.links.silences import Crash, Freeze, Partition
from p2pdo.simulation.links.weather import Weather

HINT = "docs/how-to/simulate-a-network.md has every key"


@dataclass(frozen=True)
class Links:
    """What a file says, for one graph.

    Attributes:
        measure: whether an iteration takes as long as on this machine.
    """

    conditions: Conditions
    measure: bool = False


def read_links(path: Path, graph: Graph) -> Links:
    """What the file says of the links and nodes of this graph.

    Raises:
        ConfigError: it cannot be read, or is wrong: every mistake with its line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read {path}: {why}", hint=HINT) from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = line_of_syntax_error(error, text)
        raise ConfigError(f"{path}:{line}: this is no TOML: {error}", hint=HINT) from None
    return links_of(data, graph, _Source(path, lines_of(text)))


def links_of(data: Mapping[str, Any], graph: Graph, source: _Source | None = None) -> Links:
    """The same of what would be in a file.

    Raises:
        ConfigError: every mistake with its key.
    """
    source = source or _Source(None, {})
    try:
        file = LinksFile.model_validate(data)
    except ValidationError as error:
        raise _wrong([_describe(source, item) for item in error.errors()]) from None
    mistakes = list(_misplaced(file, graph, source))
    if mistakes:
        raise _wrong(mistakes)
    return _Made(file, graph, source).links()


@dataclass(frozen=True)
class _Source:
    path: Path | None
    lines: Mapping[Location, int]

    def where(self, place: Location) -> str:
        """FILE:LINE: key."""
        line = line_at(self.lines, place)
        file = "links" if self.path is None else str(self.path)
        return f"{file}:{line}: {dotted(place)}" if line else f"{file}: {dotted(place)}"


# ---- what it means ----


@dataclass(frozen=True)
class _Made:
    file: LinksFile
    graph: Graph
    source: _Source

    def links(self) -> Links:
        file = self.file
        weather = self._weather(Weather(), file.links, ("links",))
        edges: dict[tuple[int, int], Weather] = {}
        for k, table in enumerate(file.edges):
            a, b = table.ends
            for way in ((a, b),) if table.between is None else ((a, b), (b, a)):
                edges[way] = self._weather(edges.get(way, weather), table, ("edges", k))
        return Links(
            Conditions(
                weather,
                edges,
                self._compute(),
                [Freeze(tuple(f.nodes), f.lasts, f.at, f.every) for f in file.freezes],
                [Partition(tuple(p.nodes), p.at, p.lasts) for p in file.partitions],
                replace(Patience(), **_given(file.patience)),
                [Crash(tuple(c.nodes), c.at, c.lasts) for c in file.crashes],
            ),
            file.compute.time == MEASURED,
        )

    def _weather(self, base: Weather, table: LinkTable, place: Location) -> Weather:
        given = _given(table)
        for which in ("between", "source", "to"):
            given.pop(which, None)
        if isinstance(table.delay, MatrixTable):
            given["delay"] = self._measured(table.delay, (*place, "delay"))
        return replace(base, **given)

    def _measured(self, table: MatrixTable, place: Location) -> Measured:
        path = self.source.path
        try:
            matrix = read_matrix(table.matrix if path is None else path.parent / table.matrix)
        except ValueError as error:
            raise _wrong([f"{self.source.where(place)}: {error}"]) from None
        if len(matrix) != self.graph.n:
            found = f"the matrix is of {len(matrix)} nodes, the network has {self.graph.n}"
            raise _wrong([f"{self.source.where(place)}: {found}"])
        scale = table.unit / 2 if table.round_trip else table.unit
        return Measured(matrix * scale, table.sigma)

    def _compute(self) -> ComputeTime:
        table = self.file.compute
        slow = [Slow(tuple(s.nodes), s.factor, s.chance) for s in table.slow]
        if table.time is None or table.time == MEASURED:
            return ComputeTime(slow=slow)
        median, sigma = table.time
        return ComputeTime((median,), sigma, slow)


def _given(table: BaseModel) -> dict[str, Any]:
    """What stands in the table."""
    return {name: getattr(table, name) for name in table.model_fields_set}


# ---- mistakes ----


def _misplaced(file: LinksFile, graph: Graph, source: _Source) -> Iterator[str]:
    """Nodes and links that the network does not have."""
    tables: list[tuple[Location, Any]] = [
        (("freezes",), file.freezes),
        (("crashes",), file.crashes),
        (("partitions",), file.partitions),
        (("compute", "slow"), file.compute.slow),
    ]
    for table, rows in tables:
        for k, row in enumerate(rows):
            place: Location = (*table, k, "nodes")
            for node in row.nodes:
                if node >= graph.n:
                    yield f"{source.where(place)}: there is no node {node} of {graph.n}"
    linked = {(int(i), int(j)) for i, j in graph.edges}
    for k, edge in enumerate(file.edges):
        a, b = edge.ends
        if (a, b) not in linked and (edge.between is None or (b, a) not in linked):
            key = "from" if edge.between is None else "between"
            yield f"{source.where(('edges', k, key))}: nodes {a} and {b} are no neighbours"


def _wrong(mistakes: list[str]) -> ConfigError:
    several = f"{len(mistakes)} mistakes: " if len(mistakes) > 1 else ""
    return ConfigError(f"the links are wrong: {several}{'; '.join(mistakes)}", hint=HINT)


def _describe(source: _Source, item: Any) -> str:
    place = tuple(part for part in item["loc"] if part not in (AS_TABLE, AS_TEXT))
    where = source.where(place)
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such key{guess(LinksFile, place)}"
    words = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {words[:1].lower()}{words[1:]}"
