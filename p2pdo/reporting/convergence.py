"""Convergence. How fast a run approached the optimum and agreement, as a figure.

Where the optimum is known, the gap and the consensus error share one logarithmic panel. Where it
is not, the cost F(x̄) has a linear panel of its own above. Iterations are below, seconds above.
Each line carries its name and last value at its end instead of a legend.

A logarithmic axis has no zero. A gap of 0 or −1e−17 is rounding around the optimum, a consensus
error of 0 a common start: such points are taken out of the line, marked at the foot of the panel,
and a note says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from p2pdo.reporting.figures import (
    BLUE,
    GREEN,
    SOFT,
    VERMILION,
    new_figure,
    put_grid,
    put_heading,
)
from p2pdo.reporting.records import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

_NOTE = "▽ zero or below: rounding, or a common start; a logarithmic axis cannot show it"
_STEPS = (1, 2, 3, 5, 10, 20, 30, 50, 100)  # decades between marks
_FEW = 40  # points: each gets a dot
_LEFT, _RIGHT = 0.095, 0.80
_MARKS_APART = 0.018  # of a panel's width
_APART = 0.16  # of a panel's height: what two labels of two lines need


@dataclass(frozen=True)
class _Curve:
    name: str
    colour: str
    y: Floats
    log: bool

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.y) & ((self.y > 0) | (not self.log))

    @property
    def floored(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.y) & ~self.shown


def convergence_figure(metrics: Sequence[Metric], title: str, subtitle: str) -> Figure:
    """The figure; one axes per panel, one line per curve that was observed."""
    panels = _panels(metrics)
    figure = new_figure(7.4, 4.3 if len(panels) <= 1 else 6.2)
    free = put_heading(figure, title, subtitle, left=0.02)
    if not panels:
        figure.text(0.5, free / 2, "nothing was observed", ha="center", color=SOFT)
        return figure
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        len(panels),
        1,
        left=_LEFT,
        right=_RIGHT,
        top=free - 0.55 / height,
        bottom=0.68 / height,
        hspace=0.14,
    )
    iterations = np.array([m.iteration for m in metrics], dtype=float)
    all_axes = [figure.add_subplot(grid[row, 0]) for row in range(len(panels))]
    for axes, curves in zip(all_axes, panels, strict=True):
        _draw_panel(axes, iterations, curves)
        axes.tick_params(labelbottom=axes is all_axes[-1])
    all_axes[-1].set_xlabel("iteration", color=SOFT, fontsize=9)
    _add_seconds(all_axes[0], iterations, np.array([m.seconds for m in metrics]))
    if any(curve.floored.any() for curves in panels for curve in curves):
        figure.text(_LEFT, 0.12 / height, _NOTE, fontsize=7.5, color=SOFT)
    return figure


def _panels(metrics: Sequence[Metric]) -> list[list[_Curve]]:
    gap = _Curve(r"gap  $F(\bar{x}) - F^\star$", BLUE, _column([m.gap for m in metrics]), log=True)
    value = _Curve(r"cost  $F(\bar{x})$", GREEN, _column([m.value for m in metrics]), log=False)
    consensus = _Curve(
        "consensus error", VERMILION, _column([m.consensus_error for m in metrics]), log=True
    )
    wanted = [[gap, consensus]] if _seen(gap) else [[value], [consensus]]
    panels = [[curve for curve in curves if _seen(curve)] for curves in wanted]
    return [curves for curves in panels if curves]


def _column(figures: Sequence[float | None]) -> Floats:
    return np.array([math.nan if x is None else x for x in figures], dtype=float)


def _seen(curve: _Curve) -> bool:
    return bool(np.isfinite(curve.y).any())


def _draw_panel(axes: Axes, x: Floats, curves: Sequence[_Curve]) -> None:
    if curves[0].log:
        axes.set_yscale("log")
    axes.set_xlim(*_x_limits(x))
    axes.set_ylim(*_y_limits(curves))
    _style(axes)
    for curve in curves:
        y = np.where(curve.shown, curve.y, np.nan)
        marker = "o" if curve.shown.sum() <= _FEW else None
        axes.plot(
            x, y, color=curve.colour, lw=1.8, marker=marker, ms=3.2, clip_on=False, zorder=2.5
        )
        _mark_floored(axes, x[curve.floored], curve.colour)
    _label_ends(axes, curves)


def _x_limits(x: Floats) -> tuple[float, float]:
    low, high = float(x.min()), float(x.max())
    return (low - 1, high + 1) if low == high else (low, high)


def _y_limits(curves: Sequence[_Curve]) -> tuple[float, float]:
    """Around what is shown, with a margin; a flat or empty panel still has a height."""
    shown = np.concatenate([curve.y[curve.shown] for curve in curves])
    if not curves[0].log:
        low, high = float(shown.min()), float(shown.max())
        margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
        return low - margin, high + margin
    if not shown.size:
        return 1e-16, 1.0
    low, high = float(np.log10(shown.min())), float(np.log10(shown.max()))
    margin = max(0.07 * (high - low), 0.3)
    return 10.0 ** max(low - margin, -307), 10.0 ** min(high + margin, 307)


def _style(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator

    put_grid(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if axes.get_yscale() == "log":
        axes.set_yticks(*_log_ticks(*axes.get_ylim()))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Powers of ten, at most eight; below two decades 1, 2 and 5 times them."""
    first, last = math.log10(low), math.log10(high)
    step = next(step for step in _STEPS if (last - first) / step <= 7)  # noqa: PLR2004 - marks
    factors = (1, 2, 5) if last - first < 2 else (1,)  # noqa: PLR2004 - decades
    start = math.floor(first / step) * step
    marks = [(f, e) for e in range(start, math.ceil(last) + 1, step) for f in factors]
    marks = [(f, e) for f, e in marks if first <= math.log10(f) + e <= last]
    labels = [f"$10^{{{e}}}$" if f == 1 else rf"${f} \times 10^{{{e}}}$" for f, e in marks]
    return [f * 10.0**e for f, e in marks], labels


