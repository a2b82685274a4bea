"""The command line in this process, in a folder of its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from p2pdo.cli import main

ERROR_FIELDS = {"code", "message", "hint", "node", "workload", "iteration"}


@dataclass(frozen=True)
class Answer:
    """What a call printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> Any:
        envelope = self._envelope()
        assert envelope.keys() == {"schema", "ok", "data"}
        assert envelope["ok"] is True
        return envelope["data"]

    @property
    def error(self) -> dict[str, Any]:
        envelope = self._envelope()
        assert envelope.keys() == {"schema", "ok", "error"}
        assert envelope["ok"] is False
        error: dict[str, Any] = envelope["error"]
        assert error.keys() == ERROR_FIELDS
        return error

    def _envelope(self) -> dict[str, Any]:
        (line,) = self.stdout.splitlines()
        envelope: dict[str, Any] = json.loads(line)
        assert envelope["schema"] == "p2pdo/1"
        return envelope


Call = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("P2PDO_COORDINATOR", raising=False)


@pytest.fixture
def call() -> Call:
    """`call("topo", "ring")` is `p2pdo topo ring`."""

    def invoke(*arguments: str) -> Answer:
        result = CliRunner().invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return Answer(result.exit_code, result.stdout, result.stderr)

    return invoke
