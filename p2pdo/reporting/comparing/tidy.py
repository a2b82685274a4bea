"""Tidy data: one row an observation of one trial, in long format, for whatever reads tables.

    label                                            of the method in the comparison
    algorithm, problem, topology, nodes, executor    as in run.toml
    trial, seed, status                              good, diverged, failed, refused or unfinished
    iteration, seconds                               since the trial's first observation
    simulated_seconds                                on the clock of a simulated run
    gap, consensus_error, value                      null where they cannot be known,
    accuracy, test_accuracy                          as these
    gradients, values, proxes, messages, bytes       of all nodes, so far

Trials that are not good have their rows too: leave them out by `status`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from p2pdo.errors import MissingExtra
from p2pdo.reporting.comparing.trials import Group, Trial
from p2pdo.reporting.records import Metric
from p2pdo.storage.trouble import ANOTHER_FILE, writing

COLUMNS: Mapping[str, type] = {
    "label": str,
    "algorithm": str,
    "problem": str,
    "topology": str,
    "nodes": int,
    "executor": str,
    "trial": int,
    "seed": int,
    "status": str,
    "iteration": int,
    "seconds": float,
    "simulated_seconds": float,
    "gap": float,
    "consensus_error": float,
    "value": float,
    "accuracy": float,
    "test_accuracy": float,
    "gradients": float,
    "values": int,
    "proxes": int,
    "messages": int,
    "bytes": int,
}

Row: TypeAlias = dict[str, str | int | float | None]


def rows(groups: Sequence[Group]) -> Iterator[Row]:
    for group in groups:
        for number, trial in enumerate(group.trials):
            for metric in trial.metrics:
                yield _row(group.label, number, trial, metric)


def _row(label: str, number: int, trial: Trial, metric: Metric) -> Row:
    settings, calls = trial.settings, metric.calls
    return {
        "label": label,
        **{k: settings.get(k) for k in ("algorithm", "problem", "topology", "nodes", "executor")},
        "trial": number,
        "seed": trial.seed,
        "status": trial.status.value,
        "iteration": metric.iteration,
        "seconds": metric.seconds,
        "simulated_seconds": metric.simulated_seconds,
        "gap": metric.gap,
        "consensus_error": metric.consensus_error,
        "value": metric.value,
        "accuracy": metric.accuracy,
        "test_accuracy": metric.test_accuracy,
        "gradients": None if calls is None else calls.gradients,
        "values": None if calls is None else calls.values,
        "proxes": None if calls is None else calls.proxes,
        "messages": metric.messages_sent,
        "bytes": metric.bytes_sent,
    }


def write_csv(groups: Sequence[Group], path: Path) -> None:
    """Raises ConfigError where the file cannot be written."""
    with writing(path, ANOTHER_FILE), path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(rows(groups))


def write_parquet(groups: Sequence[Group], path: Path) -> None:
    """With pyarrow, or else polars.

    Raises:
        MissingExtra: neither is installed.
        ConfigError: the file cannot be written.
    """
    columns = _columns(groups)
    with writing(path, ANOTHER_FILE):
        _write_parquet(columns, path)


def _write_parquet(columns: Mapping[str, list[Any]], path: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        _polars("Parquet").DataFrame(columns, schema=_polars_schema()).write_parquet(path)
        return
    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    parquet.write_table(pa.table(dict(columns), schema=schema), path)


def to_dataframe(groups: Sequence[Group]) -> Any:
    """The rows as pandas' data frame, or else polars'.

    Raises:
        MissingExtra: neither is installed.
    """
    columns = _columns(groups)
    try:
        import pandas as pd
    except ModuleNotFoundError:
        return _polars("a data frame").DataFrame(columns, schema=_polars_schema())
    return pd.DataFrame(columns)


def _columns(groups: Sequence[Group]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row in rows(groups):
        for name, column in columns.items():
            value = row[name]
            column.append(value if value is None else COLUMNS[name](value))
    return columns


def _polars(what: str) -> Any:
    try:
        import polars as pl
    except ModuleNotFoundError as error:
        module = "pyarrow" if what == "Parquet" else "pandas or polars"
        raise MissingExtra(what, module, "tables") from error
    return pl


def _polars_schema() -> dict[str, Any]:
    polars = _polars("Parquet")
    types = {str: polars.String, int: polars.Int64, float: polars.Float64}
    return {name: types[kind] for name, kind in COLUMNS.items()}
