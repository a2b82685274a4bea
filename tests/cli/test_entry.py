"""A Ctrl-C that comes while a program is still being imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

STRIKE = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"


def interrupted_importing(
    module: str, folder: Path, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The program, with a signal in the middle of importing `module`."""
    (folder / f"{module}.py").write_text(STRIKE)
    paths = [str(folder), *sys.path]
    return subprocess.run(
        [sys.executable, "-c", f"from p2pdo.entry import {program}; {program}()", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("program", ["p2pdo", "coordinator", "node"])
def test_it_ends_a_program_that_is_being_imported(program: str, tmp_path: Path) -> None:
    done = interrupted_importing("click", tmp_path, program, "run", "quadratic")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error[interrupted]: interrupted by SIGINT\n"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("coordinator", ["--listen", "127.0.0.1:0"]),
        ("node", ["--coordinator", "127.0.0.1:1", "--name", "a"]),
    ],
)
def test_it_ends_a_daemon_that_has_no_loop_yet(
    program: str, arguments: list[str], tmp_path: Path
) -> None:
    state = ["--state", str(tmp_path / "state"), "--insecure"]
    done = interrupted_importing("uvloop", tmp_path, program, *arguments, *state)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error[interrupted]: interrupted by SIGINT\n"


def test_the_envelope_is_there_too(tmp_path: Path) -> None:
    done = interrupted_importing("click", tmp_path, "p2pdo", "ls", "--json")
    assert (done.returncode, done.stderr) == (130, "")
    envelope = json.loads(done.stdout)
    assert (envelope["schema"], envelope["ok"]) == ("p2pdo/1", False)
    told = {"code": "interrupted", "message": "interrupted by SIGINT"}
    nothing = dict.fromkeys(("hint", "node", "workload", "iteration"))
    assert envelope["error"] == {**told, **nothing}
