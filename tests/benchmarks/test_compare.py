"""What `make bench` says: targets, ratios, how long it will take; and what the hand computes."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.benchmarks.costs import Distance
from p2pdo.benchmarks.spread import Spread

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ("progress", "targets", "contenders", "tables", "common", "by_hand")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    for folder in (BENCHMARKS, BENCHMARKS / "peers"):
        monkeypatch.syspath_prepend(str(folder))
    yield {name: importlib.import_module(name) for name in SCRIPTS}
    for name in SCRIPTS:
        sys.modules.pop(name, None)


# ---- targets ----


def target(scripts: dict[str, Any], bound: float, runs: list[float], **more: Any) -> Any:
    return scripts["targets"].Target("mpi", "ratio", bound, Spread.of(runs), **more)


def test_a_target_is_met_by_the_median_of_the_turns(scripts: dict[str, Any]) -> None:
    assert target(scripts, 0.5, [0.1, 0.5, 9.0]).verdict == "met"
    assert target(scripts, 0.5, [0.1, 0.49, 9.0]).verdict == "**missed**"
    assert target(scripts, 60.0, [10.0, 59.0, 80.0], is_most=True).verdict == "met"
    assert target(scripts, 60.0, [10.0, 61.0, 80.0], is_most=True).verdict == "**missed**"
    assert target(scripts, 0.5, []).verdict == "not measured"


def test_only_what_is_missed_has_its_reason_told(scripts: dict[str, Any]) -> None:
    goals = scripts["targets"]
    made = [
        goals.Target(goals.MPI, "a", 1.0, Spread.of([2.0])),
        goals.Target(goals.GLOO, "b", 1.0, Spread.of([0.5])),
        goals.Target(goals.GLOO, "c", 1.0, Spread.of([0.4])),
        goals.Target(goals.NVFLARE, "d", 1.0, None),
    ]
    assert goals.told(made) == [" ".join(goals.REASONS[goals.GLOO].split())]
    assert goals.count(made) == "1 of 3 targets that were measured are met. Not measured: 1."


def test_reasons_hold_no_figure_that_a_table_could_contradict(scripts: dict[str, Any]) -> None:
    goals = scripts["targets"]
    groups = {value for name, value in vars(goals).items() if name.isupper() and type(value) is str}
    assert goals.REASONS.keys() == groups
    for reason in goals.REASONS.values():
        figures = [word for word in reason.split() if word[0].isdigit()]
        assert figures in ([], ["60"])  # which is the target itself


# ---- ratios ----


def test_ratios_are_of_the_turns_that_both_were_in(scripts: dict[str, Any]) -> None:
    contenders, tables = scripts["contenders"], scripts["tables"]
    ours, slow = contenders.ours("grpc"), contenders.peer(contenders.NVFLARE, sys.executable)
    ours.found[1] = [contenders.Measured(rate, 1.0, 80.0) for rate in (100.0, 200.0, 400.0)]
    slow.found[1] = [contenders.Measured(10.0, 5.0, 300.0), None, contenders.Measured(20.0, 5, 1)]
    found = tables.ratio([ours, slow], "p2pdo, grpc", contenders.NVFLARE, 1)
    assert found.runs == (10.0, 20.0)
    assert tables.beyond(ours.found[1], 10**6).runs == (60.0,) * 3  # five values of 4 MB
    assert slow.takes_part(1, 2)
    assert not slow.takes_part(1, 3)
    assert not slow.takes_part(10_000, 1)
    text = "\n".join(tables.ring_tables([ours, slow], [1, 7], "Averaging"))
    assert "| NVFlare p2p, its simulator | 15 (10-20) | 5 (5-5) |" in text
    assert "7 floats" not in text


# ---- progress ----


def test_what_is_left_is_what_the_first_runs_took(scripts: dict[str, Any]) -> None:
    now = 0.0
    progress = scripts["progress"].Progress(lambda: now)
    progress.plan("ring", "a", 3, 1.0)
    progress.plan("ring", "b", 2, 5.0)
    assert progress.rest == 13.0
    with progress.run("ring", "a"):
        now += 4.0
    assert progress.rest == 2 * 4.0 + 10.0
    progress.drop("b")
    assert progress.rest == 8.0
    now += 1.0
    assert progress.where() == "0:05 in all: ring 0:04, other 0:01"
    assert scripts["progress"].minutes(187.2) == "3:07"


# ---- by hand ----


def test_the_recursion_by_hand_is_that_of_the_library(scripts: dict[str, Any]) -> None:
    by_hand, n, d, rounds = scripts["by_hand"], 6, 5, 30
    starts = [scripts["common"].start(rank, d) for rank in range(n)]
    nodes = [by_hand.Tracking(x.copy(), float(rank)) for rank, x in enumerate(starts)]
    for _ in range(rounds):
        sent = [(node.x.copy(), node.y.copy()) for node in nodes]
        for i, node in enumerate(nodes):
            node.take(sent[i - 1], sent[(i + 1) % n])
    library = p2pdo.run(
        [Distance(d, float(rank)) for rank in range(n)],
        algorithm="gradient-tracking",
        parameters={"step_size": float(by_hand.STEP_SIZE)},
        topology="ring",
        start=np.stack(starts),
        dtype="float32",
        rounds=rounds,
        on="dense",
    )
    for node, x in zip(nodes, library.states, strict=True):
        assert node.x == pytest.approx(x, abs=2e-5)
