"""`p2pdo config`: what a node's configuration says, where from, and whether it can work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console

_FILE = click.argument(
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("p2pdo.toml"),
    metavar="[FILE]",
)


@click.group(
    name="config", no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)
def config() -> None:
    """Look at a node's configuration, p2pdo.toml."""


@config.command(cls=Verb)
@_FILE
@click.option("--origin", is_flag=True, help="Tell where each value comes from.")
def show(*, file: Path, origin: bool) -> Reply:
    """Show every setting of a node that starts with this file."""
    from p2pdo.node.configuration.showing import settings_with_origins

    rows = settings_with_origins(file)

    def print_rows(console: Console) -> None:
        from p2pdo.reporting.tables import table

        columns = ["SETTING", "VALUE", *(["FROM"] if origin else [])]
        lines = [[row[0], json.dumps(row[1], default=str), row[2]][: len(columns)] for row in rows]
        table(console, columns, lines)

    data = [dict(zip(("setting", "value", "from"), row, strict=True)) for row in rows]
    return Reply(data, print_rows)


@config.command(cls=Verb)
@_FILE
def check(*, file: Path) -> Reply:
    """Tell all mistakes of a configuration; imports what it names."""
    from p2pdo.node.configuration.showing import checked, offered

    found, others = checked(file), offered(file)

    def print_it(console: Console) -> None:
        from p2pdo.reporting.tables import table

        table(console, ["TASK", "EXECUTOR"], [list(row) for row in sorted(found.items())])
        for kind, places in others.items():
            if places:
                table(console, [kind.removesuffix("s").upper(), "FROM"], [*places.items()])
        console.print(f"{file} can work", markup=False, soft_wrap=True)

    return Reply({"file": str(file), "tasks": found, **others}, print_it)


@config.command(name="import-nvflare", cls=Verb)
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path), metavar="JSON")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it there; an existing file is left alone.",
)
def import_nvflare(*, source: Path, out: Path | None) -> Reply:
    """Make a p2pdo.toml out of NVFlare's config_fed_client.json."""
    from p2pdo.errors import Conflict
    from p2pdo.node.configuration.nvflare import import_nvflare as read
    from p2pdo.reporting.toml_text import dumps

    made = read(source)
    text = dumps(made.tables)
    if out is not None:
        try:
            with out.open("x", encoding="utf-8") as target:
                target.write(text)
        except FileExistsError:
            raise Conflict(f"{out} exists already", hint="choose another --out") from None

    def print_it(console: Console) -> None:
        if out is None:
            click.echo(text, nl=False)
        else:
            place = 'python_path = ["custom"] in [node], or wherever your modules are'
            told = f"wrote {out}; next: {place}; then: p2pdo config check {out}"
            console.print(told, markup=False, soft_wrap=True)
        for remark in made.remarks:
            click.echo(f"not taken over: {remark}", err=True)

    data: dict[str, Any] = {"configuration": made.tables, "not_taken_over": made.remarks}
    return Reply(data, print_it)
