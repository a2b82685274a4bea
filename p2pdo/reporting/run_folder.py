"""The run folder. Everything that a run leaves, in formats that outlive the program.

    run.toml                     resolved settings, versions, machine
    metrics.jsonl                one metric a line, while the run lasts
    events.jsonl                 what happened and when: a node lost, a node back
    states/NODE.safetensors      each node's final decision variable, key x
    states.safetensors           the same of more than 1,000 nodes: the rows of x, in node order
    results.json                 what each node's participant returned, by the node's name
    counts.json                  what each node asked of its cost and sent, by the node's name
    summary.json                 once, at the end
    nodes/NODE/                  of participants on this machine: checkpoints, history

The logs grow line by line (`json_lines`). Every other file is whole or not there, so that
whoever looks into the folder of a running workload never meets half of one. One process writes a
folder; any number may read it.
"""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from p2pdo.errors import ConfigError, Conflict, NotFound
from p2pdo.protocol.plan import node_name
from p2pdo.reporting import json_lines, machine, toml_text
from p2pdo.reporting.file_names import from_file_name, to_file_name
from p2pdo.reporting.records import Metric, Summary
from p2pdo.storage.drafts import whole
from p2pdo.storage.trouble import damaged, writing
from p2pdo.types import Array, Plain, States

_RUN = "run.toml"
_METRICS = "metrics.jsonl"
_EVENTS = "events.jsonl"
_SUMMARY = "summary.json"
_RESULTS = "results.json"
_COUNTS = "counts.json"
_STATES = "states"
_SUFFIX = ".safetensors"
_ALL_STATES = f"{_STATES}{_SUFFIX}"

MOST_FILES = 1000
"""Nodes whose states have a file each."""


class RunFolder:
    """One run's folder. As a context manager it closes the logs that it opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = ExitStack()
        self._logs: dict[str, IO[bytes]] = {}

    @classmethod
    def create(cls, out: Path | None, workload_id: str) -> Self:
        """An empty folder at `out`, or at runs/WORKLOAD.

        Raises:
            Conflict: there are files in it already.
            ConfigError: it cannot be made or written to.
        """
        path = out if out is not None else Path("runs") / to_file_name(workload_id)
        with writing(path, _HINT):
            path.mkdir(parents=True, exist_ok=True)
            taken = any(path.iterdir())
        if taken:
            raise Conflict(
                f"{path} is not empty",
                hint=f"name another folder with --out, or rm -r {shlex.quote(str(path))}",
            )
        if not os.access(path, os.W_OK | os.X_OK):
            raise ConfigError(f"cannot write {path}", hint=_HINT)
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the logs; a later append opens them again."""
        self._logs.clear()
        self._open.close()

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """The resolved settings, and beside them the versions and the machine."""
        text = toml_text.dumps(
            {
                "settings": settings,
                "versions": machine.versions(),
                "machine": machine.fingerprint(),
            }
        )
        self._write(_RUN, text.encode())

    def append_metric(self, metric: Metric) -> None:
        self._append(_METRICS, metric.to_plain())

    def append_event(self, event: str, *, seconds: float, **fields: Plain) -> None:
        """What happened, and when on the clock of the metrics."""
        self._append(_EVENTS, {"seconds": seconds, "event": event, **fields})

    def write_states(self, name: Callable[[int], str], states: States) -> None:
        """Every node's state, in node order; `name` tells a node's."""
        if len(states) > MOST_FILES:
            self._write(_ALL_STATES, _encode_x(np.asarray(states), "all nodes"))
            return
        for node, x in enumerate(states):
            self.write_state(name(node), x)

    def write_state(self, node: str, x: Array) -> None:
        content = _encode_x(np.asarray(x), repr(node))
        with writing(self.path / _STATES, _HINT):
            (self.path / _STATES).mkdir(exist_ok=True)
        self._write(f"{_STATES}/{to_file_name(node)}{_SUFFIX}", content)

    def write_summary(self, summary: Summary) -> None:
        self._write(_SUMMARY, json_lines.encode(summary.to_plain(), indent=2).encode() + b"\n")

    def write_results(self, results: Mapping[str, Plain]) -> None:
        self._write(_RESULTS, json_lines.encode(results, indent=2).encode() + b"\n")

    def write_counts(self, counts: Mapping[str, Mapping[str, Plain]]) -> None:
        self._write(_COUNTS, json_lines.encode(counts, indent=2).encode() + b"\n")

    def read_settings(self) -> dict[str, Any]:
        """The settings; one that was None is absent."""
        path = self._existing(_RUN, "is it a run folder?")
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8")).get("settings", {})
        except ValueError as error:
            raise damaged(path) from error
        return dict(settings)

    def read_metrics(self) -> list[Metric]:
        return [Metric.from_plain(record) for record in self._records(_METRICS)]

    def read_events(self) -> list[dict[str, Plain]]:
        return self._records(_EVENTS)

    def read_states(self) -> dict[str, Array]:
        """The final x by node name, for the nodes whose state was returned."""
        self._must_exist()
        together = self.path / _ALL_STATES
        if together.exists():
            return {node_name(i): x for i, x in enumerate(_load_x(together))}
        files = sorted((self.path / _STATES).glob(f"*{_SUFFIX}"))
        return {from_file_name(file.name.removesuffix(_SUFFIX)): _load_x(file) for file in files}

    def read_summary(self) -> Summary:
        """What the run ended with; NotFound while it has not ended."""
        path = self._existing(_SUMMARY, "the run has not ended, or was killed; its metrics remain")
        try:
            plain = json.loads(path.read_bytes())
        except ValueError as error:
            raise damaged(path) from error
        if not isinstance(plain, dict):
            raise damaged(path)
        return Summary.from_plain(plain)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        path = self.path / name
        with writing(path, _HINT):
            if name not in self._logs:
                self._logs[name] = self._open.enter_context(json_lines.open_to_append(path))
            json_lines.append(self._logs[name], record)

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        with writing(path, _HINT), whole(path, durable=False) as draft:
            draft.write_bytes(content)

    def _records(self, name: str) -> list[dict[str, Plain]]:
        self._must_exist()
        path = self.path / name
        return json_lines.read(path) if path.exists() else []

    def _existing(self, name: str, hint: str) -> Path:
        self._must_exist()
        path = self.path / name
        if not path.is_file():
            raise NotFound(f"{self.path} has no {name}", hint=hint)
        return path

    def _must_exist(self) -> None:
        if not self.path.is_dir():
            raise NotFound(f"there is no run folder {self.path}", hint="p2pdo run writes runs/ID")


_HINT = "name a folder that you may write to with --out"


def _encode_x(x: Array, whose: str) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        content = save({"x": x.astype(x.dtype.newbyteorder("<"), order="C", copy=False)})
    except (SafetensorError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the state of {whose} has dtype {x.dtype}, which safetensors cannot hold",
            hint="return x as an array of numbers",
        ) from error
    return bytes(content)


def _load_x(path: Path) -> Array:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        x: Array = load(path.read_bytes())["x"]
    except (SafetensorError, KeyError) as error:
        raise damaged(path) from error
    return x
