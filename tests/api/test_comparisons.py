"""Comparisons run in workers and here, and are told apart by their labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Dgd
from p2pdo.api.comparisons.asked import (
    Asked,
    Contender,
    contenders_of,
    from_plain,
    labelled,
    named,
)
from p2pdo.api.comparisons.comparison import Comparison
from p2pdo.api.requests import Request
from p2pdo.errors import ConfigError, Conflict
from p2pdo.problems import LeastSquares
from p2pdo.reporting.comparing.trials import Status
from p2pdo.reporting.run_folder import RunFolder

RNG = np.random.default_rng(0)
COSTS = [LeastSquares(RNG.normal(size=(8, 3)), RNG.normal(size=8)) for _ in range(3)]
FAST: Any = {"rounds": 30, "nodes": 3}

DYING = """
import os, signal
import numpy as np
from p2pdo.problems import LeastSquares

def factory(node_index, nodes, partition, seed):
    if seed == 1:
        print("goodbye", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    rng = np.random.default_rng([seed, node_index])
    return LeastSquares(rng.normal(size=(8, 3)), rng.normal(size=8))
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def compare(*algorithms: Any, **settings: Any) -> Comparison:
    return p2pdo.compare(COSTS, list(algorithms), **{"rounds": 30, "out": "c", **settings})


@pytest.mark.e2e
@pytest.mark.slow
def test_workers_run_what_a_run_here_runs() -> None:
    names = ["dgd", "extra"]
    found = p2pdo.compare("least-squares", names, trials=2, out="c", seed=3, jobs=2, **FAST)
    assert [group.label for group in found.groups] == names
    for group in found.groups:
        for trial in group.trials:
            assert trial.status is Status.GOOD
            alone = p2pdo.run("least-squares", group.label, seed=trial.seed, **FAST)
            summary = RunFolder(trial.path).read_summary()
            assert summary.state_sha256 == alone.summary.state_sha256
            assert trial.seed == 3 + trial.number
            assert not list(trial.path.glob("*.png")), "one picture for all is enough"
    assert not Path("c/output.log").exists()


@pytest.mark.e2e
@pytest.mark.slow
def test_a_worker_that_dies_costs_its_trial_alone() -> None:
    Path("mine.py").write_text(DYING)
    asked: Any = {"trials": 3, "out": "c", "jobs": 1, **FAST}
    (group,) = p2pdo.compare("mine.py:factory", ["dgd"], **asked).groups
    assert [trial.status for trial in group.trials] == [
        Status.GOOD,
        Status.UNFINISHED,
        Status.GOOD,
    ]
    assert Path("c/output.log").read_text() == "goodbye\n"
    Path("mine.py").write_text(DYING.replace("seed == 1", "False"))
    before = [RunFolder(group.trials[i].path).read_summary().workload_id for i in (0, 2)]
    (group,) = p2pdo.compare("mine.py:factory", ["dgd"], **asked).groups
    assert {trial.status for trial in group.trials} == {Status.GOOD}
    after = [RunFolder(trial.path).read_summary().workload_id for trial in group.trials]
    assert [after[0], after[2]] == before, "what has ended is not run again"


def test_objects_are_compared_here_and_labelled_as_asked() -> None:
    algorithms = {"slow": Dgd(step_size=0.01), "fast": Dgd(step_size=0.1), "exact": "extra"}
    found = p2pdo.compare(COSTS, algorithms, trials=2, out="c", rounds=30)
    assert [group.label for group in found.groups] == list(algorithms)
    gaps = {one.label: one.gap.mean for one in found.figures() if one.gap is not None}
    assert gaps["exact"] < gaps["fast"] < gaps["slow"]
    manifest = json.loads(Path("c/comparison.json").read_text())
    assert manifest["settings"]["problem"] == "given as an object"


def test_a_diverged_trial_is_told_and_in_no_mean() -> None:
    found = compare("dgd", "extra", parameters={"dgd.step_size": 1e3}, rounds=200, force=True)
    diverged = next(one for one in found.figures() if one.label == "dgd")
    assert (diverged.good, diverged.gap, diverged.reached) == (0, None, 0)
    assert "dgd, seed 0: diverged: " in diverged.others[0]
    assert "not averaged:\n  dgd, seed 0: diverged" in found.table()


def test_a_trial_that_cannot_run_is_told_and_the_others_go_on() -> None:
    broken = [*COSTS[:2], _Broken(3)]
    found = p2pdo.compare(broken, {"dgd": Dgd(step_size=0.1)}, out="c", rounds=5)
    ((trial,),) = [group.trials for group in found.groups]
    assert trial.status is Status.FAILED
    assert "RuntimeError: no gradient today" in str(trial.reason)


class _Broken:
    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def value(self, x: Any) -> float:
        return 0.0

    def gradient(self, x: Any) -> Any:
        raise RuntimeError("no gradient today")


def test_another_comparison_in_the_folder_is_refused_with_the_difference() -> None:
    compare("dgd", "extra")
    compare("dgd", "extra")
    with pytest.raises(Conflict, match="rounds is 30 there and 31 here"):
        compare("dgd", "extra", rounds=31)
    with pytest.raises(Conflict, match=r"extra is .* there and absent here"):
        compare("dgd")


def test_a_folder_with_other_files_is_left_alone() -> None:
    Path("c").mkdir()
    Path("c/thesis.tex").touch()
    with pytest.raises(Conflict, match="is not empty"):
        compare("dgd")


def test_what_cannot_run_is_told_before_anything_does() -> None:
    with pytest.raises(ConfigError, match="unknown algorithm 'extr'"):
        compare("dgd", "extr")
    with pytest.raises(ConfigError, match="extra has no parameter 'penalty'"):
        compare("dgd", "extra", parameters={"extra.penalty": 1})
    with pytest.raises(ConfigError, match="trials must be one or more"):
        compare("dgd", trials=0)
    assert not Path("c").exists()


def test_names_and_labels() -> None:
    assert named("dgd, slow=dgd,mine.py:Own") == [
        ("dgd", "dgd"),
        ("slow", "dgd"),
        ("Own", "mine.py:Own"),
    ]
    assert labelled(["dgd", Dgd(step_size=1.0), "slow=dgd"][:1]) == [("dgd", "dgd")]
    for wrong, words in (("dgd,", "names no list"), ("dgd,dgd", "compared with itself")):
        with pytest.raises(ConfigError, match=words):
            named(wrong)


def test_a_parameter_of_one_comes_after_that_of_all() -> None:
    parameters = {"dgd.step_size": 0.2, "step_size": 0.1, "problem.l2": 1.0}
    contenders, of_problem = contenders_of(named("dgd,extra"), parameters)
    assert [one.parameters for one in contenders] == [{"step_size": 0.2}, {"step_size": 0.1}]
    assert of_problem == {"problem.l2": 1.0}
    with pytest.raises(ConfigError, match=r"'nids\.step_size' is a parameter of 'nids'"):
        contenders_of(named("dgd"), {"nids.step_size": 1.0})


def test_a_request_with_nothing_but_names_is_plain_and_comes_back_from_its_manifest() -> None:
    base = Request(problem="quadratic", max_staleness=7)
    contenders = (Contender(label="one", algorithm="asy-sonata", parameters={}),)
    asked = Asked(base=base, contenders=contenders, trials=2, executor="simulated")
    assert asked.is_plain
    back = from_plain(json.loads(json.dumps(asked.to_plain())))
    assert back.to_plain() == asked.to_plain()
    assert back.base.max_staleness == 7
