"""The workloads of a coordinator: ls, show, watch, stop, results."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options, signals
from p2pdo.cli.following import follow
from p2pdo.cli.program import Reply, Verb
from p2pdo.cli.summaries import finished

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.remote import RemoteNetwork, RemoteRun
    from p2pdo.api.runs import Result
    from p2pdo.wire.v1 import coordinator_pb2 as pb

_out = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Run folder.  [default: runs/ID]",
)


@click.command(cls=Verb)
@options.coordinator_option
@click.option("-q", "--quiet", is_flag=True, help="Print the ids alone.")
def ls(*, coordinator: str, quiet: bool) -> Reply:
    """List a coordinator's workloads, the latest last."""

    async def work() -> list[dict[str, Any]]:
        async with network(coordinator) as net:
            found = await net.client.workloads()
        return [_row(workload) for workload in sorted(found, key=lambda w: -w.age_seconds)]

    rows = signals.run(work())

    def show(console: Console) -> None:
        from p2pdo.reporting.formats import duration
        from p2pdo.reporting.tables import table

        if quiet:
            for row in rows:
                console.print(row["workload_id"])
        elif not rows:
            console.print("no workloads yet; submit one: p2pdo submit quadratic", soft_wrap=True)
        else:
            table(
                console,
                ["ID", "STATUS", "ALGORITHM", "PROBLEM", "NODES", "ITERATION", "AGE"],
                [
                    [
                        row["workload_id"],
                        row["status"],
                        row["algorithm"] or _tasks_of(row),
                        row["problem"],
                        row["nodes"],
                        row["iteration"],
                        f"{duration(row['age_seconds'])}",
                    ]
                    for row in rows
                ],
            )

    return Reply(rows, show)


@click.command(cls=Verb)
@click.argument("workload_id", metavar="ID")
@options.coordinator_option
@click.option(
    "--links",
    is_flag=True,
    help="Also which way values take between each two nodes, once one has begun.",
)
def show(*, workload_id: str, coordinator: str, links: bool) -> Reply:
    """Show workload ID: what it is, and how far each node is."""

    async def work() -> dict[str, Any]:
        async with network(coordinator) as net:
            return _details(await net.client.find(workload_id))

    data = signals.run(work())
    if links:
        data["links"] = _links(data["members"])
    return Reply(data, lambda console: _show_details(console, data))


@click.command(cls=Verb)
@click.argument("workload_id", metavar="ID")
@options.coordinator_option
@options.quiet
def watch(*, workload_id: str, coordinator: str, quiet: bool) -> Reply:
    """Follow workload ID to its end; Ctrl-C ends the watching alone."""

    async def work() -> Result:
        async with network(coordinator) as net:
            return await to_the_end(await net.run(workload_id), quiet=quiet)

    return finished(signals.run(work()), quiet=quiet)


@click.command(cls=Verb)
@click.argument("workload_id", metavar="ID")
@options.coordinator_option
@click.option("--reason", default="by p2pdo stop", show_default=True, metavar="TEXT")
def stop(*, workload_id: str, coordinator: str, reason: str) -> Reply:
    """Stop workload ID on all its nodes."""

    async def work() -> str:
        async with network(coordinator) as net:
            await net.client.find(workload_id)
            return await net.client.stop(workload_id, reason)

    status = signals.run(work())
    told = "is stopped" if status == "stopped" else f"had ended before: {status}"
    return Reply(
        {"workload_id": workload_id, "status": status},
        lambda console: console.print(f"workload {workload_id} {told}", soft_wrap=True),
    )


@click.command(cls=Verb)
@click.argument("workload_id", metavar="ID")
@options.coordinator_option
@_out
@options.quiet
def results(*, workload_id: str, coordinator: str, out: Path | None, quiet: bool) -> Reply:
    """Write the run folder of workload ID, once it has ended.

    Of a workload of tasks: print the results that no driver has acknowledged, as of now.
    """
    from p2pdo.cli import task_results

    async def work() -> Result | dict[str, Any]:
        async with network(coordinator) as net:
            workload = await net.client.find(workload_id)
            if task_results.has(workload):
                return await task_results.collect(net.client, workload)
            run = await net.run(workload_id)
            await run.require_end()
            async with run.kept_in(folder_at(out, workload_id)):
                return await run.result()

    found = signals.run(work())
    if isinstance(found, dict):
        return Reply(found, lambda console: task_results.show(console, found))
    return finished(found, quiet=quiet)


# ---- what they share ----


def network(coordinator: str) -> RemoteNetwork:
    from p2pdo.api.remote import connect

    return connect(coordinator)


def folder_at(out: Path | None, workload_id: str) -> Any:
    from p2pdo.reporting.run_folder import RunFolder

    return RunFolder.create(out, workload_id)


