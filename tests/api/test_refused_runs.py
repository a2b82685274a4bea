"""Runs that cannot be are refused before anything begins, each with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quadratics import problems

import p2pdo
from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.base import Requires
from p2pdo.effects import Here, Step
from p2pdo.errors import (
    ConfigError,
)
from p2pdo.graphs.topologies import ring
from p2pdo.problems.quadratic import Quadratic
from p2pdo.types import Array


def good(**changes: Any) -> dict[str, Any]:
    return {"problem": problems(), "rounds": 5, **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": "gradient-trakcing"}, "unknown algorithm 'gradient-trakcing'"),
        ({"problem": "breast-cancre"}, "unknown problem"),
        ({"topology": "rign"}, "unknown topology"),
        ({"weights": "heavy"}, "unknown weights"),
        ({"on": "moon"}, "unknown executor 'moon'"),
        ({"nodes": 5}, "4 problems for 5 nodes"),
        ({"problem": [], "nodes": 0}, "nodes must be one or more"),
        ({"rounds": -1}, "rounds must be zero or more"),
        ({"observe_every": 0}, "observe_every must be one or more"),
        ({"seed": -1}, "seed must be zero or more"),
        ({"tol": 0.0}, "tolerance must be positive"),
        ({"tol": float("nan")}, "tolerance must be positive"),
        ({"parameters": {"stepsize": 1.0}}, "has no parameter 'stepsize'"),
        ({"parameters": {"step_size": "big"}}, "must be a number"),
        ({"parameters": {"step_size": -1.0}}, "must be a positive number"),
        ({"algorithm": Consensus(), "parameters": {"a": 1}}, "beside an algorithm object"),
        ({"problem": [object()] * 4}, "tells no dimension"),
        ({"problem": [*problems(3), Quadratic(np.eye(2), np.ones(2))]}, "dimension 3, node 3's 2"),
        ({"topology": ring(5)}, "the graph has 5 nodes, the problem 4"),
        ({"start": np.zeros(2)}, r"expected finite numbers of shape \(3,\)"),
        ({"start": np.full(3, np.nan)}, "expected finite numbers"),
        ({"start": "nowhere.npy"}, "cannot read the start"),
    ],
)
def test_what_cannot_run_is_refused_with_a_remedy(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        p2pdo.run(**good(**changes))
    assert caught.value.hint


class NoDataclass(Algorithm[Any]):
    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> Any:
        raise NotImplementedError

    def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
        raise NotImplementedError


def test_an_algorithm_whose_parameters_have_no_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="NoDataclass is no dataclass"):
        p2pdo.run(problems(), algorithm=NoDataclass(), rounds=1)


class Plain:
    dimension = 2

    def value(self, x: Array) -> float:
        return float(x @ x)

    def gradient(self, x: Array) -> Array:
        return 2 * x


def test_what_a_users_problem_cannot_tell_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="needs a step size"):
        p2pdo.run([Plain()] * 3, rounds=5)
    with pytest.raises(ConfigError, match="a tolerance needs a problem whose optimum is known"):
        p2pdo.run([Plain()] * 3, rounds=5, tol=1e-3, parameters={"step_size": 0.1})
    result = p2pdo.run([Plain()] * 3, rounds=5, parameters={"step_size": 0.1})
    assert result.summary.gap is None


def test_a_class_that_cannot_cross_to_processes_is_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inside(GradientTracking):
        """Nobody else can import it."""

    monkeypatch.chdir(tmp_path)
    mine = [Plain()] * 3
    for problem, algorithm, says in (
        (mine, GradientTracking(0.05), "Plain cannot cross to another process"),
        (problems(3), Inside(0.05), "Inside exists only inside a function"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            p2pdo.run(problem, algorithm=algorithm, on="processes", rounds=1, out="here")
        assert caught.value.hint
        assert not list(tmp_path.iterdir())
