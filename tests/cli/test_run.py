"""`p2pdo run` on the executors that need no processes."""

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.api.runs import EXECUTORS
from p2pdo.cli import main
from p2pdo.reporting import pictures
from p2pdo.reporting.run_folder import RunFolder

pytestmark = pytest.mark.slow  # pictures
Call = Callable[..., Any]
DATA = [
    "workload_id",
    "status",
    "problem",
    "algorithm",
    "topology",
    "nodes",
    "executor",
    "iterations",
    "gap",
    "consensus_error",
    "value",
    "optimum",
    "distance_to_optimum",
    "bytes_sent",
    "messages_sent",
    "seconds",
    "run_dir",
    "state_sha256",
    "links",
    "header_bytes",
    "codec",
    "calls",
    "accuracy",
    "test_accuracy",
    "rates",
    "dropped",
    "simulated",
    "privacy",
]
FAST = ["--on", "dense", "--nodes", "4"]

PROBLEMS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Half:
    dimension: int = 3
    smoothness: float = 1.0
    def value(self, x): return float(x @ x) / 2
    def gradient(self, x): return x

four = [Half()] * 4

def factory(node_index, nodes, partition, seed, *, dimension=3):
    return Half(dimension)
"""


def test_the_data_are_exactly_these(call: Call) -> None:
    data = call("run", "quadratic", *FAST, "--json").data
    assert list(data) == DATA
    assert data["status"] == "converged"
    assert max(data["gap"], data["consensus_error"]) <= 1e-8
    assert data["run_dir"] == f"runs/{data['workload_id']}"


def test_a_run_leaves_its_folder(call: Call) -> None:
    call("run", "quadratic", *FAST, "--rounds", "100", "--out", "here", "--set", "step_size=0.01")
    files = {path.name for path in Path("here").iterdir()}
    expected = {"run.toml", "metrics.jsonl", "summary.json", "counts.json", "states"}
    assert files == expected | {"convergence.png", "topology.png"}
    settings = tomllib.loads(Path("here/run.toml").read_text())["settings"]
    assert settings["parameters"]["step_size"] == 0.01
    assert "tol" not in settings
    assert settings["executor"] == "dense"


def test_a_person_sees_the_summary_and_progress_goes_to_stderr(call: Call) -> None:
    answer = call("run", "quadratic", *FAST, "--out", "here")
    assert answer.code == 0
    assert answer.stdout.startswith("converged  ")
    assert "run folder           here" in answer.stdout
    assert "pictures             topology.png, convergence.png" in answer.stdout
    assert "gradient-tracking on quadratic, 4 nodes, ring, dense" in answer.stderr
    assert "iteration 0/10,000" in answer.stderr


def test_quiet_prints_the_id_alone(call: Call) -> None:
    answer = call("run", "quadratic", *FAST, "--out", "here", "-q")
    summary = json.loads(Path("here/summary.json").read_text())
    assert answer.stdout == f"{summary['workload_id']}\n"
    assert answer.stderr == ""


def test_a_timeline_is_told_with_its_file_and_shares(call: Call) -> None:
    run = ("run", "quadratic", "--on", "inprocess", "-n", "4", "--rounds", "40")
    last = call(*run, "--timeline", "t.json").stdout.splitlines()[-1]
    assert last.startswith("timeline t.json: compute ")
    data = call(*run, "--timeline", "u.json", "--json").data["timeline"]
    assert data["file"] == "u.json"
    assert 0 < data["shares"]["compute"] < 1
    assert json.loads(Path("u.json").read_text())["traceEvents"]


def test_a_timeline_of_an_executor_without_one_is_refused(call: Call) -> None:
    answer = call("run", "quadratic", *FAST, "--timeline", "t.json", "--json")
    assert answer.code == 3
    assert "--on processes" in answer.error["hint"]


def test_rounds_without_a_tolerance_are_run_to_the_end(call: Call) -> None:
    data = call("run", "quadratic", *FAST, "--rounds", "700", "--json").data
    assert (data["status"], data["iterations"]) == ("done", 700)


def test_a_tolerance_without_rounds_stops_at_it(call: Call) -> None:
    data = call("run", "quadratic", *FAST, "--tol", "1e-3", "--json").data
    assert data["status"] == "converged"
    assert max(data["gap"], data["consensus_error"]) <= 1e-3


def test_a_problem_of_unknown_optimum_has_no_default_tolerance(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pdo.cli.run.ROUNDS", 120)
    (tmp_path / "mine.py").write_text(PROBLEMS)
    data = call("run", "mine.py:four", *FAST, "--out", "here", "--json").data
    assert (data["status"], data["gap"], data["optimum"]) == ("done", None, None)
    assert data["iterations"] == 120


def test_a_factory_takes_the_problems_parameters(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PROBLEMS)
    arguments = ["--set", "problem.dimension=5", "--rounds", "5"]
    call("run", "mine.py:factory", *FAST, *arguments, "--out", "here", "-q")
    from p2pdo.reporting.run_folder import RunFolder

    assert {x.shape for x in RunFolder(Path("here")).read_states().values()} == {(5,)}


@pytest.mark.parametrize("executor", [name for name in EXECUTORS if name != "processes"])
def test_every_executor_ends_in_the_same_bits(call: Call, executor: str) -> None:
    arguments = ["--nodes", "4", "--rounds", "60", "--delay-seed", "7", "--json"]
    data = call("run", "quadratic", "--on", executor, *arguments).data
    same = call("run", "quadratic", "--on", "dense", *arguments).data
    assert data["executor"] == executor
    assert data["state_sha256"] == same["state_sha256"]


@pytest.mark.parametrize(
    "content",
    [
        {"edges": [[0, 1], [1, 2], [2, 3], [3, 0]], "directed": False},
        {"weights": [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5]]},
        [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5]],
    ],
    ids=["edges", "weights", "a bare matrix"],
)
def test_a_topology_is_read_from_a_file(call: Call, tmp_path: Path, content: object) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(content))
    arguments = ["-t", "graph.json", "--rounds", "50", "--out", "here", "--json"]
    assert call("run", "quadratic", *FAST, *arguments).data["topology"] == "custom"
    assert Path("here/topology.png").exists()


def test_a_topologys_name_is_not_taken_for_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "ring").write_text("no graph")
    assert call("run", "quadratic", *FAST, "-t", "ring", "--json").data["topology"] == "ring"


def test_a_start_is_read_from_a_file(call: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full(10, 2.0))
    arguments = ["-a", "consensus", "--start", "x.npy", "--rounds", "3", "--out", "here", "-q"]
    call("run", "quadratic", *FAST, *arguments)
    for x in RunFolder(Path("here")).read_states().values():
        np.testing.assert_allclose(x, 2.0, rtol=1e-15)


def test_a_run_of_nothing_is_refused(call: Call) -> None:
    answer = call("run", "quadratic", "--rounds", "0", "--json")
    assert answer.code == 3
    assert answer.error["message"] == "rounds must be one or more, got 0"


def test_a_forced_run_that_grew_without_end_says_so(call: Call) -> None:
    arguments = ("-s", "step_size=0.05", "--rounds", "600", "--force", "--out", "here")
    answer = call("run", "quadratic", *FAST, *arguments)
    assert answer.code == 1
    assert answer.stdout.startswith("diverged")
    assert "the run diverged: the gap grew from " in answer.stderr
    told = call("run", "quadratic", *FAST, *arguments[:-1], "there", "--json")
    assert (told.code, told.data["status"]) == (1, "diverged")


def test_without_matplotlib_a_run_is_a_run_and_says_how_to_get_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    answer = call("run", "quadratic", *FAST, "--out", "here")
    assert answer.code == 0
    assert "not drawn: plotting needs matplotlib; pip install 'p2pdo[plots]'" in answer.stderr
    assert answer.stdout.rstrip().endswith("next: p2pdo plot here")


def test_the_pictures_are_drawn_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    draw = pictures.draw

    def counted(folder: RunFolder, *where: Any) -> Any:
        drawn.append(folder.path)
        return draw(folder, *where)

    monkeypatch.setattr(pictures, "draw", counted)
    assert call("run", "quadratic", *FAST, "--out", "here").code == 0
    assert drawn == [Path("here")]


def test_a_failed_run_keeps_its_folder_and_its_failure(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PROBLEMS)
    arguments = ["--set", "step_size=1e150", "--start", "normal", "--out", "here", "--json"]
    answer = call("run", "mine.py:four", *FAST, *arguments)
    assert answer.code == 1
    assert answer.error["code"] == "workload-failed"
    last = json.loads(Path("here/events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "failed"
    assert {key: last[key] for key in ("code", "message", "node", "iteration", "workload")} == {
        key: answer.error[key] for key in ("code", "message", "node", "iteration", "workload")
    }


def test_a_bug_in_a_run_leaves_its_traceback_in_the_folder(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("p2pdo.api.runs.run_lockstep", broken)
    answer = call("run", "quadratic", *FAST, "--out", "here", "--json")
    assert answer.code == 1
    assert answer.error["code"] == "bug"
    assert answer.error["hint"].endswith("here/crash.txt")
    assert "ZeroDivisionError: unforeseen" in Path("here/crash.txt").read_text()


def test_help_names_every_executor_and_topology(call: Call) -> None:
    from p2pdo.graphs.topologies import TOPOLOGIES

    text = " ".join(call("run", "--help").stdout.split()).replace("- ", "-")
    for name in (*EXECUTORS, *TOPOLOGIES):
        assert name in text, name
    assert main.get_command(None, "run").name == "run"


ASYNC = ["-a", "robust-push-sum", "--nodes", "4", "--rounds", "60"]


def test_an_asynchronous_run_in_bad_weather_is_told_like_any_other(call: Call) -> None:
    data = call(
        *("run", "quadratic", *ASYNC, "--on", "simulated", "--drop", "0.3"),
        *("--link-delay", "lognormal:20ms,0.3", "--link-loss", "0.1", "--max-staleness", "6"),
        *("--compute", "2ms", "--activation", "markov:fails=0.1,recovers=0.6,every=50ms", "--json"),
    ).data
    assert (data["status"], data["iterations"], data["algorithm"]) == (
        "done",
        60,
        "robust-push-sum",
    )
    folder = Path(data["run_dir"])
    settings = tomllib.loads((folder / "run.toml").read_text())["settings"]
    assert [settings[name] for name in ("drop", "link_delay", "link_loss", "max_staleness")] == [
        *("0.3", "lognormal:20ms,0.3", 0.1, 6)
    ]
    assert settings["activation"] == "markov:fails=0.1,recovers=0.6,every=50ms"
    assert data["dropped"] > 0
    told = data["simulated"]
    assert told["seconds"] > 60 * 0.05
    assert told["frames_lost"] > 0 < told["computing_share"] < 1
    assert (folder / "convergence.png").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--on", "dense"], "--on simulated"),
        (["--on", "inprocess", "--activation", "cyclic"], "--on simulated"),
        (["--on", "simulated", "--activation", "poisson:9=1"], "--activation poisson:rate=20"),
        (["--on", "simulated", "--link-delay", "soon"], "--link-delay 20ms"),
        (["--on", "processes", "--activation", "poisson"], "leave --activation out"),
        (["--on", "processes", "--link-loss", "0.1"], "--on simulated"),
        (["--on", "inprocess", "--drop", "0.1"], "--on simulated"),
        (["--on", "inprocess", "--timeline", "t.json"], "leave --timeline out"),
        (["--lane", "shared-memory"], "--lane auto"),
        (["--on", "simulated", "--drop", "1"], "--drop 0.1"),
        (["--on", "simulated", "--max-staleness", "0"], "--max-staleness 4"),
    ],
)
def test_what_an_asynchronous_run_cannot_have_is_refused(
    call: Call, asked: list[str], says: str
) -> None:
    answer = call("run", "quadratic", *ASYNC, *asked, "--json")
    assert answer.code == 3
    assert says in answer.error["hint"]


@pytest.mark.parametrize("on", ["dense", "stacked", "inprocess", "simulated"])
def test_a_lane_is_asked_for_where_values_cross_processes(call: Call, on: str) -> None:
    answer = call("run", "quadratic", "--on", on, "--lane", "grpc", "--json")
    assert answer.code == 3
    assert "--on processes" in answer.error["hint"]


def test_a_synchronous_run_has_no_weather(call: Call) -> None:
    answer = call("run", "quadratic", "--on", "simulated", "--drop", "0.1", "--json")
    assert answer.code == 3
    assert "gradient-tracking" in answer.error["message"]


@pytest.mark.parametrize("executor", ["dense", "inprocess"])
@pytest.mark.parametrize(
    "asked", ["breast-cancer-private -a dp-dgd", "averaging-private -a masked-consensus"]
)
def test_methods_that_need_a_secret_have_problems_by_name(
    call: Call, asked: str, executor: str
) -> None:
    how = ("-n", "4", "--rounds", "40", "--on", executor, "--out", "here", "--json")
    answer = call("run", *asked.split(), *how)
    assert answer.code == 0
    assert answer.data["iterations"] == 40
    assert ("epsilon" in str(answer.data)) == ("dp-dgd" in asked)
    assert "secret" not in Path("here/run.toml").read_text()
