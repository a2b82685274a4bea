"""What a launcher prepares for its processes; that they run is tested in tests/e2e."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from p2pdo.algorithms.catalogue import find
from p2pdo.api.jobs import resolve
from p2pdo.api.processes import check_crossing, make_work_folder
from p2pdo.api.requests import Request
from p2pdo.errors import ConfigError
from p2pdo.problems.quadratic import Quadratic


def test_the_nodes_data_are_where_only_this_user_can_read_them(tmp_path: Path) -> None:
    problems = [Quadratic(np.eye(2), np.ones(2)) for _ in range(3)]
    work = make_work_folder(resolve(Request(problem=problems, nodes=3)), tmp_path / "run")
    for folder in (work, work / "parts"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list((work / "parts").iterdir())) == 3


@pytest.mark.parametrize("number", [np.float32(0.125), np.float64(0.125), np.array(0.125)])
def test_an_algorithms_numpy_numbers_are_python_s_wherever_it_runs(number: object) -> None:
    problems = [Quadratic(np.eye(2), np.ones(2)) for _ in range(2)]
    asked = find("dgd")(step_size=number)  # type: ignore[call-arg]
    job = resolve(Request(problem=problems, nodes=2, algorithm=asked))
    step_size = job.plan.algorithm.step_size  # type: ignore[attr-defined]
    assert (type(step_size), step_size) == (float, 0.125)
    check_crossing(job)


def test_a_parameter_that_cannot_cross_is_refused_by_its_name() -> None:
    problems = [Quadratic(np.eye(2), np.ones(2)) for _ in range(2)]
    algorithm = find("dgd")(step_size=0.1)  # type: ignore[call-arg]
    object.__setattr__(algorithm, "step_size", np.full(2, 0.1))
    job = resolve(Request(problem=problems, nodes=2, algorithm=algorithm))
    with pytest.raises(ConfigError, match=r"'step_size' of .* type ndarray") as refused:
        check_crossing(job)
    assert "plain data" in str(refused.value.hint)
