"""`p2pdo run` of several algorithms or trials: a comparison, which can be interrupted and go on."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import signals
from p2pdo.cli.options import group
from p2pdo.cli.program import Reply, remark
from p2pdo.errors import ConfigError, P2pdoError, WorkloadStopped

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.comparisons.asked import Asked, Checked
    from p2pdo.api.comparisons.comparison import Comparison

PICTURE = "comparison.png"
_BESIDE_RESUME = frozenset({"resume", "jobs", "quiet", "trials", "force"})
_OF_ONE_RUN = ("timeline",)


options = group(
    [
        click.option(
            "--trials",
            type=int,
            default=1,
            show_default=True,
            metavar="T",
            help="Of each algorithm; trial t has the seed + t.",
        ),
        click.option(
            "-j",
            "--jobs",
            type=int,
            metavar="J",
            help="Trials at a time.  [default: one a core; of processes 1]",
        ),
        click.option(
            "--resume",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Go on with the comparison in DIR; what has ended is not run again.",
        ),
    ],
    "A comparison",
)
"""What `p2pdo run` takes for comparisons."""


def is_comparison(asked: Mapping[str, Any], trials: int) -> bool:
    """Whether several algorithms, labels or trials are asked for."""
    return trials != 1 or any(mark in asked["algorithm"] for mark in (",", "="))


def compare(
    asked: Mapping[str, Any],
    given: Collection[str],
    *,
    trials: int,
    jobs: int | None,
    on: str,
    out: Path | None,
    rounds: int,
    tol: float | None,
    default_tol: float | None,
    force: bool,
    quiet: bool,
) -> Reply:
    """Runs the comparison that the command line asks for."""
    from p2pdo.api.comparisons.asked import Asked, checked, contenders_of, named
    from p2pdo.api.comparisons.comparison import OBSERVE_EVERY, new_folder
    from p2pdo.api.requests import Request
    from p2pdo.api.runs import check_executor

    for name in _OF_ONE_RUN:
        if name in given:
            raise ConfigError(
                f"--{name} is of one run, and this is a comparison",
                hint="p2pdo run with one algorithm and one trial",
            )
    settings = {k: v for k, v in asked.items() if k not in ("algorithm", "parameters")}
    if "observe_every" not in given:
        settings["observe_every"] = OBSERVE_EVERY
    contenders, of_problem = contenders_of(named(asked["algorithm"]), asked["parameters"])
    base = Request(rounds=rounds, tol=tol, parameters=of_problem, **settings)
    executor = check_executor(on if "on" in given else "dense")
    wanted = Asked(base=base, contenders=contenders, trials=trials, executor=executor, force=force)
    hint = "" if "on" in given else " (--on processes: each on daemons)"
    return _run(checked(wanted, default_tol), out or new_folder(), jobs, hint, quiet=quiet)


def resume(
    folder: Path,
    given: Collection[str],
    jobs: int | None,
    *,
    trials: int,
    force: bool,
    quiet: bool,
) -> Reply:
    """Goes on with the comparison of a folder; with more trials, or by force, where asked."""
    from p2pdo.api.comparisons.asked import checked, from_plain
    from p2pdo.reporting.comparing.folder import ComparisonFolder

    if beside := sorted(set(given) - _BESIDE_RESUME):
        raise ConfigError(
            f"--resume goes on as the comparison began, and takes no {beside[0]} beside it",
            hint=f"p2pdo run --resume {shlex.quote(str(folder))}",
        )
    asked = from_plain(ComparisonFolder(folder).manifest())
    asked = replace(
        asked,
        trials=trials if "trials" in given else asked.trials,
        force=force or asked.force,
    )
    return _run(checked(asked), folder, jobs, "", quiet=quiet)


def _run(found: Checked, path: Path, jobs: int | None, hint: str, *, quiet: bool) -> Reply:
    from p2pdo.api.comparisons.comparison import Comparison, check_jobs
    from p2pdo.api.comparisons.running import default_jobs
    from p2pdo.reporting import formats

    asked, job = found.asked, found.job
    words = f"{job.problem}, {job.plan.nodes} nodes, {job.topology}, {asked.executor}{hint}"
    workers = default_jobs(asked) if jobs is None else check_jobs(jobs)
    algorithms = formats.plural(len(asked.contenders), "algorithm")
    trials = formats.plural(asked.trials, "trial")
    remark(
        f"{path}  {algorithms} x {trials}, {workers} at a time: {formats.printable(words)}",
        quiet=quiet,
    )
    for line in found.remarks():
        remark(formats.printable(line), quiet=quiet)
    signals.run(_to_the_end(asked, path, workers, quiet=quiet))
    comparison = Comparison.read(path)
    return told(comparison, [_picture(comparison, path, quiet=quiet)], quiet=quiet)


async def _to_the_end(asked: Asked, path: Path, jobs: int, *, quiet: bool) -> None:
    from p2pdo.api.comparisons.running import run_comparison
    from p2pdo.reporting.comparing.folder import ComparisonFolder
    from p2pdo.reporting.comparing.progress import TrialsProgress

    number = asked.trials * len(asked.contenders)
    with TrialsProgress(number, asked.base.rounds, quiet=quiet) as progress:
        try:
            await run_comparison(asked, ComparisonFolder(path), jobs, progress)
        except asyncio.CancelledError:
            raise WorkloadStopped(
                "interrupted", hint=f"p2pdo run --resume {shlex.quote(str(path))} goes on with it"
            ) from None


def _picture(comparison: Comparison, path: Path, *, quiet: bool) -> Path | None:
    """The picture, where it can be drawn: a comparison without one is a comparison."""
    shown = "gap" if _has_gap(comparison) else "consensus-error"
    try:
        comparison.plot(path / PICTURE, show=shown)
    except P2pdoError as error:
        remark(f"not drawn: {error.message}; {error.hint}", quiet=quiet)
        return None
    return path / PICTURE


def _has_gap(comparison: Comparison) -> bool:
    return any(one.gap is not None for one in comparison.figures())


def told(comparison: Comparison, files: Collection[Path | None], *, quiet: bool = False) -> Reply:
    """The tables, and the files that were written."""
    written = [str(path) for path in files if path is not None]

    def show(console: Console) -> None:
        if quiet:
            console.print(comparison.path)
            return
        comparison.print(console)
        if written:
            console.print(f"\nwrote {', '.join(written)}", soft_wrap=True, markup=False)

    return Reply({**comparison.to_plain(), "files": written}, show)
