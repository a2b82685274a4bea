"""LaTeX, CSV, Parquet and figures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_comparison

from p2pdo.api.comparisons.comparison import Comparison
from p2pdo.errors import ConfigError, MissingExtra, NotFound
from p2pdo.protocol.counting import Calls
from p2pdo.reporting.comparing.curves import band_of
from p2pdo.reporting.comparing.pictures import comparison_figure
from p2pdo.reporting.comparing.tidy import COLUMNS
from p2pdo.reporting.comparing.trials import Group

GOLDEN = Path(__file__).parent / "golden.tex"


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    runs = {
        "dgd": [{"gaps": [1.0, 0.3, 0.2, 0.15, 0.05]}, {"gaps": [1.0, 30.0]}],
        "my_own": [
            {"gaps": [1.0, 1e-2, 1e-4, 1e-6]},
            {"gaps": [1.0, 1e-1, 2e-3, 2e-4, 5e-5, 5e-6]},
        ],
    }
    return Comparison.read(make_comparison(tmp_path / "c", runs))


def test_the_latex_table_is_this(comparison: Comparison, tmp_path: Path) -> None:
    comparison.write_latex(tmp_path / "a.tex")
    assert (tmp_path / "a.tex").read_text() == GOLDEN.read_text()


def test_the_text_has_both_tables_and_the_reasons(comparison: Comparison) -> None:
    text = comparison.table()
    assert "my_own     2 of 2" in text
    assert "to gap and consensus error <= 0.0001, all nodes together, observed every 10" in text
    assert "dgd, seed 6: diverged" in text


def test_every_observation_is_a_row_of_the_csv(comparison: Comparison, tmp_path: Path) -> None:
    comparison.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 5 + 2 + 4 + 6
    last = rows[-1]
    assert (last["label"], last["trial"], last["seed"], last["status"]) == (
        "my_own",
        "1",
        "6",
        "good",
    )
    assert (float(last["gap"]), last["iteration"], last["gradients"]) == (5e-6, "50", "200.0")
    assert {row["status"] for row in rows if row["seed"] == "6" and row["label"] == "dgd"} == {
        "diverged"
    }


def test_parquet_gives_back_the_rows_with_their_types(
    comparison: Comparison, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    comparison.write_parquet(tmp_path / "a.parquet")
    comparison.write_csv(tmp_path / "a.csv")
    read = parquet.read_table(tmp_path / "a.parquet")
    names = {"string": str, "int64": int, "double": float}
    assert {f.name: names[str(f.type)] for f in read.schema} == dict(COLUMNS)
    with (tmp_path / "a.csv").open(newline="") as file:
        text = list(csv.DictReader(file))
    for row, written in zip(read.to_pylist(), text, strict=True):
        assert {k: "" if v is None else str(v) for k, v in row.items()} == written


def test_without_a_package_for_parquet_it_says_how_to_get_one(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "polars", "pandas"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingExtra, match="Parquet needs pyarrow"):
        comparison.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(MissingExtra, match="needs pandas or polars"):
        comparison.to_dataframe()


def test_a_band_is_the_median_between_the_least_and_the_most(comparison: Comparison) -> None:
    group = next(group for group in comparison.groups if group.label == "my_own")
    band = band_of(group, "gap", "iterations")
    assert band is not None
    assert band.x[-1] == 40, "half of the trials have ended at 30, half at 50"
    np.testing.assert_allclose(band.y[1], 10**-1.5)
    np.testing.assert_allclose((band.low[1], band.high[1]), (1e-2, 1e-1))
    np.testing.assert_allclose((band.low[-1], band.high[-1]), (1e-6, 5e-5))  # the first is held
    by_bytes = band_of(group, "gap", "bytes")
    assert by_bytes is not None
    np.testing.assert_array_equal(by_bytes.x, 80 * band.x)


def test_a_method_without_gradients_is_no_line_against_them(comparison: Comparison) -> None:
    group = comparison.groups[0]
    without = [
        replace(trial, metrics=[replace(m, calls=Calls(proxes=m.iteration)) for m in trial.metrics])
        for trial in group.trials
    ]
    assert band_of(Group("admm", without), "gap", "gradients") is None
    assert band_of(Group("admm", without), "gap", "messages") is not None


def test_a_diverged_trial_is_in_no_band(comparison: Comparison) -> None:
    group = next(group for group in comparison.groups if group.label == "dgd")
    band = band_of(group, "gap", "iterations")
    assert band is not None
    assert band.high.max() <= 1.0 + 1e-12


@pytest.mark.slow
def test_the_legend_is_not_on_the_data(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib")
    bands = [band_of(group, "gap", "gradients") for group in comparison.groups]
    figure = comparison_figure([b for b in bands if b is not None], "gap", "gradients", "single")
    (axes,) = figure.axes
    figure.canvas.draw()
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["dgd", "my_own"]
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert figure.get_figwidth() == 3.5
    assert (axes.get_yscale(), axes.get_xlabel()) == ("log", "gradient evaluations, all nodes")
    styles = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert len(styles) == 2


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_a_plot_is_the_same_file_each_time(
    comparison: Comparison, tmp_path: Path, suffix: str
) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for file in files:
        comparison.plot(file, against="seconds", line="mean", band="std", width="double")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_cannot_be_drawn_is_told(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(NotFound, match="anything to draw"):
        comparison.plot(tmp_path / "a.svg", show="accuracy")
    with pytest.raises(ConfigError, match="no band 'wide'"):
        comparison.plot(tmp_path / "a.svg", band="wide")
    with pytest.raises(ConfigError, match="plotted against 'flops'"):
        comparison.plot(tmp_path / "a.svg", against="flops")


def test_the_figures_are_plain_data(comparison: Comparison) -> None:
    plain = json.loads(json.dumps(comparison.to_plain()))
    first = plain["algorithms"][0]
    assert (first["label"], first["reached"], first["to"]["iterations"]["mean"]) == (
        "my_own",
        2,
        30.0,
    )
