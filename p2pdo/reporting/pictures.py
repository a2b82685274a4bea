"""Pictures of a run folder: convergence.png, and topology.png where the settings tell the graph.

Where nobody saw the states on the way, as over a network of daemons, there is no convergence to
draw, also if they were returned in the end: one point is no curve. Then pace.png shows what is
known, iterations against time, and a note says why.

They are drawn from what the folder holds, so they can be drawn again at any time, by another
program, also while the run still goes on. One folder is drawn at a time: matplotlib's parser of
formulas is shared by all threads and was not made for that.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pdo.errors import NotFound, P2pdoError
from p2pdo.graphs.graph import Graph
from p2pdo.protocol.assignment import make_graph
from p2pdo.reporting import formats
from p2pdo.reporting.figures import check_format
from p2pdo.reporting.plots import plot_convergence, plot_pace, plot_topology
from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder

MOST_NODES = 500  # beyond, a picture of a graph is a blot
CONVERGENCE, PACE, TOPOLOGY = "convergence.png", "pace.png", "topology.png"
UNSEEN = "nobody saw the states on the way"

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures' files, and a sentence where there might have been more."""

    files: list[Path] = field(default_factory=list)
    note: str | None = None


def draw(folder: RunFolder, out: Path | None = None) -> Drawn:
    """Draws what can be drawn; `out` takes the curve elsewhere.

    Raises:
        NotFound: there is no such folder, or nobody has observed anything to draw.
        MissingExtra: matplotlib is not installed.
        ConfigError: a file cannot be read or written, or `out` has no picture's suffix.
    """
    if out is not None:
        check_format(out)
    with _one_at_a_time:
        return _draw(folder, out)


def _draw(folder: RunFolder, out: Path | None) -> Drawn:
    settings = folder.read_settings()
    drawn = []
    graph = _graph(settings)
    if graph is not None and graph.n <= MOST_NODES:
        drawn.append(folder.path / TOPOLOGY)
        arcs = [(int(i), int(j)) for i, j in graph.edges]
        title = str(settings["topology"])
        plot_topology(graph.n, arcs, directed=graph.directed, path=drawn[-1], title=title)
    metrics = _observed(folder)
    title, subtitle = str(settings.get("problem", "")), _in_words(settings)
    if _is_curve(metrics):
        drawn.append(out or folder.path / CONVERGENCE)
        plot_convergence(metrics, drawn[-1], title, subtitle)
        return Drawn(drawn)
    drawn.append(out or folder.path / PACE)
    plot_pace(metrics, drawn[-1], title, f"{subtitle} · the pace: {UNSEEN}")
    return Drawn(drawn, f"no convergence is drawn: {UNSEEN}; {drawn[-1].name} shows the pace")


def draw_if_possible(folder: RunFolder) -> Drawn:
    """The same where a run has ended well: one without pictures is a run."""
    try:
        return draw(folder)
    except P2pdoError as error:
        remedy = f"; {error.hint}" if error.hint else ""
        return Drawn(note=f"not drawn: {error.message}{remedy}")


def _observed(folder: RunFolder) -> list[Metric]:
    metrics = folder.read_metrics()
    if not metrics:
        raise NotFound(
            f"{folder.path} has no metrics to draw yet", hint="wait for the first observation"
        )
    if len(metrics) == 1 and not _is_curve(metrics):
        raise NotFound(
            f"there is no convergence to draw: {UNSEEN}",
            hint="submit with a smaller --observe-every to see the pace; p2pdo run sees more",
        )
    return metrics


def _is_curve(metrics: Sequence[Metric]) -> bool:
    """Whether states were seen on the way, and not at the end alone."""
    seen = sum(m.consensus_error is not None or m.value is not None for m in metrics)
    return seen > 1 or seen == len(metrics)


def _in_words(settings: Mapping[str, Any]) -> str:
    parts = [settings.get("algorithm"), _place(settings), settings.get("executor")]
    return " · ".join(str(part) for part in parts if part)


def _place(settings: Mapping[str, Any]) -> str:
    return f"{settings.get('topology', '?')} of {formats.count(int(settings.get('nodes', 0)))}"


def _graph(settings: Mapping[str, Any]) -> Graph | None:
    """The graph that the settings spell; None where they do not."""
    try:
        topology = settings.get("graph", settings["topology"])
        return make_graph(topology, int(settings["nodes"]), int(settings["seed"]))[0]
    except (KeyError, TypeError, ValueError, P2pdoError):
        return None
