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
    fewer = call(*RUN, "-a", "dgd,extra", "--trials", "1", "--json")
    assert (fewer.code, fewer.error["code"]) == (4, "conflict")
    assert "trials is 2 there and 1 here" in fewer.error["message"]
    other = call(*RUN, "-a", "dgd,extra", "--trials", "3", "-n", "5", "--json")
    assert "nodes is 4 there and 5 here" in other.error["message"]


def test_a_comparison_grows_by_trials_and_keeps_those_it_has(call: Call) -> None:
    call(*RUN, "-a", "dgd,extra", "--trials", "1", "-q")
    before = Path("c/dgd/trial-0/summary.json").read_bytes()
    grown = call(*RUN, "-a", "dgd,extra", "--trials", "2")
    assert "dgd trial 1  gap " in grown.stderr
    assert "trial 0" not in grown.stderr
    data = call("run", "--resume", "c", "--trials", "3", "--json").data
    assert [one["trials"] for one in data["algorithms"]] == [3, 3]
    assert [one["good"] for one in data["algorithms"]] == [3, 3]
    assert Path("c/dgd/trial-0/summary.json").read_bytes() == before
    assert call("run", "--resume", "c", "--json").data["algorithms"][0]["trials"] == 3


def test_what_cannot_run_or_would_diverge_is_refused_before_and_the_others_run(call: Call) -> None:
    asked = ("-a", "lt-admm,dgd,wild=edge-admm", "--drop", "0.1", "--trials", "2")
    answer = call(*RUN, *asked, "-s", "problem.dimension=3")
    assert answer.code == 0, answer.stderr
    assert "dgd is refused: dgd waits for every value" in answer.stderr
    assert answer.stderr.count("dgd trial") == 1, "once for all trials"
    assert "  dgd, seeds 0, 1: refused: dgd waits for every value" in answer.stdout
    assert [row.split()[:5] for row in answer.stdout.splitlines() if row.startswith("dgd ")] == [
        ["dgd", "0", "of", "2", "refused"]
    ]
    everything = call(*RUN[:-4], "--out", "d", "-a", "dgd,extra", "--drop", "0.1", "--json")
    assert everything.code == 3
    assert "waits for every value" in everything.error["message"]
    assert not Path("d").exists(), "nothing was begun"


def test_what_would_diverge_runs_by_force_and_its_folder_goes_on_with_it(call: Call) -> None:
    asked = ("-a", "dgd,wild=gradient-tracking", "-s", "wild.step_size=0.05")
    refused = call(*RUN, *asked, "-n", "8")
    assert "wild is refused: gradient-tracking with step_size=0.05 diverges" in refused.stderr
    assert "try: a step size below 0.0294" in refused.stderr
    forced = call("run", "--resume", "c", "--force", "--json")
    wild = next(one for one in forced.data["algorithms"] if one["label"] == "wild")
    assert wild["outcome"] == "diverged"
    assert "warning: wild: gradient-tracking with step_size=0.05 diverges" in forced.stderr
    assert "wild, seed 0: diverged: the gap grew from " in wild["others"][0]


def test_a_diverged_trial_is_shown_and_told_as_data(call: Call) -> None:
    arguments = ("-a", "dgd,wild=dgd", "-s", "wild.step_size=50", "--on", "stacked", "--force")
    arguments = (*arguments, "--json")
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
