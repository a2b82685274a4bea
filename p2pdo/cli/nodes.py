"""`p2pdo nodes`: who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options, signals
from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console


@click.command(cls=Verb)
@options.coordinator_option
@click.option("-q", "--quiet", is_flag=True, help="Print the names alone.")
def nodes(*, coordinator: str, quiet: bool) -> Reply:
    """List a coordinator's nodes."""
    from p2pdo.driving.client import Client

    async def work() -> list[dict[str, Any]]:
        async with Client(coordinator) as client:
            return [
                {
                    "name": node.name,
                    "state": node.state,
                    "address": node.address,
                    "seconds_since_heard": node.seconds_since_heard,
                    "version": node.version,
                    "workloads": list(node.workloads),
                }
                for node in await client.nodes()
            ]

    rows = sorted(signals.run(work()), key=lambda row: str(row["name"]))

    def show(console: Console) -> None:
        from p2pdo.reporting.formats import duration
        from p2pdo.reporting.tables import table

        if quiet:
            for row in rows:
                console.print(row["name"], markup=False)
        elif not rows:
            console.print(
                "no nodes yet; start one: "
                f"p2pdo-node --coordinator {coordinator} --name NAME --state DIR --insecure",
                soft_wrap=True,
            )
        else:
            table(
                console,
                ["NODE", "STATE", "ADDRESS", "HEARD", "VERSION", "WORKLOADS"],
                [
                    [
                        row["name"],
                        row["state"],
                        row["address"],
                        f"{duration(row['seconds_since_heard'])} ago",
                        row["version"],
                        ", ".join(row["workloads"]) or None,
                    ]
                    for row in rows
                ],
            )

    return Reply(rows, show)
