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

    steps = [f"cd {name}", *_installing(template), f"python {Path(name).name}.py", "pytest"]

    def show(console: Console) -> None:
        console.print(f"made {', '.join(str(file) for file in files)}", soft_wrap=True)
        console.print(f"next: {' && '.join(steps)}", markup=False, soft_wrap=True)

    return Reply({"template": template, "files": [str(file) for file in files]}, show)


def _installing(template: str) -> list[str]:
    """The command that brings what the project needs and is not here; none where all is."""
    from importlib.util import find_spec

    needs = {"pytest": "pytest"} | ({"torch": "'p2pdo[torch]'"} if template == "torch" else {})
    lacking = [package for module, package in needs.items() if find_spec(module) is None]
    return [f"pip install {' '.join(lacking)}"] if lacking else []
