"""What a launcher prepares for its processes; that they run is tested in tests/e2e."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np

from p2pdo.api.jobs import Request, resolve
from p2pdo.api.processes import make_work_folder
from p2pdo.problems.quadratic import Quadratic


def test_the_nodes_data_are_where_only_this_user_can_read_them(tmp_path: Path) -> None:
    problems = [Quadratic(np.eye(2), np.ones(2)) for _ in range(3)]
    work = make_work_folder(resolve(Request(problem=problems, nodes=3)), tmp_path / "run")
    for folder in (work, work / "parts"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list((work / "parts").iterdir())) == 3
