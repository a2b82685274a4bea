"""Plots. Pictures into files; the suffix says the format.

`convergence_figure` and `topology_figure` make the same pictures as matplotlib figures, for who
wants to change one before it is saved.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from p2pdo.reporting.convergence import convergence_figure
from p2pdo.reporting.figures import save
from p2pdo.reporting.layout import Arc
from p2pdo.reporting.pace import pace_figure
from p2pdo.reporting.records import Metric
from p2pdo.reporting.topology import topology_figure


def plot_convergence(metrics: Sequence[Metric], path: Path, title: str, subtitle: str) -> None:
    """Gap and consensus error, or cost and consensus error, against iterations and seconds."""
    save(convergence_figure(metrics, title, subtitle), path)


def plot_pace(metrics: Sequence[Metric], path: Path, title: str, subtitle: str) -> None:
    """Iterations that all nodes have completed against seconds."""
    save(pace_figure(metrics, title, subtitle), path)


def plot_topology(
    n: int,
    arcs: Collection[Arc],
    *,
    directed: bool,
    path: Path,
    title: str,
    labels: Sequence[str] | None = None,
) -> None:
    """Nodes 0..n−1 and who sends to whom; both arcs of an undirected edge are one line."""
    save(topology_figure(n, arcs, directed=directed, title=title, labels=labels), path)
