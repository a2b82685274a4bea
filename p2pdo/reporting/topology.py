"""Topology. Who talks to whom, as a figure that is legible up to about a hundred nodes.

Sizes follow from the layout: nodes are as large as their neighbours on the page allow, lines get
thinner as they get more. A short label stands in its node, a longer one beside it. Arrows end at
the border of the node they point to; a pair of opposite arcs is one line with two heads.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from p2pdo.reporting import formats
from p2pdo.reporting.figures import BLUE, INK, LINE, new_figure, put_heading
from p2pdo.reporting.layout import Arc, Positions, positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Point = npt.NDArray[np.float64]

_TYPE_BESIDE = 7.5  # points
_LONGEST_INSIDE = 3  # letters
_MOST_LABELS = 150
_WIDTH_OF_A_LETTER = 0.62  # of the type's size


def topology_figure(
    n: int,
    arcs: Collection[Arc],
    *,
    directed: bool,
    title: str,
    labels: Sequence[str] | None = None,
) -> Figure:
    """The figure. An undirected edge may be given once or as both of its arcs."""
    drawn = _distinct(arcs, directed=directed)
    names = [str(i) for i in range(n)] if labels is None else list(labels)
    places = positions(n, drawn)
    side = float(np.clip(6 * math.sqrt(n / 40), 5.5, 10))
    half_width, half_height = _reach(places, names, side)
    figure = new_figure(side, side * half_height / half_width + 0.7)
    free = put_heading(figure, title, _in_words(n, drawn, directed=directed), left=0.03)
    axes = figure.add_axes((0, 0, 1, free))
    axes.axis("off")
    axes.set_aspect("equal")
    axes.set_xlim(-half_width, half_width)
    axes.set_ylim(-half_height, half_height)
    page = side * 72 / (2 * half_width)  # points of type in one unit
    radius = _radius(places)
    _draw_arcs(axes, places, drawn, radius, directed=directed)
    _draw_nodes(axes, places, radius)
    if n <= _MOST_LABELS:
        _draw_labels(axes, places, names, radius, page)
    return figure


def _distinct(arcs: Collection[Arc], *, directed: bool) -> list[Arc]:
    """Each arc once, no loops; both arcs of an undirected edge."""
    known = {(int(i), int(j)) for i, j in arcs if i != j}
    return sorted(known if directed else known | {(j, i) for i, j in known})


def _in_words(n: int, arcs: Sequence[Arc], *, directed: bool) -> str:
    nodes = "1 node" if n == 1 else f"{formats.count(n)} nodes"
    outward = _range(np.bincount([i for i, _ in arcs], minlength=n))
    if directed:
        inward = _range(np.bincount([j for _, j in arcs], minlength=n))
        return f"{nodes}, {_plural(len(arcs), 'arc')}, {outward} out and {inward} in per node"
    return f"{nodes}, {_plural(len(arcs) // 2, 'edge')}, degree {outward}"


def _plural(n: int, word: str) -> str:
    return f"{formats.count(n)} {word}" if n == 1 else f"{formats.count(n)} {word}s"


def _range(degrees: npt.NDArray[np.int_]) -> str:
    low, high = int(degrees.min()), int(degrees.max())
    return str(low) if low == high else f"{low}-{high}"


def _reach(places: Positions, names: Sequence[str], side: float) -> tuple[float, float]:
    """Half of the width and height that nodes and labels need, in the units of the layout."""
    letter = _WIDTH_OF_A_LETTER * _TYPE_BESIDE / (side * 72 / 2.6)
    beside = max(map(len, names)) * letter if _stands_beside(names) else 0.0
    width, height = np.abs(places).max(axis=0) + 0.16
    return max(float(width) + beside, 1.0), max(float(height), 0.3)


def _stands_beside(names: Sequence[str]) -> bool:
    return max(map(len, names)) > _LONGEST_INSIDE


def _radius(places: Positions) -> float:
    """As large as most nearest neighbours allow."""
    if len(places) == 1:
        return 0.07
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.clip(0.42 * np.quantile(distances.min(axis=1), 0.1), 0.012, 0.07))


def _draw_arcs(
    axes: Axes, places: Positions, arcs: Sequence[Arc], radius: float, *, directed: bool
) -> None:
    from matplotlib.collections import LineCollection, PolyCollection

    if not arcs:
        return
    start, end = places[[i for i, _ in arcs]], places[[j for _, j in arcs]]
    width = float(np.clip(16 / math.sqrt(len(arcs)), 0.3, 1.5))
    style: dict[str, Any] = {"colors": LINE, "linewidths": width, "zorder": 1}
    if not directed:
        once = [i < j for i, j in arcs]
        axes.add_collection(LineCollection(list(np.stack([start, end], axis=1)[once]), **style))
        return
    along = end - start
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.divide(along, length, out=np.zeros_like(along), where=length > 0)
    across = along[:, ::-1] * (-1, 1)
    head = float(np.clip(0.9 * radius, 0.02, 0.06))
    tip = end - 1.12 * radius * along
    base = tip - head * along
    axes.add_collection(LineCollection(list(np.stack([start, base], axis=1)), **style))
    heads = np.stack([tip, base + 0.42 * head * across, base - 0.42 * head * across], axis=1)
    axes.add_collection(PolyCollection(list(heads), facecolors=LINE, edgecolors="none", zorder=1.5))


def _draw_nodes(axes: Axes, places: Positions, radius: float) -> None:
    from matplotlib.collections import EllipseCollection

    size = np.full(len(places), 2 * radius)
    axes.add_collection(
        EllipseCollection(
            size,
            size,
            np.zeros(len(places)),
            units="xy",
            offsets=places,
            offset_transform=axes.transData,
            facecolors=BLUE,
            edgecolors="white",
            linewidths=1.0,
            zorder=2,
        )
    )


def _draw_labels(
    axes: Axes, places: Positions, names: Sequence[str], radius: float, page: float
) -> None:
    longest = max(1, *map(len, names))
    points = min(11.0, 1.75 * radius * page / (_WIDTH_OF_A_LETTER * longest), 1.2 * radius * page)
    beside = _stands_beside(names)
    for name, place in zip(names, places, strict=True):
        spot, style = _beside(place, radius) if beside else (place, _inside(points))
        x, y = spot
        axes.text(x, y, formats.printable(name), parse_math=False, zorder=3, **style)


def _inside(points: float) -> dict[str, Any]:
    return {"ha": "center", "va": "center_baseline", "color": "white", "size": points}


def _beside(place: _Point, radius: float) -> tuple[_Point, dict[str, Any]]:
    """Outward from the middle, where a layout has the most room; lines pass behind the text."""
    from matplotlib.patheffects import withStroke

    distance = float(np.linalg.norm(place))
    away = place / distance if distance > radius else np.array([0.0, -1.0])
    sideways = abs(away[0]) > 0.4  # noqa: PLR2004 - the text starts or ends at the node
    style = {
        "ha": "center" if not sideways else "left" if away[0] > 0 else "right",
        "va": "center" if sideways else "bottom" if away[1] >= 0 else "top",
        "color": INK,
        "size": _TYPE_BESIDE,
        "path_effects": [withStroke(linewidth=2.5, foreground="white")],
    }
    return place + away * (radius + 0.03), style
