# ruff: noqa: S102 - the page is ours
"""The page on simulated networks: its commands and its program run, its file is what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "simulate-a-network.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_its_commands_run(number: int, tmp_path: Path) -> None:
    (tmp_path / "links.toml").write_text(blocks("toml")[0])
    words = shlex.split(blocks("sh")[number])[1:]
    done = subprocess.run(
        [sys.executable, "-m", "p2pdo", *words, "--json", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    if "--drop" in words:
        assert data["dropped"] > 0
    elif "--activation" in words:
        assert data["iterations"] == 300
        assert data["simulated"]["seconds"] > 300 / 4 * 0.7, "node 3 sets the pace"
    else:
        told = data["simulated"]
        assert told["seconds"] > data["iterations"] * 0.005
        assert told["frames_lost"] > 0


def test_every_key_of_the_file_is_there() -> None:
    from p2pdo.simulation.links import models

    tables = (
        models.LinkTable,
        models.EdgeTable,
        models.SlowTable,
        models.FreezeTable,
        models.CrashTable,
        models.PartitionTable,
        models.PatienceTable,
        models.MatrixTable,
        models.LinksFile,
    )
    keys = {field.alias or name for t in tables for name, field in t.model_fields.items()}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", TEXT)] == []


def test_the_matrix_is_read(tmp_path: Path) -> None:
    from p2pdo.graphs.topologies import by_name
    from p2pdo.simulation.links.reading import read_links

    np.savetxt(tmp_path / "pings.csv", np.full((8, 8), 30.0), delimiter=",")
    (tmp_path / "links.toml").write_text(blocks("toml")[1])
    ring = by_name("ring", 8, np.random.default_rng(0))
    delay: Any = read_links(tmp_path / "links.toml", ring).conditions.weather.delay
    assert (delay.matrix[0, 1], delay.sigma) == (0.015, 0.2)


@pytest.mark.slow
def test_its_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(code, {})
    seconds = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(seconds) == 2
    assert min(seconds) > 1
