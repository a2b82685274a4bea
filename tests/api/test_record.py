"""Of algorithms each node keeps the decision variable at observed iterations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import p2pdo
from p2pdo.api.requests import names_recorded
from p2pdo.errors import ConfigError


@pytest.mark.parametrize(
    "on",
    [
        "dense",
        "stacked",
        "simulated",
        "inprocess",
        pytest.param("processes", marks=[pytest.mark.e2e, pytest.mark.slow]),
    ],
)
def test_every_executor_leaves_the_same_history(on: str, tmp_path: Path) -> None:
    result = p2pdo.run(
        "quadratic",
        nodes=3,
        rounds=25,
        observe_every=10,
        on=on,
        record="x",
        out=tmp_path / "run",
        parameters={"step_size": 0.05},
    )
    for node, x in enumerate(result.states):
        (path,) = (tmp_path / f"run/nodes/node-{node}").glob("workloads/*/history.npz")
        with np.load(path) as history:
            assert history["x.iteration"].tolist() == [0, 10, 20, 25]
            assert history["x"][-1].tolist() == x.tolist()
            assert history["x"].shape == (4, len(x))


def test_nothing_is_kept_unasked(tmp_path: Path) -> None:
    p2pdo.run("quadratic", nodes=3, rounds=5, out=tmp_path / "run")
    assert not (tmp_path / "run/nodes").exists()


def test_what_an_algorithm_does_not_tell_cannot_be_recorded() -> None:
    with pytest.raises(ConfigError, match="'y' cannot be recorded"):
        p2pdo.run("quadratic", nodes=3, rounds=5, record=["x", "y"])


def test_nothing_may_be_recorded_and_a_name_is_text() -> None:
    assert names_recorded(None) == names_recorded(()) == ()
    assert names_recorded("x") == names_recorded(["x"]) == ("x",)
    for odd in (3, ["x", 3]):
        with pytest.raises(ConfigError, match="what is recorded has a name"):
            p2pdo.run("quadratic", nodes=3, rounds=5, record=odd)
