"""`p2pdo new`: a project that runs, to be changed into one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console

TEMPLATES = ("algorithm", "executor", "participant", "quadratic", "torch")


@click.command(cls=Verb)
@click.argument("name")
@click.option(
    "-t",
    "--template",
    type=click.Choice(TEMPLATES),
    default="quadratic",
    show_default=True,
    help="What it starts as.",
)
def new(*, name: str, template: str) -> Reply:
    """Make a folder NAME with a program that runs, and its test."""
    from p2pdo.reporting.projects import make_project

    files = make_project(Path(name), template)

    def show(console: Console) -> None:
        console.print(f"made {', '.join(str(file) for file in files)}", soft_wrap=True)
        console.print(f"next: cd {name} && python {Path(name).name}.py && pytest", soft_wrap=True)

    return Reply({"template": template, "files": [str(file) for file in files]}, show)
