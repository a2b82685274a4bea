"""`p2pdo run FILE.py:NAME` of a participant."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pdo.reporting.run_folder import RunFolder

Call = Callable[..., Any]
PROGRAM = """
import numpy as np
import p2pdo

@p2pdo.participant
def train(me, *, rate=0.5):
    x = float(me.node)
    for _ in me.rounds():
        x = me.mix(np.array([x]))[0]
        me.log(x=float(x), always=1.0)
    return {"x": x, "rate": rate, "history": [1.0] * 100}

@p2pdo.participant
def scalar(me):
    for _ in me.rounds():
        me.mix(np.zeros(1))
    return me.node

def plain(me):
    pass

four = 4
"""


@pytest.fixture(autouse=True)
def _program() -> None:
    Path("train.py").write_text(PROGRAM)


def run(call: Call, what: str = "train.py:train", *options: str) -> Any:
    return call("run", what, "--on", "inprocess", "--nodes", "4", *options)


def test_it_runs_to_its_rounds_and_leaves_a_folder(call: Call) -> None:
    answer = run(call, "train.py:train", "--rounds", "60", "--set", "rate=0.25", "--out", "here")
    assert answer.code == 0
    header, *rows = answer.stdout.splitlines()
    assert header.split() == ["NODE", "X", "RATE", "HISTORY"]
    assert [row.split()[:3] for row in rows[:4]] == [
        [f"node-{i}", "1.5e+00", "2.5e-01"] for i in range(4)
    ]
    assert "train on its own data, 4 nodes, ring, inprocess" in answer.stdout
    assert "gap" not in answer.stdout
    assert "iteration 1/60  mean x 1.5e+00  mean always 1.0e+00" in answer.stderr
    settings = tomllib.loads(Path("here/run.toml").read_text())["settings"]
    assert (settings["nodes"], settings["rounds"], settings["observe_every"]) == (4, 60, 1)
    assert settings["parameters"] == {"rate": 0.25}
    assert len(list(RunFolder(Path("here")).read_metrics())) == 60
    assert call("plot", "here").code == 0


def test_json_has_the_figures_and_what_was_returned(call: Call) -> None:
    data = run(call, "train.py:train", "--rounds", "3", "--json").data
    assert (data["status"], data["algorithm"], data["iterations"]) == ("done", "train", 3)
    assert data["gap"] is None
    assert {name: returned["rate"] for name, returned in data["results"].items()} == {
        f"node-{i}": 0.5 for i in range(4)
    }
    kept = json.loads((Path(data["run_dir"]) / "results.json").read_text())
    assert kept == data["results"]


def test_what_is_no_table_has_one_column(call: Call) -> None:
    header, *rows = run(call, "train.py:scalar", "--rounds", "1").stdout.splitlines()
    assert header.split() == ["NODE", "RETURNED"]
    assert rows[3].split() == ["node-3", "3"]


def test_the_defaults_are_those_of_participants(call: Call) -> None:
    data = run(call, "train.py:train", "--observe-every", "10", "--json").data
    assert data["iterations"] == 100
    assert len(list(RunFolder(Path(data["run_dir"])).read_metrics())) == 10


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["nofile.py:train"], "there is no script", "moved or renamed"),
        (["train.py:trian"], "train.py has no 'trian'", "did you mean 'train'"),
        (["train.py:plain"], "train.py:plain failed", "@p2pdo.participant above it"),
        (["train.py:four"], "is int", "@p2pdo.participant"),
        (["train.py"], "names a file", "train.py:NAME"),
        (["train.py:train", "--set", "rat=1"], "no parameter 'rat'", "did you mean 'rate'"),
        (["train.py:train", "--tol", "1e-3"], "has no --tol", "leave --tol out"),
        (["train.py:train", "-a", "dgd"], "has no --algorithm", "leave --algorithm out"),
        (["train.py:train", "--on", "dense"], "cannot run on 'dense'", "inprocess"),
        (["train.py:train", "--rounds", "-1"], "rounds", "--rounds 100"),
        (["train.py:train", "--topology", "rong"], "rong", "ring"),
    ],
)
def test_mistakes_are_told_with_what_to_do(
    call: Call, arguments: list[str], message: str, hint: str
) -> None:
    answer = call("run", *arguments, "--json")
    assert answer.code == 3
    assert answer.error["code"] == "config"
    assert message in answer.error["message"]
    assert hint in answer.error["hint"]
    assert not Path("runs").exists()
