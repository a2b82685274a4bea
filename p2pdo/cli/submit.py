"""`p2pdo submit`: a run for the nodes of a coordinator."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options, signals
from p2pdo.cli.asynchrony import max_staleness
from p2pdo.cli.program import Reply, Verb
from p2pdo.cli.summaries import finished
from p2pdo.cli.workloads import folder_at, network, to_the_end

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.runs import Result

ROUNDS = 1000
_OF_PARTICIPANTS = (
    *("observe_every", "seed", "record", "lane", "weights"),
    *("checkpoints", "request_id"),
)


@click.command(cls=Verb)
@click.argument("problem", required=False)
@options.coordinator_option
@click.option(
    "--participant",
    metavar="NAME",
    help="In place of PROBLEM and --algorithm: a training loop, by the name that the sites have "
    "for it.",
)
@options.what_runs
@click.option(
    "--node",
    "names",
    multiple=True,
    metavar="NAME",
    help="A node to take part, by name; repeat it, in the order of the topology's numbers.",
)
@click.option(
    "--rounds",
    type=int,
    callback=options.some_rounds,
    metavar="K",
    help=f"Iterations.  [default: {ROUNDS}; of a participant 100]",
)
@click.option("--tol", type=float, metavar="EPS", help="Refused: nobody sees the gap.")
@options.how_it_runs
@max_staleness
@options.monitor(
    ("off", "observed", "every"),
    "How often what the algorithm keeps is looked at, at multiples of M, say: by sums under masks, "
    "which show no node's part.",
)
@click.option(
    "--start", type=click.Choice(["zeros", "normal"]), help="Of x; default the algorithm's own."
)
@click.option(
    "--return-states", is_flag=True, help="Have the final states sent, where each site allows it."
)
@click.option(
    "--checkpoints",
    metavar="NAME",
    help="Of a participant: runs of one NAME go on from each other's checkpoints.",
)
@click.option("--request-id", metavar="ID", help="The same ID never makes a second workload.")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="With --wait: its run folder."
)
@options.quiet
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    *,
    coordinator: str,
    problem: str | None,
    participant: str | None,
    algorithm: str,
    rounds: int | None,
    nodes: int,
    names: tuple[str, ...],
    parameters: dict[str, Any],
    topology: str,
    wait: bool,
    out: Path | None,
    quiet: bool,
    **asked: Any,
) -> Reply:
    """Send a run on PROBLEM, or of a participant, to the nodes of a coordinator.

    All of them are named, and each site runs what it has installed: code never travels.
    """
    if participant is not None:
        asked = _of_participant(ctx, problem, asked)
        algorithm = participant
    elif problem is None:
        raise click.MissingParameter(ctx=ctx, param=ctx.command.params[0])
    elif asked.pop("checkpoints") is not None:
        raise click.UsageError("--checkpoints is for a --participant", ctx)
    if rounds is not None or participant is None:
        asked["rounds"] = ROUNDS if rounds is None else rounds
    if out is not None and not wait:
        raise click.UsageError("--out needs --wait; or write it later with p2pdo results", ctx)
    given = ctx.get_parameter_source("nodes") is click.core.ParameterSource.COMMANDLINE
    if names and given and nodes != len(names):
        raise click.UsageError(f"--nodes {nodes} and {len(names)} times --node", ctx)
    from p2pdo.api.topology_files import read_topology

    async def work() -> str | Result:
        folder = folder_at(out, "") if out is not None else None
        async with network(coordinator) as net:
            run = await net.submit(
                algorithm,
                problem,
                nodes=list(names) or nodes,
                parameters=parameters,
                topology=read_topology(topology),
                **asked,
            )
            if not wait:
                return run.workload_id
            async with run.kept_in(folder) if folder else contextlib.nullcontext():
                return await to_the_end(run, quiet=quiet)

    ended = signals.run(work())
    if isinstance(ended, str):
        return _submitted(ended, quiet=quiet)
    return finished(ended, quiet=quiet)


def _of_participant(
    ctx: click.Context, problem: str | None, asked: dict[str, Any]
) -> dict[str, Any]:
    """What of the settings a participant has; those that were left out have its own defaults."""
    if problem is not None:
        raise click.UsageError(f"--participant brings its data itself: leave {problem} out", ctx)
    given = {
        name
        for name in ctx.params
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    of_algorithms = [name for name in ("algorithm", *asked) if name not in _OF_PARTICIPANTS]
    for name in of_algorithms:
        if name in given:
            raise click.UsageError(f"a participant has no --{name.replace('_', '-')}", ctx)
    return {name: asked[name] for name in _OF_PARTICIPANTS if name in given}


def _submitted(workload_id: str, *, quiet: bool) -> Reply:
    def show(console: Console) -> None:
        from p2pdo.reporting.tables import next_step

        console.print(workload_id if quiet else f"submitted {workload_id}")
        if not quiet:
            next_step(console, f"p2pdo watch {workload_id}")

    return Reply({"workload_id": workload_id}, show)
