"""`p2pdo topo`: what a topology and its weights are worth, before anything runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console


@click.command(cls=Verb)
@click.argument("topology", metavar="T")
@click.option("-n", "--nodes", type=int, default=8, show_default=True, metavar="N")
@click.option(
    "--weights",
    metavar="W",
    help="A rule, metropolis or uniform or another; default the topology's own.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Of its edges.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf."
)
def topo(*, topology: str, nodes: int, weights: str | None, seed: int, plot: Path | None) -> Reply:
    """Tell how well topology T mixes: a name, or a JSON file of edges or weights.

    A graph that is not connected, and weights that sum to one in neither rows nor columns, are
    errors: no algorithm converges on them.

    \b
    {"edges": [[0, 1], [1, 2]], "directed": false}    node i sends to node j
    {"weights": [[0.5, 0.5], [0.5, 0.5]]}             row i weighs what node i hears
    """  # noqa: D301 - click keeps the lines after a backspace as they are
    from p2pdo.api.topologies import inspect

    report = inspect(topology, nodes, weights, seed)
    if plot is not None:
        report.draw(plot)
    data = {**report.to_plain(), "plot": None if plot is None else str(plot)}

    def show(console: Console) -> None:
        from p2pdo.reporting.tables import figures

        console.print(f"{report.label} of {report.nodes}", markup=False, style="bold")
        drawn = [] if plot is None else [("picture", str(plot))]
        figures(console, [*report.lines(), *drawn])

    return Reply(data, show)
