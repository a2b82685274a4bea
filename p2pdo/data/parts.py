"""Parts: how a local run's launcher hands each node its problem and start, without pickle.

One safetensors file a node. The arrays are the problem's fields and the start; the file's text
metadata says which class the fields belong to and holds the plain ones as JSON. Nodes that a
launcher started read only their own part, and never import what the data came from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from p2pdo.data import encode
from p2pdo.errors import ConfigError
from p2pdo.storage import arrays
from p2pdo.storage.trouble import writing
from p2pdo.types import Array, Plain

_START = "start"
_PROBLEM = "problem."


def part_path(folder: Path | str, node: int) -> Path:
    return Path(folder) / f"{node}.safetensors"


def write_part(path: Path, problem: Any, start: Array) -> None:
    """Writes one node's part.

    Raises:
        ConfigError: the problem cannot cross to another process, says which field, and why; or
            the disk does not take it.
    """
    where, plain, fields = _take_apart(problem)
    metadata = {"class": where, "plain": json.dumps(plain)}
    tensors = {f"{_PROBLEM}{name}": array for name, array in fields.items()}
    with writing(path, "choose another place for the run's folder with --out"):
        arrays.save(path, {**tensors, _START: np.ascontiguousarray(start)}, metadata)


def check_part(problem: Any) -> None:
    """Raises what `write_part` would raise of this problem, and writes nothing."""
    _take_apart(problem)


def _take_apart(problem: Any) -> tuple[str, dict[str, Plain], dict[str, Array]]:
    plain, arrays = encode.to_fields(problem)
    return encode.locate(type(problem)), plain, arrays


def read_part(path: Path) -> tuple[Any, Array]:
    """The problem and the start that `write_part` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"cannot read the part {path}: {error}",
            hint="the launcher removes it when its run ends: start the run again",
        ) from None
    start = tensors.pop(_START)
    arrays = {name.removeprefix(_PROBLEM): array for name, array in tensors.items()}
    cls = encode.load(metadata["class"])
    return encode.from_fields(cls, json.loads(metadata["plain"]), arrays), start
