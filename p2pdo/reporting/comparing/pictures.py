"""Figures of comparisons for papers: the width of a column, fonts of 8 points, vectors.

Colours are Okabe and Ito's, which the colour-blind can tell apart; each method has a marker and a
stroke of its own besides, for who prints in grey. The legend is above the panel, never on the data.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pdo.errors import NotFound
from p2pdo.reporting.comparing.curves import LINEAR, SHARES, Band
from p2pdo.reporting.figures import FAINT, INK, SOFT, check_format, new_figure
from p2pdo.storage.trouble import ANOTHER_FILE, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {"single": 3.5, "double": 7.16}
"""Inches: the columns of IEEE's journals, and of most others within a millimetre or two."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_STROKES = ("-", "--", "-.", ":")
_POINTS = 8
_MARKS = 7  # on a line
_HEIGHT = 0.68  # of the width of a column
_ROW = 0.17  # inches, of the legend
_AXES = {
    "iterations": "iterations",
    "gradients": "gradient evaluations, all nodes",
    "messages": "messages, all nodes",
    "bytes": "bytes sent, all nodes",
    "seconds": "seconds",
}
_QUANTITIES = {
    "gap": r"gap  $F(\bar{x}) - F^\star$",
    "consensus-error": r"consensus error  $\max_i \|x_i - \bar{x}\|$",
    "value": r"cost  $F(\bar{x})$",
    "accuracy": r"accuracy of $\bar{x}$",
    "test-accuracy": r"accuracy of $\bar{x}$ on samples held out",
}

_one_at_a_time = threading.Lock()  # the settings of a file's format are matplotlib's globals


def plot(bands: Sequence[Band], path: Path, quantity: str, against: str, width: str) -> None:
    """Draws into a file; its suffix says the format.

    Raises:
        MissingExtra: matplotlib is not installed.
        NotFound: there is nothing to draw.
        ConfigError: the file cannot be written.
    """
    check_format(path)
    figure = comparison_figure(bands, quantity, against, width)
    import matplotlib as mpl

    as_text: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "p2pdo"}
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    with writing(path, ANOTHER_FILE), _one_at_a_time, mpl.rc_context(as_text):
        figure.savefig(path, metadata=undated, bbox_inches="tight", pad_inches=0.02)


def comparison_figure(bands: Sequence[Band], quantity: str, against: str, width: str) -> Figure:
    """The same as a matplotlib figure, for who wants to change it."""
    if not bands:
        raise NotFound(
            f"no trial has anything to draw of {quantity}",
            hint="the gap needs a problem whose optimum is known; or another --show",
        )
    inches = WIDTHS[width]
    columns = min(len(bands), 2 if width == "single" else 4)
    legend = _ROW * -(-len(bands) // columns)
    height = _HEIGHT * min(inches, 5.0) + legend
    figure = new_figure(inches, height)
    axes = figure.add_axes((0.17 if width == "single" else 0.09, 0.4 / height, 0.0, 0.0))
    left = axes.get_position().x0
    axes.set_position((left, 0.4 / height, 0.98 - left, 1 - (0.5 + legend) / height))
    for i, band in enumerate(bands):
        _draw(axes, band, i, len(bands))
    _style(axes, quantity, against)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.01, 1, 0.1),
        mode=None,
        borderaxespad=0,
        ncols=columns,
        fontsize=_POINTS,
        frameon=False,
        handlelength=2.4,
        labelcolor=INK,
    )
    return figure


def _draw(axes: Axes, band: Band, i: int, of: int) -> None:
    colour = COLOURS[i % len(COLOURS)]
    if (band.low < band.high).any():
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
    apart = max(1, len(band.x) // _MARKS)
    axes.plot(
        band.x,
        band.y,
        label=band.label,
        color=colour,
        linestyle=_STROKES[(i // len(COLOURS) + i) % len(_STROKES)],
        linewidth=1.1,
        marker=_MARKERS[i % len(_MARKERS)],
        markersize=3.5,
        markeredgewidth=0.6,
        markerfacecolor="white",
        markevery=(i * apart // of, apart),
    )


def _style(axes: Axes, quantity: str, against: str) -> None:
    from matplotlib.ticker import EngFormatter, PercentFormatter

    if quantity not in LINEAR:
        axes.set_yscale("log")
    if quantity in SHARES:
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    if against != "seconds":
        unit = "B" if against == "bytes" else ""
        axes.xaxis.set_major_formatter(EngFormatter(unit=unit, sep=" " if unit else ""))
    axes.set_xlabel(_AXES[against], fontsize=_POINTS, color=INK)
    axes.set_ylabel(_QUANTITIES[quantity], fontsize=_POINTS, color=INK)
    axes.tick_params(labelsize=_POINTS - 1, length=2, color=SOFT, labelcolor=INK)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xmargin(0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)