def _mark_floored(axes: Axes, x: Floats, colour: str) -> None:
    """Hollow triangles at the foot: x in data, y in the panel's own height."""
    low, high = axes.get_xlim()
    _, first = np.unique(np.floor(x / ((high - low) * _MARKS_APART)), return_index=True)
    few = x[first]
    axes.scatter(
        few,
        np.full_like(few, 0.025),
        transform=axes.get_xaxis_transform(),
        marker="v",
        s=22,
        facecolors="white",
        edgecolors=colour,
        linewidths=1.0,
        clip_on=False,
        zorder=3,
    )


def _label_ends(axes: Axes, curves: Sequence[_Curve]) -> None:
    """Name and last value right of each line, moved apart where the ends are close."""
    heights = _spread([_end_height(axes, curve) for curve in curves])
    for curve, height in zip(curves, heights, strict=True):
        last = curve.y[np.isfinite(curve.y)][-1]
        axes.annotate(
            f"{curve.name}\n{_figure(float(last), log=curve.log)}",
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=curve.colour,
            fontsize=9,
            linespacing=1.35,
            annotation_clip=False,
        )


def _end_height(axes: Axes, curve: _Curve) -> float:
    """Where the line ends, from 0 at the foot of the panel to 1 at its top."""
    shown = curve.y[curve.shown]
    if not shown.size:
        return 0.0
    low, high = axes.get_ylim()
    last = float(shown[-1])
    if curve.log:
        low, high, last = math.log10(low), math.log10(high), math.log10(last)
    return (last - low) / (high - low)


def _spread(heights: Sequence[float]) -> list[float]:
    """One or two heights, inside the panel and far enough apart, their order kept."""
    if len(heights) == 1:
        return [min(max(heights[0], 0.05), 0.95)]
    (low, low_at), (high, high_at) = sorted((h, i) for i, h in enumerate(heights))
    half = max(_APART, high - low) / 2
    middle = min(max((low + high) / 2, 0.05 + half), 0.95 - half)
    placed = {low_at: middle - half, high_at: middle + half}
    return [placed[i] for i in range(len(heights))]


def _figure(x: float, *, log: bool) -> str:
    if not log:
        return f"{x:.6g}"
    if x == 0:
        return "0"
    mantissa, exponent = f"{x:.1e}".split("e")
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$"


def _add_seconds(axes: Axes, iterations: Floats, seconds: Floats) -> None:
    """The same axis in seconds, on top; only where time went forward with every point."""
    from matplotlib.ticker import MaxNLocator

    if len(seconds) < 2 or not (np.all(np.diff(seconds) > 0) and np.all(np.diff(iterations) > 0)):  # noqa: PLR2004
        return
    low, high = np.interp(axes.get_xlim(), iterations, seconds)
    top = axes.twiny()
    top.set_xlim(*axes.get_xlim())
    ticks = [t for t in MaxNLocator(nbins=6).tick_values(low, high) if low <= t <= high]
    top.set_xticks(np.interp(ticks, seconds, iterations), [f"{t:,g}" for t in ticks])
    top.tick_params(length=0, labelsize=9, labelcolor=SOFT)
    top.set_xlabel("seconds", color=SOFT, fontsize=9)
    for spine in top.spines.values():
        spine.set_visible(False)
