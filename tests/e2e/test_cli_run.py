"""`p2pdo run` as its users start it: a process of its own, and daemons for its nodes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

P2PDO = Path(sys.executable).with_name("p2pdo")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [P2PDO, "run", "quadratic", "--nodes", "3", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run that would take hours and has shown its first progress."""
    command = [
        P2PDO,
        "run",
        "quadratic",
        "-n",
        "3",
        "--rounds",
        "10000000",
        "--observe-every",
        "10",
    ]
    process = subprocess.Popen(
        [*command, "--out", "here", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any(line.startswith("iteration") for line in process.stderr)
    yield process
    process.kill()
    process.communicate()


def test_daemons_end_in_the_bits_of_the_dense_executor(tmp_path: Path) -> None:
    real = run(tmp_path, "--rounds", "100", "--json")
    dense = run(tmp_path, "--rounds", "100", "--json", "--on", "dense")
    (line,) = real.stdout.splitlines()
    data = json.loads(line)["data"]
    assert real.returncode == 0
    assert (data["executor"], data["status"], data["iterations"]) == ("processes", "done", 100)
    assert data["state_sha256"] == json.loads(dense.stdout)["data"]["state_sha256"]
    assert (tmp_path / data["run_dir"] / "convergence.png").exists()
    assert "nodes 3/3" in real.stderr


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_stops_the_run_keeps_its_folder_and_leaves_no_process(
    long_run: "subprocess.Popen[str]", tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    children = psutil.Process(long_run.pid).children(recursive=True)
    assert len(children) == 4  # a coordinator and three nodes
    long_run.send_signal(number)
    stdout, stderr = long_run.communicate(timeout=60)
    (line,) = stdout.splitlines()
    error = json.loads(line)["error"]
    assert (long_run.returncode, error["code"]) == (code, word)
    assert "p2pdo plot here" in error["hint"]
    assert "Traceback" not in stderr
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert (tmp_path / "here/metrics.jsonl").stat().st_size > 0
    last = json.loads((tmp_path / "here/events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "stopped"
    assert not (tmp_path / "here/.work").exists()


def test_trouble_in_a_users_gradient_crosses_from_the_node_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        "    worst: float\n"
        "    dimension: int = 2\n"
        "    smoothness: float = 1.0\n"
        "    def value(self, x):\n"
        "        return 0.0\n"
        "    def gradient(self, x):\n"
        "        return x * np.nan if abs(x).max() < self.worst else x\n"
        "three = [Mine(0.0), Mine(0.5), Mine(0.0)]\n"
    )
    asked = ["-n", "3", "--start", "normal", "--set", "step_size=0.1", "--out", "here", "--json"]
    done = subprocess.run(
        [P2PDO, "run", "mine.py:three", *asked],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 1
    assert (error["code"], error["node"]) == ("workload-failed", "node-1")
    assert isinstance(error["iteration"], int)
    assert "Traceback" not in done.stderr
    last = json.loads((tmp_path / "here/events.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["node"], last["iteration"]) == (
        "failed",
        "node-1",
        error["iteration"],
    )


def test_daemons_run_an_asynchronous_algorithm_to_a_tolerance(tmp_path: Path) -> None:
    real = run(
        tmp_path,
        *("-a", "asy-sonata", "--set", "step_size=0.1", "--rounds", "20000", "--tol", "1e-6"),
        "--json",
    )
    data = json.loads(real.stdout.splitlines()[-1])["data"]
    assert real.returncode == 0
    assert (data["executor"], data["status"]) == ("processes", "converged")
    assert max(data["gap"], data["consensus_error"]) <= 1e-6
    assert data["links"] == {"grpc": 3}
    assert (tmp_path / data["run_dir"] / "convergence.png").exists()
