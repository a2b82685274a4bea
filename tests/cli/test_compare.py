"""`p2pdo run` of comparisons, and `p2pdo compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
Call = Callable[..., Any]
RUN = ("run", "quadratic", "-n", "4", "--rounds", "60", "--out", "c", "-j", "2")


def test_several_algorithms_are_a_comparison_and_goes_on(call: Call) -> None:
    answer = call(*RUN, "-a", "dgd,extra", "--trials", "2")
    assert answer.code == 0, answer.stderr
    assert "c  2 algorithms x 2 trials, 2 at a time: quadratic, 4 nodes, ring, dense (--on " in (
        answer.stderr
    )
    assert "extra trial 1  gap " in answer.stderr
    assert "(4 of 4)" in answer.stderr
    assert answer.stdout.splitlines()[0].startswith("ALGORITHM  TRIALS  GAP")
    assert answer.stdout.rstrip().endswith("wrote c/comparison.png")
    again = call("run", "--resume", "c")
    assert again.code == 0
    assert "trial" not in again.stderr.partition("\n")[2], "nothing was left to run"
    assert again.stdout == answer.stdout
    other = call(*RUN, "-a", "dgd,extra", "--trials", "3", "--json")
    assert (other.code, other.error["code"]) == (4, "conflict")
    assert "trials is 2 there and 3 here" in other.error["message"]


def test_a_diverged_trial_is_shown_and_told_as_data(call: Call) -> None:
    arguments = ("-a", "dgd,wild=dgd", "-s", "wild.step_size=50", "--on", "stacked", "--json")
    data = call(*RUN, *arguments).data
    wild = next(one for one in data["algorithms"] if one["label"] == "wild")
    assert (wild["good"], wild["gap"]) == (0, None)
    assert "wild, seed 0: diverged: " in wild["others"][0]
    assert data["files"] == ["c/comparison.png"]


def test_compare_reads_comparisons_and_single_runs_and_writes_files(call: Call) -> None:
    call(*RUN, "-a", "dgd,extra", "-q")
    call("run", "quadratic", "-n", "4", "--rounds", "60", "-a", "nids", "--on", "dense", "-q",
         "--out", "single")  # fmt: skip
    words = ("compare", "c", "single", "--tol", "1e-2", "--against", "bytes")
    answer = call(*words, "--plot", "a.svg", "--latex", "a.tex", "--csv", "a.csv")
    assert answer.code == 0, answer.stderr
    assert "to gap and consensus error <= 0.01, all nodes together" in answer.stdout
    assert all(Path(name).stat().st_size for name in ("a.svg", "a.tex", "a.csv"))
    labels = [one["label"] for one in call(*words, "--json").data["algorithms"]]
    assert set(labels) == {"dgd", "extra", "nids"}
    assert labels[-1] == "dgd", "it never got there"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "quadratic", "-a", "dgd,extra", "--timeline", "t"), 3, "timeline is of one run"),
        (("run", "quadratic", "-a", "dgd,nix"), 3, "unknown algorithm 'nix'"),
        (("run", "quadratic", "-a", "dgd,dgd"), 3, "'dgd' is compared with itself"),
        (("run", "quadratic", "--trials", "0"), 3, "trials must be one or more"),
        (("run", "quadratic", "--trials", "2", "--jobs", "0"), 3, "jobs must be one or more"),
        (("run", "--resume", "nowhere"), 4, "there is no comparison in nowhere"),
        (("run", "--resume", "nowhere", "-n", "5"), 3, "takes no nodes beside it"),
        (("run",), 2, "missing argument 'PROBLEM'"),
        (("compare", "nowhere"), 4, "neither the folder of a run nor of a comparison"),
        (("compare",), 2, "missing argument"),
        (("compare", "nowhere", "--tol", "-1"), 3, "the tolerance must be positive"),
    ],
)
def test_mistakes_are_told(call: Call, arguments: Any, code: int, words: str) -> None:
    answer = call(*arguments, "--json")
    assert answer.code == code
    assert words in answer.error["message"]


def test_a_participant_is_not_compared(call: Call) -> None:
    Path("mine.py").write_text("import p2pdo\n\n@p2pdo.participant\ndef train(me): ...\n")
    answer = call("run", "mine.py:train", "--trials", "2", "--json")
    assert answer.code == 3
    assert "a participant, which is run once" in answer.error["message"]
