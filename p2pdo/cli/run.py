"""`p2pdo run`: a whole run on this machine, with its folder, tables and pictures."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import asynchrony, comparing, options, signals
from p2pdo.cli.following import follow
from p2pdo.cli.program import Reply, Verb, remark
from p2pdo.cli.simulation_options import simulation
from p2pdo.cli.summaries import finished
from p2pdo.errors import ConfigError, P2pdoError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from p2pdo.api.jobs import Job
    from p2pdo.api.participants import ParticipantRun, Request as ParticipantRequest
    from p2pdo.api.runs import Executor, Result, Run
    from p2pdo.participants.definition import Participant

ROUNDS, TOL = 10_000, 1e-8
_OF_ALGORITHMS = (
    *("algorithm", "tol", "settle", "start", "partition", "dtype", "timeline", "force", "test"),
    *("drop", "links", "link_delay", "link_loss", "compute", "codec", "monitor"),
    *asynchrony.NAMES,
)


@click.command(cls=Verb)
@click.argument("problem", required=False, metavar="PROBLEM")
@options.what_runs
@click.option(
    "--rounds",
    type=int,
    callback=options.some_rounds,
    metavar="K",
    help=f"Iterations at most.  [default: {ROUNDS}, and --tol {TOL:g} where it can be known; "
    "100 of a participant]",
)
@click.option(
    "--tol",
    type=float,
    metavar="EPS",
    help="Stop where neither the gap nor the consensus error is larger.",
)
@options.how_it_runs
@click.option(
    "--start", metavar="X", help="zeros, normal, uniform, or a .npy or .safetensors file."
)
@click.option(
    "--test",
    metavar="FILE.py:NAME",
    help="Samples that no node has, to tell the accuracy of; of data sets: -s problem.test=0.2",
)
@click.option(
    "--on",
    default="processes",
    show_default=True,
    metavar="EXECUTOR",
    help="processes (real daemons), inprocess, simulated, stacked or dense; a comparison is "
    "dense where nobody said.",
)
@simulation
@asynchrony.asynchrony
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder.  [default: runs/ID]"
)
@click.option(
    "--timeline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write where the time goes, for Perfetto or chrome://tracing; of processes or inprocess.",
)
@comparing.options
@options.monitor(
    ("auto", "every", "observed", "off"),
    "How often what the algorithm keeps is looked at, at multiples of M, say; auto: at every "
    "iteration on a simulated network, else at observed ones.",
)
@click.option("--force", is_flag=True, help="Run it also where it cannot converge; see p2pdo plan.")
@options.quiet
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    on: str,
    out: Path | None,
    timeline: Path | None,
    force: bool,
    quiet: bool,
    rounds: int | None,
    tol: float | None,
    trials: int,
    jobs: int | None,
    resume: Path | None,
    **asked: Any,
) -> Reply:
    """Run an algorithm on PROBLEM over nodes of this machine, to the end.

    PROBLEM is breast-cancer, quadratic or another (see p2pdo problems), or FILE.py:OBJECT,
    a list of problems or a factory of them. In its place may stand a participant, which brings a
    loop and data of its own.

    Several algorithms or trials are a comparison: -a dgd,extra --trials 5, and -s dgd.step_size=0.1
    for one of them; -a dgd,slow=dgd -s slow.step_size=0.01 compares one with itself. The same
    command with the same --out, or --resume DIR, goes on where it was interrupted.
    """
    if resume is not None:
        return comparing.resume(resume, _given(ctx), jobs, trials=trials, force=force, quiet=quiet)
    if asked["problem"] is None:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    from p2pdo.api.jobs import resolve, with_tolerance
    from p2pdo.api.preflight import look_before
    from p2pdo.api.requests import Request
    from p2pdo.api.resolving.problems import participant_at
    from p2pdo.api.runs import check_executor, check_in_memory

    executor = check_executor(on)
    check_in_memory(executor, asked["nodes"])
    participant = participant_at(asked["problem"])
    is_comparison = comparing.is_comparison(asked, trials)
    if participant is not None:
        if is_comparison:
            raise ConfigError(
                f"{asked['problem']} is a participant, which is run once and not compared",
                hint="leave --algorithm and --trials out",
            )
        wanted = _request_of(participant, ctx.params, _given(ctx))
        ended = signals.run(_take_part(wanted, asked, executor, out, quiet=quiet))
        return finished(ended, quiet=quiet)
    if is_comparison:
        return comparing.compare(
            asked,
            _given(ctx),
            trials=trials,
            jobs=jobs,
            on=on,
            out=out,
            rounds=ROUNDS if rounds is None else rounds,
            tol=tol,
            default_tol=TOL if rounds is None and tol is None else None,
            force=force,
            quiet=quiet,
        )
    request = Request(rounds=ROUNDS if rounds is None else rounds, tol=tol, **asked)
    job = resolve(request)
    if rounds is None and tol is None and asked["settle"] is None:
        job = with_tolerance(job, TOL)
    job = look_before(job, force=force)
    for warning in job.warnings:
        remark(f"warning: {warning}", quiet=quiet)
    result = signals.run(_run(job, executor, out, timeline, quiet=quiet))
    return finished(result, quiet=quiet)


def _given(ctx: click.Context) -> set[str]:
    """The parameters that stand on the command line."""
    return {
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


def _request_of(
    participant: Participant, asked: Mapping[str, Any], given: Collection[str]
) -> ParticipantRequest:
    """The participant's run, with the defaults of its kind where nothing was asked.

    Raises:
        ConfigError: what only an algorithm has was asked for.
    """
    from p2pdo.api.participants import Request

    for name in _OF_ALGORITHMS:
        if name in given:
            option = name.replace("_", "-")
            raise ConfigError(
                f"{asked['problem']} is a participant, which has no --{option}",
                hint=f"leave --{option} out; its own parameters: --set NAME=VALUE",
            )
    settings = ("rounds", "observe_every", "seed", "record", "delay_seed", "lane")
    return Request(
        participant,
        asked["parameters"],
        **{name: asked[name] for name in settings if name in given},
    )


async def _run(
    job: Job, executor: Executor, out: Path | None, timeline: Path | None, *, quiet: bool
) -> Result:
    from p2pdo.api.network import local

    plan = job.plan
    words = (job.algorithm, job.problem, plan.nodes, job.topology, executor)
    async with local(on=executor) as net:
        run = net.start(job, out=out, keep=True, timeline=timeline)
        return await _to_the_end(run, words, plan.rounds, quiet=quiet)


async def _take_part(
    wanted: ParticipantRequest,
    asked: Mapping[str, Any],
    executor: Executor,
    out: Path | None,
    *,
    quiet: bool,
) -> Result:
    from p2pdo.api.network import local
    from p2pdo.reporting.records import OWN_DATA

    async with local(asked["nodes"], asked["topology"], asked["weights"], on=executor) as net:
        run = net.start_participant(wanted, out=out, keep=True)
        job = run.job
        words = (wanted.participant.name, OWN_DATA, job.nodes, job.topology, executor)
        return await _to_the_end(run, words, wanted.rounds, quiet=quiet)


async def _to_the_end(
    run: Run | ParticipantRun, words: Sequence[Any], rounds: int, *, quiet: bool
) -> Result:
    """Follows it; whatever ends it, what was observed is kept."""
    from p2pdo.errors import WorkloadStopped
    from p2pdo.reporting.formats import run_in_words

    nodes = words[2]
    try:
        await follow(run, run_in_words(*words), rounds=rounds, nodes=nodes, quiet=quiet)
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
        if run.timeline is not None:
            remark(run.timeline.in_words(), quiet=quiet)
        raise
    except Exception as bug:
        from p2pdo.runtime import bugs

        raise bugs.kept(bug, run.folder.path) from bug


def _plot_command(folder: Path) -> str:
    return f"p2pdo plot {shlex.quote(str(folder))}"
