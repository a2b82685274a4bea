"""A comparison that is killed or interrupted leaves nobody behind, and goes on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2pdo
from p2pdo.reporting.comparing.folder import ComparisonFolder
from p2pdo.reporting.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

# Trial 1 holds still until the test lets it go on.
HELD = """
import os, threading
from pathlib import Path
import numpy as np
from p2pdo.problems import LeastSquares

def factory(node_index, nodes, partition, seed):
    if seed == 1 and not Path("go").exists():
        os.write(os.open("held", os.O_WRONLY), f"{os.getpid()}\\n".encode())
        threading.Event().wait()
    rng = np.random.default_rng([seed, node_index])
    return LeastSquares(rng.normal(size=(8, 3)), rng.normal(size=8))
"""
COMMAND = [sys.executable, "-m", "p2pdo", "run"]
ASKED = ["mine.py:factory", "-a", "dgd", "-n", "3", "--trials", "3", "--rounds", "50"]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "mine.py").write_text(HELD)
    os.mkfifo(tmp_path / "held")
    process = subprocess.Popen(
        [*COMMAND, *ASKED, "--out", "c", "--jobs", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def worker_of(folder: Path) -> int:
    """Waits until a worker holds still in trial 1; its process, to be waited for."""
    with (folder / "held").open() as held:
        return os.pidfd_open(int(held.readline()))


def require_ended(worker: int) -> None:
    ready, _, _ = select.select([worker], [], [], 30)
    os.close(worker)
    assert ready, "the worker outlives its launcher"


def resumed(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "go").touch()
    return subprocess.run(
        [*COMMAND, "--resume", "c"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_where_it_stopped(
    launcher: subprocess.Popen[str],
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = worker_of(tmp_path)
    launcher.send_signal(number)
    _, said = launcher.communicate(timeout=30)
    require_ended(worker)
    if number != signal.SIGKILL:
        assert launcher.returncode == 128 + number
        assert "p2pdo run --resume c goes on with it" in said
    folder = ComparisonFolder(tmp_path / "c")
    assert [folder.has_ended("dgd", trial) for trial in range(3)] == [True, False, False]
    first = RunFolder(folder.trial("dgd", 0)).read_summary()

    done = resumed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "dgd trial 0" not in done.stderr
    assert "3 of 3" in done.stdout
    assert RunFolder(folder.trial("dgd", 0)).read_summary() == first
    monkeypatch.chdir(tmp_path)
    for trial in range(3):
        alone = p2pdo.run("mine.py:factory", "dgd", nodes=3, rounds=50, seed=trial)
        summary = RunFolder(folder.trial("dgd", trial)).read_summary()
        assert summary.iterations == alone.summary.iterations
        assert summary.state_sha256 == alone.summary.state_sha256


def test_two_do_not_work_on_one_folder(launcher: subprocess.Popen[str], tmp_path: Path) -> None:
    worker = worker_of(tmp_path)
    done = resumed(tmp_path)
    assert done.returncode == 4
    assert "another process is using the comparison in c" in done.stderr
    launcher.kill()
    require_ended(worker)
