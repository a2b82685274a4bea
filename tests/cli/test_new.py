"""`p2pdo new`: what it makes runs, and its own test passes."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import types
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


def test_what_a_project_lacks_is_installed_first(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "pytest"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        sys.modules[module].__spec__ = importlib.machinery.ModuleSpec(module, None)
    told = call("new", str(tmp_path / "one"), "-t", "torch").stdout
    assert "&& python one.py && pytest" in told
    assert "pip" not in told
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    told = call("new", str(tmp_path / "two"), "-t", "torch").stdout
    assert "&& pip install pytest 'p2pdo[torch]' && python two.py && pytest" in told
    told = call("new", str(tmp_path / "three"), "-t", "quadratic").stdout
    assert "&& pip install pytest && python three.py && pytest" in told


@pytest.mark.parametrize("name", ["my-project", "3d", "class"])
def test_a_name_that_cannot_be_imported_is_refused(call: Call, tmp_path: Path, name: str) -> None:
    answer = call("new", str(tmp_path / name))
    assert answer.code == 3
    assert "cannot be imported" in answer.stderr


def test_an_existing_folder_is_left_alone(call: Call, tmp_path: Path) -> None:
    assert call("new", str(tmp_path)).code in {3, 4}
    (tmp_path / "here").mkdir()
    assert call("new", str(tmp_path / "here")).code == 4
