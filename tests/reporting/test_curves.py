"""Curves of one's own figures: what is recorded, and what is drawn of it."""

from pathlib import Path

import numpy as np
import pytest

from p2pdo.reporting.curves import Curve, Recorder, curves_figure, plot_curves


def recorded() -> Recorder:
    recorder = Recorder(lambda node, x: float(x[0]) + node)
    for iteration, level in ((0, 0.0), (10, 1.0), (20, 2.0)):
        recorder(iteration, [np.array([level]), np.array([level])])
    return recorder


def test_a_recorder_measures_every_node_at_every_observed_iteration() -> None:
    curve = recorded().curve("mine")
    assert curve.iterations.tolist() == [0, 10, 20]
    assert curve.y.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert curve.last.tolist() == [2, 3]


def test_it_knows_when_the_last_node_was_first_that_far() -> None:
    curve = recorded().curve("mine")
    assert curve.first(1.0) == 10
    assert curve.first(2.5) is None


def test_a_curve_is_the_mean_in_a_band_with_its_name_at_its_end(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = [recorded().curve("mine"), Curve("flat", np.array([0, 20]), np.full((2, 3), 2.5))]
    figure = curves_figure(curves, "title", "subtitle", unit="%", along="round")
    [axes] = figure.axes
    assert axes.get_xlabel() == "round"
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1.5, 2.5]
    assert len(axes.collections) == 2
    names = {text.get_text(): text.xy[1] for text in axes.texts}
    assert set(names) == {"mine", "flat"}
    assert abs(names["mine"] - names["flat"]) > 0.05, "equal ends, names apart"
    plot_curves(curves, tmp_path / "curves.png", "title", "subtitle")
    assert (tmp_path / "curves.png").stat().st_size > 1000
