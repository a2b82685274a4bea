"""Pace. How fast a run went on, as a figure, where nobody saw how good its states were.

Over a network of daemons states stay where they are, so what is known on the way is how many
iterations all nodes have completed, and when. The slope is the rate; where it bends, a node or a
link was slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2pdo.reporting import formats
from p2pdo.reporting.figures import BLUE, SOFT, new_figure, put_grid, put_heading
from p2pdo.reporting.records import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 40  # points: each gets a dot


def pace_figure(metrics: Sequence[Metric], title: str, subtitle: str) -> Figure:
    """Iterations that all nodes have completed against seconds; at least two metrics."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(7.4, 3.6)
    height = figure.get_figheight()
    free = put_heading(figure, title, subtitle, left=0.02)
    bottom = 0.62 / height
    axes = figure.add_axes((0.095, bottom, 0.705, free - 0.12 / height - bottom))
    seconds, iterations = [m.seconds for m in metrics], [m.iteration for m in metrics]
    marker = "o" if len(metrics) <= _FEW else None
    axes.plot(seconds, iterations, color=BLUE, lw=1.8, marker=marker, ms=3.2, clip_on=False)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    put_grid(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("seconds", color=SOFT, fontsize=9)
    axes.annotate(
        _in_words(metrics),
        xy=(seconds[-1], iterations[-1]),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        color=BLUE,
        fontsize=9,
        linespacing=1.35,
        annotation_clip=False,
    )
    return figure


def _in_words(metrics: Sequence[Metric]) -> str:
    first, last = metrics[0], metrics[-1]
    text = f"{formats.count(last.iteration)} iterations"
    taken = last.seconds - first.seconds
    if taken <= 0:
        return text
    return f"{text}\n{formats.rate((last.iteration - first.iteration) / taken)}"
