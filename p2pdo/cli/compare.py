"""`p2pdo compare`: runs side by side, as tables, figures and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pdo.cli.comparing import told
from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from p2pdo.api.comparisons.comparison import Comparison

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=Verb)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--tol",
    type=float,
    metavar="EPS",
    help="Tell what it took to this gap and consensus error.  [default: the runs' own]",
)
@click.option(
    "--against",
    default="iterations",
    show_default=True,
    metavar="PRICE",
    help="iterations, gradients, messages, bytes or seconds: what to rank and plot by.",
)
@click.option("--plot", "picture", type=_FILE, metavar="FILE", help="Draw a .pdf, .svg or .png.")
@click.option(
    "--show",
    default="gap",
    show_default=True,
    metavar="WHAT",
    help="Of the plot: gap, consensus-error, value, accuracy or test-accuracy.",
)
@click.option("--line", default="median", show_default=True, help="Of the plot: median or mean.")
@click.option(
    "--band", default="min-max", show_default=True, help="Of the plot: min-max, std or none."
)
@click.option(
    "--width", default="single", show_default=True, help="Of the plot: single or double column."
)
@click.option("--latex", type=_FILE, metavar="FILE", help="Write the table for LaTeX's booktabs.")
@click.option("--csv", "table", type=_FILE, metavar="FILE", help="Write every observation, a row.")
@click.option("--parquet", type=_FILE, metavar="FILE", help="The same; needs the extra 'tables'.")
def compare(
    *,
    runs: tuple[Path, ...],
    tol: float | None,
    against: str,
    picture: Path | None,
    latex: Path | None,
    table: Path | None,
    parquet: Path | None,
    **plotted: str,
) -> Reply:
    """Compare runs: RUN is the folder of a comparison or of a single run.

    Means and standard deviations are over trials that ended well; what became of the others is
    told below the tables. p2pdo run PROBLEM -a ONE,OTHER --trials 5 runs a comparison.
    """
    from p2pdo.api.comparisons.comparison import Comparison, check_tolerance

    comparison = Comparison.read(*runs, tol=check_tolerance(tol), against=against)
    _warn_of_differences(comparison)
    if picture is not None:
        comparison.plot(picture, **plotted)
    if latex is not None:
        comparison.write_latex(latex)
    if table is not None:
        comparison.write_csv(table)
    if parquet is not None:
        comparison.write_parquet(parquet)
    return told(comparison, [picture, latex, table, parquet])


def _warn_of_differences(comparison: Comparison) -> None:
    from p2pdo.cli.program import remark

    if words := comparison.differences():
        remark(f"these runs are of different {words}: compare with care")
