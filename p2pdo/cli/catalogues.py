"""`p2pdo algorithms` and `p2pdo problems`: what there is, and with which parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli.program import Reply, Verb

if TYPE_CHECKING:
    from rich.console import Console


@click.command(cls=Verb)
@click.argument("name", required=False, metavar="[NAME]")
def algorithms(*, name: str | None) -> Reply:
    """List the algorithms, or tell one's update, parameters, assumptions and paper."""
    from p2pdo.api.catalogues import describe_algorithm, describe_algorithms

    if name is not None:
        entry = describe_algorithm(name)
        return Reply(entry, lambda console: _show_algorithm(console, entry))
    entries = describe_algorithms()
    return Reply(entries, lambda console: _list_algorithms(console, entries))


@click.command(cls=Verb)
def problems() -> Reply:
    """List the problems and their parameters."""
    from p2pdo.api.catalogues import describe_problems

    entries = describe_problems()
    return Reply(entries, lambda console: _show_problems(console, entries))


def _list_algorithms(console: Console, entries: list[dict[str, Any]]) -> None:
    from rich.text import Text

    for entry in entries:
        console.print(Text(entry["name"], "bold"))
        lines = (
            [f"{entry['place']}: {entry['error']}"]
            if "error" in entry
            else [entry["about"], f"{entry['kind']}; needs {entry['requires']}; {_sent(entry)}"]
        )
        _print_lines(console, lines)
    console.print(Text("p2pdo algorithms NAME tells the update, parameters and assumptions"))


def _show_algorithm(console: Console, entry: dict[str, Any]) -> None:
    from rich.text import Text

    console.print(Text(entry["name"], "bold"))
    lines = [*entry["text"].splitlines(), "", f"reaches  {entry['reaches']}"]
    lines += [f"needs    {entry['requires']}", f"sends    {_sent(entry)}"]
    lines += [f"kind     {entry['kind']}"]
    lines += [f"missing  a neighbour's message: {entry['missing']}"]
    lines += [f"stacks   {'yes, --on stacked' if entry['stacks'] else 'no'}"]
    lines += [f"--set {text}" for text in _settings(entry)]
    _print_lines(console, lines)


def _sent(entry: dict[str, Any]) -> str:
    if entry["exchanges"] is None:
        return "what it sends depends on its parameters"
    exchanges, vectors = (f"{entry[key]:g}" for key in ("exchanges", "values"))
    if entry["kind"] == "asynchronous":
        return f"{_count(exchanges, 'message')} a wake-up to each, {_count(vectors, 'vector')}"
    return f"{_count(exchanges, 'exchange')} an iteration, {_count(vectors, 'vector')} to each"


def _count(number: str, noun: str) -> str:
    return f"{number} {noun}{'' if number == '1' else 's'}"


def _settings(entry: dict[str, Any], prefix: str = "") -> list[str]:
    """Each parameter with its default, or how it comes about."""
    derived = entry.get("derived", {})
    told = []
    for key, value in entry["parameters"].items():
        default = "" if value is None else f"={value}"
        how = f"  (if not given: {derived[key]})" if key in derived else ""
        told.append(f"{prefix}{key}{default}{how}")
    return told


def _show_problems(console: Console, entries: list[dict[str, Any]]) -> None:
    from rich.text import Text

    for entry in entries:
        console.print(Text(entry["name"], "bold"))
        lines = [entry["about"]]
        if entry["parameters"]:
            lines.append(f"--set {', '.join(_settings(entry, 'problem.'))}")
        _print_lines(console, lines)


def _print_lines(console: Console, lines: list[str]) -> None:
    from rich.text import Text

    for line in lines:
        console.print(Text(f"  {line}" if line else ""), soft_wrap=True)
