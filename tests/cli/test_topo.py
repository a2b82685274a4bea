"""`p2pdo topo`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_a_ring_of_eight_is_told_in_figures(call: Call) -> None:
    data = call("topo", "ring", "--nodes", "8", "--json").data
    assert data["slem"] == pytest.approx(0.804738, abs=1e-6)
    assert data["spectral_gap"] == pytest.approx(1 - data["slem"])
    del data["slem"], data["spectral_gap"]
    assert data == {
        "topology": "ring",
        "nodes": 8,
        "connected": True,
        "directed": False,
        "edges": 8,
        "degree": [2, 2],
        "sends_to": [2, 2],
        "symmetric": True,
        "stochastic": "doubly",
        "slem_of": "W",
        "iterations_to_1e6": 64,
        "plot": None,
    }


def test_a_person_sees_a_line_a_figure(call: Call) -> None:
    lines = call("topo", "exponential", "-n", "16").stdout.splitlines()
    assert lines[0] == "exponential of 16"
    assert "  arcs             64" in lines
    assert "  degrees          hears 4, sends to 4" in lines
    assert "  SLEM             0.600000  (second largest |eigenvalue| of W)" in lines
    assert not any("picture" in line for line in lines)


def test_weights_that_only_sum_to_one_by_rows_are_reported_as_such(call: Call) -> None:
    assert call("topo", "star", "--weights", "uniform", "--json").data["stochastic"] == "rows"


def test_a_matrix_from_a_file_is_measured(call: Call, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(json.dumps([[0.5, 0.5], [0.5, 0.5]]))
    data = call("topo", "w.json", "-n", "2", "--json").data
    assert data["slem"] == pytest.approx(0)
    assert data["topology"] == "w.json"


def test_a_seed_is_one_random_graph(call: Call) -> None:
    one, same, other = (
        call("topo", "erdos-renyi:0.4", "-n", "20", "--seed", seed, "--json").data["slem"]
        for seed in ("1", "1", "2")
    )
    assert one == same
    assert one != other


def test_it_is_drawn_where_one_asks(call: Call) -> None:
    assert (
        call("topo", "grid", "-n", "9", "--plot", "grid.svg", "--json").data["plot"] == "grid.svg"
    )
    assert Path("grid.svg").read_text().startswith("<?xml")
    lines = call("topo", "grid", "-n", "9", "--plot", "grid.svg").stdout.splitlines()
    assert lines[-1] == "  picture          grid.svg"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("ring",), "of W)"),
        (("ring", "--weights", "active-links"), "of the mean W)"),
        (("one-peer-exponential",), "of a whole cycle's W, per iteration)"),
    ],
)
def test_it_is_told_what_the_eigenvalues_are_of(
    call: Call, asked: tuple[str, ...], told: str
) -> None:
    (line,) = (x for x in call("topo", *asked).stdout.splitlines() if "SLEM" in x)
    assert line.endswith(told)
