"""`p2pdo plan`: what can be known of a run before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options
from p2pdo.cli.program import Reply, Verb, remark

if TYPE_CHECKING:
    from rich.console import Console

ROUNDS, TOL = 10_000, 1e-8


@click.command(cls=Verb)
@click.argument("problem")
@options.what_runs
@click.option(
    "--tol",
    type=float,
    default=TOL,
    show_default=True,
    metavar="EPS",
    help="The tolerance whose iteration is predicted.",
)
@options.what_is_foreseen
@click.option("--start", metavar="X", help="zeros, normal, or a .npy or .safetensors file.")
@options.quiet
def plan(*, tol: float, quiet: bool, **asked: Any) -> Reply:
    """Tell what a run of an algorithm on PROBLEM would do; nothing runs.

    What the algorithm requires stands beside what was found. Then the figures that decide how fast
    it is, the rate that they predict, and how large its step may be.
    """
    from p2pdo.api.jobs import resolve, with_tolerance
    from p2pdo.api.preflight import look_at
    from p2pdo.api.requests import Request

    job = with_tolerance(resolve(Request(rounds=ROUNDS, **asked)), tol)
    remark("forming the network's iteration matrix for several step sizes", quiet=quiet)
    found = look_at(job)

    def show(console: Console) -> None:
        from p2pdo.reporting.formats import plural
        from p2pdo.reporting.tables import figures, table

        title = f"{found.algorithm} on {found.problem}, {plural(found.nodes, 'node')}"
        console.print(f"{title}, {found.topology}", markup=False, style="bold")
        rows = [[check.requirement, check.found, check.verdict] for check in found.checks]
        table(console, ["REQUIRED", "FOUND", "VERDICT"], rows)
        console.print()
        figures(console, found.lines())

    return Reply(found.to_plain(), show)
