"""Pictures are looked at through their figures: lines, labels, notes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.reporting.convergence import convergence_figure
from p2pdo.reporting.pace import pace_figure
from p2pdo.reporting.plots import plot_convergence, plot_pace, plot_topology
from p2pdo.reporting.records import Metric
from p2pdo.reporting.topology import topology_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")

RING = [(i, (i + 1) % 6) for i in range(6)]


def metric(
    iteration: int,
    gap: float | None,
    consensus: float | None,
    value: float | None = None,
    seconds: float | None = None,
) -> Metric:
    return Metric(
        iteration, 0.1 * iteration if seconds is None else seconds, gap, consensus, value, 0, 0
    )


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.lines]


def words(figure: Figure) -> str:
    return " ".join(
        [t.get_text() for t in figure.texts]
        + [t.get_text() for axes in figure.axes for t in axes.texts]
    )


KNOWN = [metric(i, 10.0**-i, 2.0**-i, 1.0) for i in range(5)]


def test_a_known_gap_and_the_consensus_error_share_a_logarithmic_panel() -> None:
    figure = convergence_figure(KNOWN, "title", "subtitle")
    [panel] = panels(figure)
    assert panel.get_yscale() == "log"
    gap, consensus = panel.lines
    np.testing.assert_allclose(gap.get_ydata(), [m.gap for m in KNOWN])
    np.testing.assert_allclose(consensus.get_ydata(), [m.consensus_error for m in KNOWN])
    assert "gap" in words(figure)
    assert "consensus error" in words(figure)
    assert "zero or below" not in words(figure)


def test_without_an_optimum_the_cost_has_a_linear_panel_of_its_own() -> None:
    figure = convergence_figure([metric(i, None, 2.0**-i, 3.0 - i) for i in range(5)], "t", "s")
    cost, consensus = panels(figure)
    assert (cost.get_yscale(), consensus.get_yscale()) == ("linear", "log")
    assert [len(axes.lines) for axes in (cost, consensus)] == [1, 1]


def test_zero_and_below_leave_the_line_and_are_noted() -> None:
    gaps = [1.0, 1e-8, 0.0, -1e-17]
    figure = convergence_figure([metric(i, gap, 1.0) for i, gap in enumerate(gaps)], "t", "s")
    [panel] = panels(figure)
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), [1.0, 1e-8, np.nan, np.nan])
    assert panel.get_ylim()[0] > 1e-10
    assert [len(c.get_offsets()) for c in panel.collections] == [2, 0]  # type: ignore[arg-type]
    assert "zero or below" in words(figure)


def test_seconds_stand_above_where_time_went_forward() -> None:
    assert [axes.get_xlabel() for axes in convergence_figure(KNOWN, "t", "s").axes] == [
        "iteration",
        "seconds",
    ]
    at_once = [metric(i, 1.0, 1.0, seconds=0.0) for i in range(3)]
    assert len(convergence_figure(at_once, "t", "s").axes) == 1


def test_two_lines_that_end_together_have_labels_apart() -> None:
    figure = convergence_figure([metric(i, 0.1, 0.1) for i in range(3)], "t", "s")
    [panel] = panels(figure)
    one, two = (text.xy[1] for text in panel.texts)  # type: ignore[attr-defined]
    assert abs(one - two) >= 0.15


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [metric(0, None, None)],
        [metric(0, 1.0, 0.0)],
        [metric(i, 0.0, 0.0) for i in range(200)],
        [metric(i, 10.0**i, 10.0**i) for i in range(300)],
        [metric(i, 1e-320, float("inf")) for i in range(3)],
        [metric(i, float("nan"), None, 2.0) for i in range(3)],
        [metric(0, 3.0, 3.1), metric(1, 3.05, 3.0)],
        [metric(5, None, None, 0.0)],
    ],
    ids=["none", "unseen", "one", "zero", "diverged", "extreme", "nan", "flat", "zero cost"],
)
def test_every_run_has_a_picture(metrics: list[Metric], tmp_path: Path) -> None:
    plot_convergence(metrics, tmp_path / "convergence.png", "costs $5, not $6", "a $ too")
    assert is_png(tmp_path / "convergence.png")


def test_the_pace_is_iterations_against_seconds_with_the_rate_at_its_end() -> None:
    figure = pace_figure([metric(i, None, None, seconds=i / 50) for i in (0, 50, 100)], "t", "s")
    [panel] = panels(figure)
    np.testing.assert_allclose(panel.lines[0].get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(panel.lines[0].get_ydata(), [0, 50, 100])
    assert "100 iterations\n50 it/s" in words(figure)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_pace_without_time_has_no_rate(seconds: float, tmp_path: Path) -> None:
    metrics = [metric(i, None, None, seconds=seconds) for i in range(2)]
    assert "/s" not in words(pace_figure(metrics, "t", "s"))
    plot_pace(metrics, tmp_path / "pace.png", "t", "s")
    assert is_png(tmp_path / "pace.png")


def test_nothing_observed_is_said() -> None:
    assert "nothing was observed" in words(convergence_figure([], "t", "s"))


def test_a_long_title_is_wrapped() -> None:
    figure = convergence_figure(KNOWN, "word " * 40, "s")
    assert len(figure.texts) > 3


def test_an_undirected_edge_is_one_line_however_it_is_given() -> None:
    both = RING + [(j, i) for i, j in RING]
    for arcs in (RING, both):
        lines, nodes = topology_figure(6, arcs, directed=False, title="ring").axes[0].collections
        assert len(lines.get_paths()) == 6
        assert len(nodes.get_offsets()) == 6  # type: ignore[arg-type]
        assert "6 nodes, 6 edges, degree 2" in words(
            topology_figure(6, arcs, directed=False, title="ring")
        )


def test_a_directed_arc_has_a_head_at_the_border_of_its_node() -> None:
    figure = topology_figure(2, [(0, 1)], directed=True, title="pair")
    _, heads, _ = figure.axes[0].collections
    [head] = heads.get_paths()
    tip = head.vertices[0]
    np.testing.assert_allclose(tip[1], 0, atol=1e-2)
    assert 0.9 < abs(tip[0]) < 0.95
    assert "1 arc, 0-1 out and 0-1 in per node" in words(figure)


def test_short_labels_stand_in_their_nodes_and_long_ones_beside() -> None:
    short = topology_figure(6, RING, directed=False, title="t").axes[0].texts
    assert [t.get_text() for t in short] == list("012345")
    assert {t.get_color() for t in short} == {"white"}
    names = [f"hospital-{i}$" for i in range(6)]
    long = topology_figure(6, RING, directed=False, title="t", labels=names).axes[0].texts
    assert [t.get_text() for t in long] == names
    assert "white" not in {t.get_color() for t in long}


def test_the_hub_of_a_star_has_its_long_label_outside() -> None:
    star = [(0, i) for i in range(1, 6)]
    names = [f"site-{i}" for i in range(6)]
    hub = topology_figure(6, star, directed=False, title="t", labels=names).axes[0].texts[0]
    assert hub.get_position()[1] < -0.07


@pytest.mark.parametrize("n", [1, 2, 5, 160])
@pytest.mark.parametrize("directed", [True, False])
def test_every_path_has_a_picture(n: int, directed: bool, tmp_path: Path) -> None:
    path = tmp_path / "topology.png"
    arcs = [(i, i + 1) for i in range(n - 1)]
    plot_topology(n, arcs, directed=directed, path=path, title="path")
    assert is_png(path)


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        plot_convergence(KNOWN, tmp_path / "nowhere" / "a.png", "t", "s")
    with pytest.raises(ConfigError, match=r"no picture format '\.docx'"):
        plot_convergence(KNOWN, tmp_path / "a.docx", "t", "s")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="plotting needs matplotlib") as missing:
        convergence_figure(KNOWN, "t", "s")
    assert missing.value.hint == "pip install 'p2pdo[plots]'"


def test_importing_the_room_loads_nothing_heavy() -> None:
    program = """
import pkgutil, importlib, sys, p2pdo.reporting as room
for module in pkgutil.iter_modules(room.__path__):
    importlib.import_module(f"p2pdo.reporting.{module.name}")
heavy = {"rich", "matplotlib", "networkx", "asyncio", "grpc", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    plot_convergence(KNOWN, tmp_path / "a.png", "t", "s")
    assert "matplotlib.pyplot" not in sys.modules


def is_png(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
