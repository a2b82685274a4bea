"""`pytest --p2pdo-laws`: what it runs, and what it says of a method that breaks a law."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

METHODS = '''
from dataclasses import dataclass
from typing import ClassVar

from p2pdo.algorithms import Consensus, Dgd, Limit
from p2pdo.effects import mix
from p2pdo.algorithms.consensus import ConsensusState


@dataclass(frozen=True)
class Good(Consensus):
    """Averages."""


@dataclass(frozen=True)
class Leaks(Consensus):
    """Loses a little in every iteration."""

    def step(self, s, problem, here):
        x = yield from mix(s.x)
        return ConsensusState(0.9 * x)


BOTH = [Good(), Good]
NUMBER = 3
'''


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "methods.py").write_text(METHODS)
    (folder / "test_other.py").write_text("def test_other():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "p2pdo.testing.plugin", "-v", *arguments]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.slow
def test_every_law_is_a_test_of_the_method_and_no_file_is_run(tmp_path: Path) -> None:
    asked = ("--p2pdo-laws", "methods:Good", "-k", "Good and not same_bits", "-rs")
    done = run_pytest(tmp_path, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "methods:Good[Good-reaches_its_limit] PASSED" in done.stdout
    assert "no `recursion` was given" in done.stdout
    assert "7 passed, 4 skipped" in done.stdout
    assert "test_other" not in done.stdout


@pytest.mark.slow
def test_a_broken_law_is_told_in_one_line_beside_the_files_that_were_named(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path, "test_other.py", "--p2pdo-laws", "methods:Leaks", "-k", "limit or other"
    )
    assert done.returncode == 1
    assert "test_other.py::test_other PASSED" in done.stdout
    assert "[Leaks-reaches_its_limit]: " in done.stdout
    assert "a weighted mean of the starts" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("methods:Bad", "methods has no 'Bad'"),
        ("methods:NUMBER", "methods:NUMBER is int, no algorithm"),
        ("nowhere:Method", "cannot import nowhere"),
    ],
)
def test_a_name_that_is_no_algorithm_is_a_usage_error(
    tmp_path: Path, where: str, says: str
) -> None:
    done = run_pytest(tmp_path, "--p2pdo-laws", where)
    assert done.returncode == 4
    assert says in done.stderr


def test_the_plugin_imports_nothing_of_weight_before_it_is_used() -> None:
    code = "import sys, p2pdo.testing.plugin; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
