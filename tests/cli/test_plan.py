"""`p2pdo plan`, and what `p2pdo run` makes of the same."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
RUN = ("run", "quadratic", "--on", "dense")


def test_what_is_required_stands_beside_what_was_found(call: Call) -> None:
    lines = call("plan", "quadratic", "-a", "extra").stdout.splitlines()
    assert lines[0] == "extra on quadratic, 8 nodes, ring"
    assert lines[1].split() == ["REQUIRED", "FOUND", "VERDICT"]
    assert lines[3].split("  ")[0] == "symmetric, doubly stochastic W"
    assert lines[5].startswith("step_size below 0.1176 (exact for these costs)")
    assert all(line.endswith("  ok") for line in lines[2:6])
    assert "  SLEM                 0.804738" in lines
    assert "  iterations to 1e-08  100" in lines


def test_the_figures_are_data(call: Call) -> None:
    data = call("plan", "quadratic", "-a", "nids", "--tol", "1e-6", "--json").data
    assert data["prediction"]["basis"] == "exact"
    assert data["prediction"]["rate"] < data["prediction"]["proved"] < 1
    assert data["prediction"]["source"] == "Li, Shi & Yan 2019"
    assert data["safe"]["below"] > data["step_size"]
    assert data["condition_number"] == pytest.approx(data["smoothness"] / data["strong_convexity"])
    assert [check["verdict"] for check in data["checks"]] == ["ok"] * 4


def test_an_unsafe_step_is_told_by_plan_and_refused_by_run(call: Call) -> None:
    unsafe = ("--set", "step_size=0.05")
    lines = call("plan", "quadratic", *unsafe).stdout.splitlines()
    assert any(line.endswith("0.05                          unsafe") for line in lines)
    assert "  iterations to 1e-08  never" in lines
    answer = call(*RUN, *unsafe, "--json")
    assert answer.code == 3
    assert "diverges on these costs" in answer.error["message"]
    assert "--set step_size=0.015" in answer.error["hint"]
    assert not Path("runs").exists()


def test_by_force_it_runs_and_its_folder_keeps_the_warning(call: Call) -> None:
    answer = call(*RUN, "--set", "step_size=0.05", "--force", "--rounds", "20", "--out", "here")
    assert answer.code == 0
    assert "warning: gradient-tracking with step_size=0.05 diverges" in answer.stderr
    (warning,) = tomllib.loads(Path("here/run.toml").read_text())["settings"]["warnings"]
    assert "diverges on these costs" in warning


@pytest.mark.slow
def test_the_observed_rate_stands_beside_the_predicted(call: Call) -> None:
    answer = call(*RUN, "--out", "here", "--observe-every", "10")
    rates = json.loads(Path("here/summary.json").read_text())["rates"]
    assert rates["observed"] == pytest.approx(rates["predicted"], abs=5e-3)
    assert f"  rate                 {rates['predicted']:.6f} predicted, " in answer.stdout


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    ("asked", "lacks", "remedy"),
    [
        ("quadratic -a dp-dgd", "Quadratic lacks private_rng", "PrivateLogistic"),
        ("averaging -a masked-consensus", "Distance lacks private_rng", "PrivateDistance"),
        ("allocation", "Coupled lacks gradient", "--algorithm prox-nids"),
        ("quadratic -a pg-extra", "Quadratic lacks rest_prox", "--algorithm gradient-tracking"),
    ],
)
def test_costs_without_what_is_called_are_refused_before_anything_is_begun(
    call: Call, verb: str, asked: str, lacks: str, remedy: str
) -> None:
    answer = call(verb, *asked.split(), "--json")
    assert answer.code == 3
    assert lacks in answer.error["message"]
    assert remedy in answer.error["hint"]
    assert not Path("runs").exists()


def test_what_agrees_on_starts_has_no_gap_and_stops_where_it_agrees(call: Call) -> None:
    (predicted,) = (
        line.split()[-1]
        for line in call(
            "plan", "averaging", "-a", "consensus", "--observe-every", "5"
        ).stdout.splitlines()
        if "iterations to 1e-08" in line
    )
    every = ("--observe-every", "5")
    call("run", "averaging", "-a", "consensus", "--on", "dense", "--out", "here", *every)
    summary = json.loads(Path("here/summary.json").read_text())
    assert (summary["status"], summary["gap"]) == ("converged", None)
    assert summary["iterations"] == int(predicted)
    assert summary["rates"]["observed"] == pytest.approx(summary["rates"]["predicted"], abs=1e-3)


def test_a_rate_to_a_limit_of_its_own_is_said_to_be_one(call: Call) -> None:
    lines = call("plan", "quadratic", "-a", "dgd").stdout.splitlines()
    (rate,) = (line for line in lines if "predicted rate" in line)
    assert rate.endswith("an iteration, to its own limit, exact for these costs")
    call(*RUN, "-a", "dgd", "--rounds", "100", "--out", "here")
    assert json.loads(Path("here/summary.json").read_text())["rates"] == {}


def test_of_more_nodes_than_a_plan_looks_at_it_says_who_tells_the_eigenvalues(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("plan", "averaging", "-a", "gradient-tracking", "-n", "1200")
    assert any(line.startswith("  spectral gap ") for line in call(*asked).stdout.splitlines())
    monkeypatch.setattr("p2pdo.api.preflight.MOST_LOOKED_AT", 1100)
    (line,) = (line for line in call(*asked).stdout.splitlines() if "SLEM" in line)
    assert line.endswith("p2pdo topo does it")
