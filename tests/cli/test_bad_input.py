"""Whatever is wrong is told in one line, with a remedy and the documented exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
MINE = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Mine:
    trouble: str = ""
    dimension: int = 3
    def value(self, x): return 0.0
    def gradient(self, x):
        if self.trouble == "shape":
            return np.zeros(2)
        if self.trouble == "nan":
            return x * np.nan
        if self.trouble == "raise":
            raise ValueError("no more data")
        return x

fine = [Mine()] * 4
shape, nan, bad = ([Mine()] * 2 + [Mine(t)] + [Mine()] for t in ("shape", "nan", "raise"))
three = [Mine()] * 3
number = 3
none = []

def unlike(node):
    return Mine()

def factory(*arguments, **parameters):
    raise RuntimeError("no data here,\\nnor there")
"""
FILES = {
    "mine.py": MINE,
    "boom.py": "raise RuntimeError('broken')",
    "exits.py": "raise SystemExit(0)",
    "syntax.py": "def f(:",
    "needs.py": "import no_such_module",
    "starts.py": "import p2pdo; p2pdo.run('quadratic', rounds=1)",
    "cut.json": '{"edges": [[0, 1], [2, 3]]}',
    "unfair.json": "[[0.5, 0.4, 0.1, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0.5, 0, 0.5]]",
    "two.json": "[[0.5, 0.5], [0.5, 0.5]]",
    "torn.json": '{"edges": [[0,',
    "odd.json": '{"edge": []}',
    "empty.npy": "",
    "text.npy": "these are no numbers",
    "text.safetensors": "these are no numbers",
    "full/file": "mine",
}
RUN = "run quadratic -n 4 --on dense --rounds 10"
ASYNCHRONOUS = "run quadratic --on simulated"
USER = "-n 4 --on dense --rounds 10 --set step_size=0.1"
NOWHERE = "--coordinator 127.0.0.1:1"

