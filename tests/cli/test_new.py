"""`p2pdo new`: what it makes runs, and its own test passes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pdo.cli.new import TEMPLATES

Call = Callable[..., Any]


@pytest.mark.slow
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_project_runs_and_its_test_passes(call: Call, tmp_path: Path, template: str) -> None:
    folder = tmp_path / "my_project"
    answer = call("new", str(folder), "-t", template)
    assert answer.code == 0, answer.stderr
    program = folder / "my_project.py"
    assert len(program.read_text().splitlines()) < 40
    assert "PROJECT" not in "".join(file.read_text() for file in folder.iterdir())
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    for arguments in ([program.name], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "."]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["my-project", "3d", "class"])
def test_a_name_that_cannot_be_imported_is_refused(call: Call, tmp_path: Path, name: str) -> None:
    answer = call("new", str(tmp_path / name))
    assert answer.code == 3
    assert "cannot be imported" in answer.stderr


def test_an_existing_folder_is_left_alone(call: Call, tmp_path: Path) -> None:
    assert call("new", str(tmp_path)).code in {3, 4}
    (tmp_path / "here").mkdir()
    assert call("new", str(tmp_path / "here")).code == 4
