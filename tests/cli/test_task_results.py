"""What `p2pdo results` prints of a workload of tasks."""

import io
import json
from typing import Any

import numpy as np
from rich.console import Console

from p2pdo.cli.task_results import show
from p2pdo.wire.plain import encode_data


def printed(value: Any) -> str:
    """The last column of a result's row."""
    row = {"place": 1, "node": "lyon", "name": "train", "status": "ok", "value": value}
    data = {"status": "done", "workload_id": "k3v9x2aa", "tasks": 1, "unanswered": 0}
    console = Console(file=io.StringIO(), width=200)
    show(console, {**data, "acknowledged": 0, "results": [row]})
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()[2].split("ok", 1)[1].strip()


def test_arrays_are_shown_as_lists() -> None:
    sent = json.loads(encode_data({"w": np.array([[0.5, -1.0]]), "rows": 3}))
    assert printed(sent) == '{"w": [[0.5, -1.0]], "rows": 3}'
    assert printed([1, "two"]) == '[1, "two"]'
    assert printed(json.loads(encode_data(np.array([2j])))) == '["2j"]'


def test_what_looks_like_an_array_and_is_none_is_shown_as_it_came() -> None:
    odd = {"__array__": "AA==", "dtype": "float64", "shape": [1]}
    assert printed(odd).startswith('{"__array__": "AA=="')
