"""`p2pdo plot`, the listings, and what a folder needs to be drawn."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder

pytestmark = pytest.mark.slow  # pictures
Call = Callable[..., Any]

SETTINGS = {"problem": "quadratic", "algorithm": "dgd", "nodes": 4, "seed": 0, "executor": "dense"}


def folder(topology: str = "ring", gaps: Sequence[float | None] = (1.0, 1.0, 1.0)) -> RunFolder:
    made = RunFolder.create(Path("here"), "w")
    made.write_settings({**SETTINGS, "topology": topology})
    for k, gap in enumerate(gaps):
        made.append_metric(Metric(50 * k, 0.1 * k, gap, gap, gap, 100 * k, k))
    made.close()
    return made


def test_a_run_that_still_goes_on_is_drawn(call: Call) -> None:
    folder()
    data = call("plot", "here", "--json").data
    assert data["files"] == ["here/topology.png", "here/convergence.png"]
    assert all(Path(file).stat().st_size > 0 for file in data["files"])


def test_the_convergence_goes_where_one_asks(call: Call) -> None:
    folder()
    assert call("plot", "here", "--out", "paper.pdf").stdout.splitlines()[-1] == "paper.pdf"
    assert Path("paper.pdf").read_bytes().startswith(b"%PDF")


def test_a_graph_that_the_settings_do_not_spell_is_left_out(call: Call) -> None:
    folder(topology="custom")
    assert call("plot", "here", "--json").data["files"] == ["here/convergence.png"]


@pytest.mark.parametrize("last", [None, 1e-9])
def test_where_nobody_saw_the_states_the_pace_is_drawn_and_no_convergence(
    call: Call, last: float | None
) -> None:
    folder(gaps=(None, None, last))
    answer = call("plot", "here", "--json")
    assert answer.data["files"] == ["here/topology.png", "here/pace.png"]
    assert "no convergence is drawn: nobody saw the states on the way" in answer.stderr
    assert not Path("here/convergence.png").exists()


def test_one_observation_that_nobody_saw_is_nothing_to_draw(call: Call) -> None:
    folder(gaps=(None,))
    answer = call("plot", "here", "--json")
    assert answer.code == 4
    assert "--observe-every" in answer.error["hint"]


def test_one_observation_that_was_seen_is_drawn(call: Call) -> None:
    folder(gaps=(1.0,))
    assert call("plot", "here", "--json").data["files"][-1] == "here/convergence.png"


def test_before_the_first_observation_one_waits(call: Call) -> None:
    RunFolder.create(Path("here"), "w").write_settings({**SETTINGS, "topology": "ring"})
    assert "first observation" in call("plot", "here", "--json").error["hint"]


@pytest.mark.parametrize("file", ["paper.doc", "x.gif", "x.jpg", "x", "png"])
def test_a_format_that_is_not_supported_is_refused_before_anything_is_drawn(
    call: Call, file: str
) -> None:
    folder()
    answer = call("plot", "here", "--out", file, "--json")
    assert answer.code == 3
    assert answer.error["hint"] == "name a file that ends in .png, .svg or .pdf"
    assert not Path(file).exists()
    assert not Path("here/topology.png").exists()


def test_algorithms_are_listed_with_paper_parameters_and_needs(call: Call) -> None:
    entries = {entry["name"]: entry for entry in call("algorithms", "--json").data}
    tracking = entries["gradient-tracking"]
    assert tracking["about"].startswith("Gradient tracking (Qu & Li 2018")
    assert tracking["parameters"] == {"step_size": None, "tracker_start": "gradient"}
    assert tracking["requires"] == (
        "doubly stochastic weights, which may vary, and a problem with a gradient"
    )
    assert tracking["derived"]["step_size"].startswith("1/L, L = the largest")
    assert entries["consensus"]["derived"] == {}
    assert (tracking["exchanges"], tracking["values"]) == (1.0, 2.0)
    assert (entries["aug-dgm"]["exchanges"], entries["aug-dgm"]["values"]) == (2.0, 2.0)
    assert 0 < entries["proxskip"]["exchanges"] < 1, "the coin leaves exchanges out"
    assert tracking["missing"] == "waits for it"
    assert entries["edge-admm"]["missing"].startswith("goes on")
    assert entries["edge-admm"]["requires"] == (
        "any weights on an undirected graph and a problem with a proximal map"
    )
    listed = call("algorithms").stdout
    assert "2 exchanges an iteration, 2 vectors to each" in listed


def test_one_algorithm_is_shown_with_its_update_and_its_parameters(call: Call) -> None:
    shown = call("algorithms", "gradient-tracking").stdout
    assert "x⁺ᵢ = Σⱼ wᵢⱼ xⱼ − α yᵢ" in shown
    assert "reaches  the optimum" in shown
    assert "--set step_size  (if not given: 1/L" in shown
    assert "--set tracker_start=gradient" in shown
    entry = call("algorithms", "gtadam", "--json").data
    assert entry["parameters"]["beta1"] == 0.9
    assert "Invariant: mean y = mean g" in entry["text"]
    answer = call("algorithms", "extrra", "--json")
    assert answer.code == 3
    assert "did you mean 'extra'" in answer.error["hint"]


def test_problems_are_listed_with_their_parameters(call: Call) -> None:
    names = {entry["name"] for entry in call("problems", "--json").data}
    assert names >= {"breast-cancer", "quadratic", "least-squares", "digits", "two-moons"}
    assert "--set problem.l2=0.01" in call("problems").stdout
