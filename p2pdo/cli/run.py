"""`p2pdo run`: a whole run on this machine, with its folder, tables and pictures."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options, signals
from p2pdo.cli.following import follow
from p2pdo.cli.program import Reply, Verb, bug_error, remark
from p2pdo.cli.summaries import finished
from p2pdo.errors import P2pdoError

if TYPE_CHECKING:
    from p2pdo.api.jobs import Job
    from p2pdo.api.runs import Executor, Result, Run

ROUNDS, TOL = 10_000, 1e-8


@click.command(cls=Verb)
@click.argument("problem")
@options.what_runs
@click.option(
    "--rounds",
    type=int,
    metavar="K",
    help=f"Iterations at most.  [default: {ROUNDS}, and --tol {TOL:g} where it can be known]",
)
@click.option(
    "--tol",
    type=float,
    metavar="EPS",
    help="Stop where neither the gap nor the consensus error is larger.",
)
@options.how_it_runs
@click.option("--start", metavar="X", help="zeros, normal, or a .npy or .safetensors file.")
@click.option(
    "--on",
    default="processes",
    show_default=True,
    metavar="EXECUTOR",
    help="processes (real daemons), inprocess, simulated, stacked or dense.",
)
@click.option(
    "--delay-seed",
    type=int,
    default=0,
    show_default=True,
    metavar="S",
    help="Of a simulated network's weather.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder.  [default: runs/ID]"
)
@options.quiet
def run(
    *,
    on: str,
    out: Path | None,
    quiet: bool,
    rounds: int | None,
    tol: float | None,
    **asked: Any,
) -> Reply:
    """Run an algorithm on PROBLEM over nodes of this machine, to the end.

    PROBLEM is breast-cancer, quadratic or least-squares (see p2pdo problems), or FILE.py:OBJECT,
    a list of problems or a factory of them.
    """
    from p2pdo.api.jobs import Request, resolve, with_tolerance
    from p2pdo.api.runs import check_executor

    executor = check_executor(on)
    request = Request(rounds=ROUNDS if rounds is None else rounds, tol=tol, **asked)
    job = resolve(request)
    if rounds is None and tol is None:
        job = with_tolerance(job, TOL)
    result = signals.run(_run(job, executor, out, quiet=quiet))
    return finished(result, quiet=quiet)


async def _run(job: Job, executor: Executor, out: Path | None, *, quiet: bool) -> Result:
    from p2pdo.api.network import local
    from p2pdo.errors import WorkloadStopped

    plan = job.plan
    async with local(on=executor) as net:
        run = net.start(job, out=out, keep=True)
        try:
            await follow(run, _in_words(run), rounds=plan.rounds, nodes=plan.nodes, quiet=quiet)
            return await run.result()
        except asyncio.CancelledError:
            await run.stop("interrupted")
            raise WorkloadStopped(
                "interrupted",
                workload=run.workload_id,
                hint=f"{_plot_command(run.folder.path)}: what was observed is kept there",
            ) from None
        except P2pdoError:
            remark(f"what was observed is kept in {run.folder.path}", quiet=quiet)
            raise
        except Exception as bug:
            raise bug_error(bug, run.folder.path) from bug


def _in_words(run: Run) -> str:
    from p2pdo.reporting.formats import run_in_words

    job = run.job
    return run_in_words(job.algorithm, job.problem, job.plan.nodes, job.topology, run.executor)


def _plot_command(folder: Path) -> str:
    return f"p2pdo plot {shlex.quote(str(folder))}"
