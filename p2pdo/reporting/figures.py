"""Figures. What every picture shares: the page, its heading, its colours and its file.

Figures are made through matplotlib's objects; pyplot and its global state are not touched, so any
thread may draw. Colours are Okabe and Ito's, which the colour-blind can tell apart. Headings come
from users and are drawn as they are: a dollar sign does not start a formula.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.storage.trouble import ANOTHER_FILE, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#00805E"
PURPLE, ORANGE, SKY = "#A8437F", "#B87A00", "#2F8FC4"
INK, SOFT, FAINT, LINE = "#222222", "#666666", "#E6E6E6", "#8C979F"

FORMATS = (".png", ".svg", ".pdf")

_DPI = 200
_TITLE_POINTS, _TEXT_POINTS = 13, 9.5
_LEADING = 1.35


def new_figure(width: float, height: float) -> Figure:
    """An empty page of this many inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Page
    except ModuleNotFoundError as error:
        raise MissingExtra("plotting", "matplotlib", "plots") from error
    return Page(figsize=(width, height), dpi=_DPI, facecolor="white")


def put_heading(figure: Figure, title: str, subtitle: str, left: float) -> float:
    """Title and subtitle from `left` on; the height of the page that is free below them."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    line = _LEADING / 72 / height
    room = int((1 - left) * width * 72)
    y = 1 - 0.16 / height
    for text, points, colour, weight in (
        (title, _TITLE_POINTS, INK, "bold"),
        (subtitle, _TEXT_POINTS, SOFT, "normal"),
    ):
        for part in textwrap.wrap(text, width=int(room / (0.58 * points))):
            figure.text(
                left,
                y,
                part,
                fontsize=points,
                color=colour,
                weight=weight,
                va="top",
                parse_math=False,
            )
            y -= line * points
    return y


def put_grid(axes: Axes) -> None:
    """Faint lines behind what is drawn, and no frame but the foot."""
    axes.grid(visible=True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)


def check_format(path: Path) -> None:
    """Refuses a file that no picture can be written to, before one is drawn.

    matplotlib knows more formats, some of which need further packages; these work everywhere.

    Raises:
        ConfigError: its suffix is none of a picture's.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"cannot write {path}: no picture format '{path.suffix}'",
            hint=f"name a file that ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
        )


def save(figure: Figure, path: Path) -> None:
    """Write it in the format of the suffix.

    Raises:
        ConfigError: the file cannot be written, or the format is not known.
    """
    check_format(path)
    with writing(path, ANOTHER_FILE):
        figure.savefig(path)
