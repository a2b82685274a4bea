"""`p2pdo algorithms` and `p2pdo problems`: what there is, and with which parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console


@click.command(cls=Verb)
def algorithms() -> Reply:
    """List the algorithms, their papers and their parameters."""
    from p2pdo.api.catalogues import describe_algorithms

    entries = describe_algorithms()
    return Reply(entries, lambda console: _show(console, entries))


@click.command(cls=Verb)
def problems() -> Reply:
    """List the problems and their parameters."""
    from p2pdo.api.catalogues import describe_problems

    entries = describe_problems()
    return Reply(entries, lambda console: _show(console, entries, prefix="problem."))


def _show(console: Console, entries: list[dict[str, Any]], prefix: str = "") -> None:
    from rich.text import Text

    for entry in entries:
        console.print(Text(entry["name"], "bold"))
        lines = [entry["about"]]
        if "requires" in entry:
            lines.append(f"needs {entry['requires']}")
        if entry["parameters"]:
            listed = (
                f"{prefix}{key}" if value is None else f"{prefix}{key}={value}"
                for key, value in entry["parameters"].items()
            )
            lines.append(f"--set {', '.join(listed)}")
        lines += [f"{key} is, if not given, {how}" for key, how in entry.get("derived", {}).items()]
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)
