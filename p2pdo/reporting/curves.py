"""Curves. A figure of one's own for every node along a run, kept while it runs and drawn after it.

    accuracy = Recorder(lambda node, x: accuracy_of(x))
    p2pdo.run(problems, observe=accuracy, ...)
    plot_curves([accuracy.curve("gradient tracking")], "accuracy.png", "Two moons", "ring of 6")

A curve is the nodes' mean, in a band from the smallest to the largest, with its name at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2pdo.reporting.figures import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    new_figure,
    put_heading,
    save,
)
from p2pdo.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_APART = 0.065  # of the panel's height: what two names need


@dataclass(frozen=True, eq=False)
class Curve:
    """Iterations of shape (K,), and y of shape (K, N): a column a node."""

    name: str
    iterations: Array
    y: Array
    dashed: bool = False

    @property
    def last(self) -> Array:
        """Each node's latest figure, shape (N,)."""
        return np.asarray(self.y[-1])

    def first(self, at_least: float) -> int | None:
        """The first observed iteration at which every node has this much; None: never."""
        reached = self.iterations[self.y.min(axis=1) >= at_least]
        return int(reached[0]) if len(reached) else None


class Recorder:
    """An `observe` for a run: measures every node's state at each observed iteration.

    `measure(node, x)` gives the figure.
    """

    def __init__(self, measure: Callable[[int, Array], float]) -> None:
        self._measure = measure
        self._iterations: list[int] = []
        self._figures: list[list[float]] = []

    def __call__(self, iteration: int, states: Sequence[Array]) -> None:
        self._iterations.append(iteration)
        self._figures.append([self._measure(node, x) for node, x in enumerate(states)])

    def curve(self, name: str, *, dashed: bool = False) -> Curve:
        return Curve(name, np.array(self._iterations), np.array(self._figures), dashed)


def plot_curves(
    curves: Sequence[Curve],
    path: Path | str,
    title: str,
    subtitle: str,
    unit: str = "",
    *,
    along: str = "iteration",
) -> None:
    """Draws the curves into a file; its suffix says the format.

    `unit` "%" shows shares as such; `along` says what `iterations` count where it is another thing.

    Raises:
        MissingExtra: matplotlib is not installed.
        ConfigError: the file cannot be written.
    """
    save(curves_figure(curves, title, subtitle, unit, along=along), Path(path))


def curves_figure(
    curves: Sequence[Curve], title: str, subtitle: str, unit: str = "", *, along: str = "iteration"
) -> Figure:
    """The same as a matplotlib figure, for who wants to change it."""
    figure = new_figure(7.4, 4.3)
    free = put_heading(figure, title, subtitle, left=0.02)
    axes = figure.add_axes((0.095, 0.14, 0.685, free - 0.2))
    for i, curve in enumerate(curves):
        _draw(axes, curve, _COLOURS[i % len(_COLOURS)])
    _style(axes, unit, along)
    _name_ends(axes, curves)
    return figure


def _draw(axes: Axes, curve: Curve, colour: str) -> None:
    low, high = curve.y.min(axis=1), curve.y.max(axis=1)
    axes.fill_between(curve.iterations, low, high, color=colour, alpha=0.15, linewidth=0)
    style = (0, (4, 2)) if curve.dashed else "solid"
    axes.plot(curve.iterations, curve.y.mean(axis=1), color=colour, lw=1.6, linestyle=style)


def _style(axes: Axes, unit: str, along: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_xmargin(0)
    axes.grid(visible=True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.set_xlabel(along, color=SOFT, fontsize=9)


def _name_ends(axes: Axes, curves: Sequence[Curve]) -> None:
    low, high = axes.get_ylim()
    ends = [(float(curve.y[-1].mean()) - low) / (high - low) for curve in curves]
    for i, height in enumerate(_spread(ends)):
        axes.annotate(
            curves[i].name,
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=_COLOURS[i % len(_COLOURS)],
            fontsize=9,
            annotation_clip=False,
        )


def _spread(heights: Sequence[float]) -> list[float]:
    """The heights far enough apart, their order kept, from the top of the panel downwards."""
    placed = list(heights)
    ceiling = 1.0
    for i in sorted(range(len(heights)), key=lambda i: -heights[i]):
        placed[i] = min(heights[i], ceiling)
        ceiling = placed[i] - _APART
    return placed
