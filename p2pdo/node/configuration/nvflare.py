"""Makes a p2pdo.toml out of NVFlare's config_fed_client.json, format 2.

    NVFlare                                          p2pdo
    executors[i].tasks, .executor.path, .args        [executors.NAME] tasks, path, args
    components[i].id, .path, .args                   [components.ID]
    task_data_filters[i].tasks, .filters[j]          [[task_data_filters]], in order
    task_result_filters[i]…                          [[task_result_filters]]
    handlers[i]                                      [components.NAME]: every component hears events
    a class …MultiProcessExecutor                    its executor_id's own table, with processes
    "{name}" in a text, {"name": value} beside       the value, where the file defines it

A path "package.module.Class" becomes "package.module:Class". What has no counterpart is told in
words and left out: tasks named by a pattern other than "*", classes by their bare name, parts
switched off, NVFlare's own classes, whose code does not know this runtime, and keys that mean
nothing here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pdo.errors import ConfigError

_KNOWN = {
    "format_version",
    "executors",
    "components",
    "handlers",
    "task_data_filters",
    "task_result_filters",
}
_FORMAT = 2
_VARIABLE = re.compile(r"\{([A-Za-z_]\w*)\}")
_WORKERS = "MultiProcessExecutor"  # and PTMultiProcessExecutor


@dataclass
class Imported:
    """The new configuration as plain data, and what of the old one it does not have."""

    tables: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def import_nvflare(path: Path) -> Imported:
    """Reads one of NVFlare's client configurations.

    Raises:
        ConfigError: it is none of format 2.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"cannot read {path}: {why}", hint="give NVFlare's config_fed_client.json"
        ) from None
    if not isinstance(data, dict) or data.get("format_version") != _FORMAT:
        raise ConfigError(
            f"{path} is no configuration of NVFlare's format {_FORMAT}",
            hint='it begins with {"format_version": 2, "executors": …',
        )
    made = Imported()
    plain = (str, int, float, bool)
    variables = {k: v for k, v in data.items() if k not in _KNOWN and isinstance(v, plain)}
    used: set[str] = set()
    data = {
        key: value if key in variables else _filled(made, value, variables, used, key)
        for key, value in data.items()
    }
    for key in sorted(data.keys() - _KNOWN - used):
        made.remarks.append(f"'{key}' has no counterpart")
    for i, item in enumerate(_list(data, "executors")):
        _add_executor(made, item, i)
    for key in ("components", "handlers"):
        for i, item in enumerate(_list(data, key)):
            _add_component(made, item, f"{key}[{i}]", f"{key[:-1]}-{i + 1}")
    for key in ("task_data_filters", "task_result_filters"):
        for i, item in enumerate(_list(data, key)):
            _add_filters(made, key, item, f"{key}[{i}]")
    return made


def _filled(
    made: Imported, value: Any, variables: Mapping[str, Any], used: set[str], where: str
) -> Any:
    """With the file's own variables in their places; those of NVFlare's system are told."""
    if isinstance(value, dict):
        return {k: _filled(made, v, variables, used, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(made, v, variables, used, f"{where}[{i}]") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    named = _VARIABLE.findall(value)
    used.update(name for name in named if name in variables)
    for name in named:
        if name not in variables:
            made.remarks.append(f"{where}: the variable '{{{name}}}' is not defined in this file")
    if named and value == f"{{{named[0]}}}" and named[0] in variables:
        return variables[named[0]]  # alone it keeps its type
    return _VARIABLE.sub(lambda m: str(variables.get(m[1], m[0])), value)


def _list(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = data.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigError(f"'{key}' is no list of objects", hint="is this NVFlare's own file?")
    return found


def _add_executor(made: Imported, item: Mapping[str, Any], i: int) -> None:
    where = f"executors[{i}]"
    given = item.get("executor")
    inner: Mapping[str, Any] = given if isinstance(given, dict) else {}
    if str(inner.get("path") or inner.get("name")).endswith(_WORKERS):
        inner, more = _in_processes(made, inner, where)
    else:
        more = {}
    table = _made_of(made, inner, where)
    if table is None:
        return
    name = str(inner.get("id") or _own_name(table["path"], made.tables, "executors"))
    made.tables.setdefault("executors", {})[name] = {
        **table,
        **more,
        **_tasks(made, item, where),
    }


def _in_processes(
    made: Imported, inner: Mapping[str, Any], where: str
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The executor that runs in NVFlare's processes, and how many of them it has."""
    args = inner.get("args")
    args = args if isinstance(args, dict) else {}
    parts = _list(args, "components")
    wanted = args.get("executor_id")
    executor = next((part for part in parts if part.get("id") == wanted), {"name": wanted})
    for j, part in enumerate(parts):
        if part is not executor:
            _add_component(made, part, f"{where}.components[{j}]", f"component-{j + 1}")
    for key in sorted(args.keys() - {"components", "executor_id", "num_of_processes"}):
        made.remarks.append(f"{where}: '{key}' of its processes has no counterpart")
    return executor, {"processes": args.get("num_of_processes", 1)}


def _add_component(made: Imported, item: Mapping[str, Any], where: str, default: str) -> None:
    table = _made_of(made, item, where)
    if table is not None:
        made.tables.setdefault("components", {})[str(item.get("id") or default)] = table


def _add_filters(made: Imported, key: str, item: Mapping[str, Any], where: str) -> None:
    tasks = _tasks(made, item, where)
    for j, one in enumerate(_list(item, "filters")):
        table = _made_of(made, one, f"{where}.filters[{j}]")
        if table is not None:
            made.tables.setdefault(key, []).append({**table, **tasks})
    if direction := item.get("direction"):
        made.remarks.append(f"{where}: its direction '{direction}' has no counterpart")


def _tasks(made: Imported, item: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    """The tasks that are named; nothing, which is all of them, where all are, or none can be."""
    named = [str(task) for task in item.get("tasks") or ()]
    plain = [task for task in named if "*" not in task]
    if not named or "*" in named:
        return {}
    for task in named:
        if task not in plain:
            made.remarks.append(
                f"{where}: the task pattern '{task}' has no counterpart; list the tasks"
            )
    if plain:
        return {"tasks": plain}
    made.remarks.append(f"{where}: until then it is for all tasks")
    return {}


def _made_of(made: Imported, item: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The path and arguments of one part; None where it has no counterpart."""
    path = item.get("path") or item.get("class_path")
    if item.get("enabled") is False or item.get("config_type") == "dict":
        made.remarks.append(f"{where}: it is switched off, or plain data, and left out")
        return None
    if not isinstance(path, str) or "." not in path:
        name = item.get("name", path)
        made.remarks.append(f"{where}: '{name}' is no path package.module.Class; left out")
        return None
    module, _, cls = path.rpartition(".")
    if module.split(".", maxsplit=1)[0] == "nvflare":
        made.remarks.append(f"{where}: {path} is NVFlare's own, for NVFlare's runtime; left out")
        return None
    args = dict(item.get("args") or {})
    return {"path": f"{module}:{cls}", **({"args": args} if args else {})}


def _own_name(path: str, tables: Mapping[str, Any], kind: str) -> str:
    base = path.rpartition(":")[2].lower()
    taken = tables.get(kind, {})
    number = 1
    name = base
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name