async def to_the_end(run: RemoteRun, *, quiet: bool) -> Result:
    from p2pdo.errors import WorkloadStopped

    settings = await run.settings()
    try:
        await follow(
            run,
            _in_words(settings),
            rounds=settings["rounds"],
            nodes=settings["nodes"],
            quiet=quiet,
        )
        return await run.result()
    except asyncio.CancelledError:
        raise WorkloadStopped(
            "no longer watched",
            workload=run.workload_id,
            hint=f"p2pdo watch {run.workload_id}, or p2pdo stop {run.workload_id}: it goes on",
        ) from None


def _in_words(settings: dict[str, Any]) -> str:
    from p2pdo.reporting.formats import run_in_words

    keys = ("algorithm", "problem", "nodes", "topology", "executor")
    return run_in_words(*(settings[key] for key in keys))


def _row(workload: pb.Workload) -> dict[str, Any]:
    spec = json.loads(workload.spec)
    return {
        "workload_id": workload.workload_id,
        "status": workload.status,
        "algorithm": (spec.get("algorithm") or spec.get("participant") or {}).get("name"),
        "problem": spec.get("problem", {}).get("name"),
        "kind": spec.get("kind", "optimization"),
        "controller": spec.get("controller"),
        "nodes": len(workload.members),
        "iteration": min((member.iteration for member in workload.members), default=0),
        "age_seconds": workload.age_seconds,
    }


def _tasks_of(row: dict[str, Any]) -> str:
    return f"tasks by {row['controller']}" if row["controller"] else "tasks"


def _details(workload: pb.Workload) -> dict[str, Any]:
    members = [
        {
            "index": member.index,
            "node": member.node,
            "task": member.task,
            "state": member.state,
            "iteration": member.iteration,
            "bytes_sent": member.bytes_sent,
            "messages_sent": member.messages_sent,
            "result": json.loads(member.result) if member.result else None,
            "lanes": dict(member.lanes),
        }
        for member in sorted(workload.members, key=lambda member: member.index)
    ]
    return {
        **_row(workload),
        "counts": {
            "sent": workload.tasks,
            "results": workload.results,
            "acknowledged": workload.acknowledged,
        },
        "spec": json.loads(workload.spec),
        "resolved": json.loads(workload.resolved) if workload.resolved else {},
        "error": json.loads(workload.error) if workload.error else None,
        "members": members,
    }


def _looks(resolved: dict[str, Any]) -> str | None:
    """What the monitor has seen."""
    figures = resolved.get("monitor")
    if figures is None:
        return None
    lost = figures["passed_over"]
    without = f", not at {lost} of which a report was lost" if lost else ""
    return f"looked at {figures['looked_at']} iterations{without}"


def _links(members: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Each pair of neighbours once, in the order of the nodes."""
    found: dict[frozenset[str], dict[str, str]] = {}
    for member in members:
        told = member["lanes"] or (member["result"] or {}).get("lanes") or {}
        for neighbour, lane in sorted(told.items()):
            pair = frozenset((member["node"], neighbour))
            link = {"node": member["node"], "neighbour": neighbour, "lane": lane}
            found.setdefault(pair, link)
    return list(found.values())


def _states(spec: dict[str, Any]) -> str:
    return "returned" if spec.get("return_states") else "stay with the nodes"


def _counts(data: dict[str, Any]) -> str | None:
    """How far a workload of tasks is."""
    if data["kind"] != "tasks":
        return None
    count = data["counts"]
    return (
        f"{count['sent']} tasks; {count['results']} have a result, "
        f"{count['acknowledged']} of them told for good"
    )


def _show_details(console: Console, data: dict[str, Any]) -> None:
    from p2pdo.errors import from_plain, render
    from p2pdo.reporting.formats import duration, size
    from p2pdo.reporting.tables import figures, headline, table

    spec, resolved = data["spec"], data["resolved"]
    on = f" on {data['problem']}" if data["problem"] else ""
    what = f"{data['algorithm']}{on}" if data["algorithm"] else _tasks_of(data)
    headline(console, data["status"], data["workload_id"], what)
    parameters = resolved.get("parameters", {})
    lines = [
        ("sent", _counts(data)),
        ("topology", resolved.get("topology")),
        ("rounds", spec.get("rounds")),
        ("parameters", ", ".join(f"{key}={value}" for key, value in parameters.items())),
        ("monitor", _looks(resolved)),
        ("final states", None if data["kind"] == "tasks" else _states(spec)),
        ("submitted", f"{duration(data['age_seconds'])} ago"),
    ]
    figures(console, [(label, str(value)) for label, value in lines if value not in (None, "")])
    console.print()
    table(
        console,
        ["NODE", "TASK", "STATE", "ITERATION", "SENT"],
        [
            [m["node"], m["task"], m["state"], m["iteration"], size(m["bytes_sent"])]
            for m in data["members"]
        ],
    )
    if "links" in data:
        console.print()
        rows = [[link["node"], link["neighbour"], link["lane"]] for link in data["links"]]
        table(console, ["NODE", "NEIGHBOUR", "LANE"], rows)
    if data["error"]:
        console.print(render(from_plain(data["error"])), markup=False, soft_wrap=True)