CASES = [
    # unknown words
    (f"{RUN} -a gradient-traking", 3, "config", "did you mean 'gradient-tracking'"),
    ("run quadratc --on dense", 3, "config", "did you mean 'quadratic'"),
    (f"{RUN} -t rnig", 3, "config", "did you mean 'ring'"),
    (f"{RUN} --weights metropolitan", 3, "config", "did you mean 'metropolis'"),
    (f"{RUN} --partition idd", 3, "config", "did you mean 'iid'"),
    (f"{RUN} --on dence", 3, "config", "did you mean 'dense'"),
    (f"{RUN} --dtype float23", 3, "config", "did you mean 'float32'"),
    (f"{RUN} --set stepsize=1", 3, "config", "did you mean 'step_size'"),
    (f"{RUN} --set problem.dimensions=1", 3, "config", "did you mean 'dimension'"),
    (f"{RUN} --no-such-flag", 2, "usage", "p2pdo run --help"),
    ("run", 2, "usage", "p2pdo run --help"),
    # values
    (f"{RUN} --nodes 0", 3, "config", "--nodes 8"),
    (f"{RUN} --nodes -3", 3, "config", "--nodes 8"),
    (f"{RUN} --nodes 100000000000", 3, "config", "at most 100,000"),
    ("run quadratic --nodes 9999 --on processes", 3, "config", "--on inprocess"),
    (f"{RUN} --delay-seed -1", 3, "config", "--delay-seed 0"),
    ("topo ring --nodes 100000000000", 3, "config", "at most 5,000,000"),
    (f"{RUN} --nodes many", 2, "usage", "--help"),
    (f"{RUN} --rounds -1", 3, "config", "--rounds 100"),
    (f"{RUN} --observe-every 0", 3, "config", "--observe-every 50"),
    (f"{RUN} --seed -1", 3, "config", "--seed 0"),
    (f"{RUN} --tol 0", 3, "config", "--tol 1e-8"),
    (f"{RUN} --tol nan", 3, "config", "--tol 1e-8"),
    (f"{RUN} --settle 0", 3, "config", "--settle 1e-9"),
    (f"{RUN} --set step_size=1", 3, "config", "a step size below"),
    (f"{RUN} --monitor evry", 2, "usage", "--help"),
    (f"{RUN} --monitor 0", 2, "usage", "--help"),
    ("run quadratic --on dense -a dgd --monitor every", 3, "config", "leave --monitor out"),
    ("run quadratic --on processes -n 1 --monitor every", 3, "config", "--on inprocess"),
    (f"{ASYNCHRONOUS} -a asynchronous-consensus --monitor every", 3, "config", "--monitor out"),
    (f"{ASYNCHRONOUS} -a asy-sonata --activation poisson:", 3, "config", "poisson:rate=20"),
    (f"{ASYNCHRONOUS} -a asy-sonata --activation cyclic:at_once=9", 3, "config", "at_once=2"),
    (f"{ASYNCHRONOUS} -a asy-sonata --link-delay -1s", 3, "config", "--link-delay 20ms"),
    (f"{ASYNCHRONOUS} -a dgd --activation poisson", 3, "config", "of asynchronous ones"),
    ("run quadratic -a asy-sonata --activation poisson", 3, "config", "--activation out"),
    ("run quadratic --on simulated -a asy-sonata --settle 1e-6", 3, "config", "--tol"),
    ("run quadratic --on simulated -a asy-sonata --codec fp16", 3, "config", "--codec out"),
    ("run quadratic --on inprocess -a asy-sonata --drop 0.1", 3, "config", "--on simulated"),
    ("run quadratic --on dense -a asy-sonata", 3, "config", "--on simulated"),
    ("run quadratic -a asy-sonata,ad-psgd", 3, "config", "--on simulated"),
    ("run least-squares --on stacked -a lt-admm-vr", 3, "config", "--on dense"),
    ("run least-squares --on stacked -a lt-admm-vr,one=lt-admm-vr", 3, "config", "--on dense"),
    ("run quadratic --on dense -a edge-admm --drop 2", 3, "config", "--drop 0.1"),
    ("run quadratic --on processes -a edge-admm --drop 0.1", 3, "config", "--on dense"),
    ("run quadratic --on dense -a edge-admm,dgd --link-loss 0.1", 3, "config", "--on simulated"),
    (f"{RUN} -t one-peer-exponential --codec fp16", 3, "config", "--weights metropolis"),
    (f"{RUN} --set step_size=-1", 3, "config", "--set step_size=0.01"),
    (f"{RUN} --set step_size=NaN", 3, "config", "--set step_size=0.01"),
    (f"{RUN} --set step_size=nan", 3, "config", "--set step_size=0.01"),
    (f"{RUN} --set step_size", 2, "usage", "--help"),
    (f"{RUN} --set =1", 2, "usage", "--help"),
    # graphs
    (f"{RUN} -t cut.json", 3, "config", "add edges that lead from node 0 to node 2"),
    (f"{RUN} -t unfair.json", 3, "config", "metropolis"),
    (f"{RUN} -t two.json", 3, "config", "--nodes 2"),
    (f"{RUN} -t torn.json", 3, "config", "edges"),
    (f"{RUN} -t odd.json", 3, "config", "edges"),
    (f"{RUN} -t missing.json", 3, "config", "edges"),
    (f"{RUN} -t full/file", 3, "config", "edges"),
    (f"{RUN} -t erdos-renyi:2", 3, "config", "erdos-renyi:0.4"),
    (f"{RUN} -t star --weights uniform", 3, "config", "--weights metropolis"),
    ("topo cut.json -n 4", 3, "config", "add edges"),
    ("topo unfair.json -n 4 --weights uniform", 3, "config", "leave --weights out"),
    ("topo ring -n 0", 3, "config", "--nodes 8"),
    # starts
    (f"{RUN} --start missing.npy", 3, "config", "'zeros', 'normal'"),
    (f"{RUN} --start empty.npy", 3, "config", "'zeros', 'normal'"),
    (f"{RUN} --start text.npy", 3, "config", "'zeros', 'normal'"),
    (f"{RUN} --start text.safetensors", 3, "config", "safetensors"),
    (f"{RUN} --start ones", 3, "config", "'zeros', 'normal'"),
    # folders
    (f"{RUN} --out full", 4, "conflict", "--out"),
    (f"{RUN} --out full/file", 3, "config", "--out"),
    ("plot nowhere", 4, "not-found", "p2pdo run"),
    ("plot full", 4, "not-found", "run folder"),
    # a user's own problems
    ("run boom.py:x --on dense", 3, "config", "__main__"),
    ("run exits.py:x --on dense", 3, "config", "__main__"),
    ("run syntax.py:x --on dense", 3, "config", "correct line 1 of"),
    ("run needs.py:x --on dense", 3, "config", "installed"),
    ("run missing.py:x --on dense", 3, "config", "moved"),
    ("run mine.py --on dense", 3, "config", "mine.py:NAME"),
    ("run mine.py:fin --on dense", 3, "config", "did you mean 'fine'"),
    ("run mine.py:number --on dense", 3, "config", "function"),
    ("run mine.py:three -n 4 --on dense", 3, "config", "--nodes 3"),
    ("run mine.py:factory --on dense", 3, "config", "mine.py, line "),
    ("run mine.py:unlike --on dense", 3, "config", "node_index"),
    ("run mine.py:none --on dense", 3, "config", "one problem a node"),
    ("run starts.py:x --on dense", 3, "config", "__main__"),
    ("run mine.py:fine -n 4 --on dense", 3, "config", "--set step_size"),
    (f"run mine.py:fine {USER} --tol 1e-3", 3, "config", "minimiser"),
    (f"run mine.py:shape {USER}", 1, "workload-failed", "shape of x"),
    (f"run mine.py:nan {USER}", 1, "workload-failed", "step size"),
    (f"run mine.py:bad {USER}", 1, "workload-failed", "node-2"),
    (f"run mine.py:fine {USER} --on stacked", 3, "config", "--on dense"),
    # benchmarks
    ("bench ring --sizes 1,many", 2, "usage", "p2pdo bench ring --help"),
    ("bench ring --sizes 0", 3, "config", "--sizes 1,1e4,1e6"),
    ("bench ring --sizes 1e12", 3, "config", "--sizes"),
    ("bench ring --nodes 0", 3, "config", "--nodes 6"),
    ("bench ring --lane fiber", 2, "usage", "p2pdo bench ring --help"),
    ("bench ring --seconds nan", 3, "config", "--seconds 2"),
    ("bench ring --repeat 0", 3, "config", "--repeat 5"),
    ("bench router --clients 0", 3, "config", "--clients 100"),
    ("bench router --tasks -1", 3, "config", "--tasks 500"),
    ("bench simulate --nodes 1.5", 2, "usage", "p2pdo bench simulate --help"),
    ("bench simulate --nodes 0", 3, "config", "--nodes 10,100,1000"),
    ("bench simulate --nodes 1e9 --seconds 1", 3, "config", "at most 100,000"),
    # coordinators
    ("nodes", 2, "usage", "p2pdo nodes --coordinator 127.0.0.1:7443"),
    ("submit quadratic", 2, "usage", "--coordinator 127.0.0.1:7443"),
    (f"nodes {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"ls {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"show x {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"watch x {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"stop x {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"results x {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    (f"submit quadratic {NOWHERE}", 5, "unreachable", "p2pdo-coordinator"),
    ("nodes --coordinator lab", 3, "config", "127.0.0.1:7443"),
    (f"submit quadratic --tol 1e-8 {NOWHERE}", 3, "config", "--settle EPS"),
    (f"submit mine.py:fine {NOWHERE}", 3, "config", "p2pdo run"),
    (f"submit quadratic --start x.npy {NOWHERE}", 2, "usage", "--help"),
    (f"submit quadratic --out here {NOWHERE}", 2, "usage", "--help"),
    (f"submit quadratic -n 3 --node a {NOWHERE}", 2, "usage", "--help"),
    (f"submit quadratic --wait --out full {NOWHERE}", 4, "conflict", "--out"),
    (f"submit quadratic -t missing.json {NOWHERE}", 3, "config", "edges"),
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(("line", "exit_code", "code", "remedy"), CASES, ids=[c[0] for c in CASES])
def test_a_mistake_is_one_line_a_remedy_and_an_exit_code(
    call: Call, line: str, exit_code: int, code: str, remedy: str
) -> None:
    told = call(*line.split())
    assert told.code == exit_code
    assert told.stdout == ""
    *_, message, hint = told.stderr.splitlines()
    assert re.fullmatch(rf"error\[{code}\]: .+", message)
    assert hint.startswith("  try: ")
    assert remedy in hint


@pytest.mark.parametrize(
    ("line", "exit_code", "code", "remedy"), CASES[::4], ids=[c[0] for c in CASES[::4]]
)
def test_with_json_the_same_mistake_is_an_envelope(
    call: Call, line: str, exit_code: int, code: str, remedy: str
) -> None:
    told = call(*line.split(), "--json")
    assert told.code == exit_code
    assert told.error["code"] == code
    assert remedy in told.error["hint"]


@pytest.mark.parametrize("trouble", ["shape", "nan", "bad"])
@pytest.mark.parametrize("executor", ["dense", "simulated", "inprocess"])
def test_trouble_in_a_users_problem_names_node_and_iteration(
    call: Call, trouble: str, executor: str
) -> None:
    error = call("run", f"mine.py:{trouble}", *USER.split(), "--on", executor, "--json").error
    assert (error["node"], error["iteration"]) == ("node-2", 0)
    assert error["workload"]


def test_a_failure_names_the_file_that_it_is_about(call: Call) -> None:
    for name in ("torn.json", "missing.json"):
        assert name in call(*f"{RUN} -t {name}".split()).stderr
    assert json.loads(FILES["two.json"])
