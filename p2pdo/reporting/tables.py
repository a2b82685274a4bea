"""Tables. Aligned text that people read on a terminal and programs cut in a pipe.

On a terminal the header is styled and rich fits the columns to the width. Elsewhere the table is
plain text, one line a row, never wrapped, cut or coloured, however narrow the supposed screen.
Cells are text, never markup: names come from the network.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from p2pdo.reporting import formats
from p2pdo.reporting.records import OWN_DATA, Summary
from p2pdo.types import Plain

if TYPE_CHECKING:
    from rich.console import Console

Cell: TypeAlias = str | int | float | None
"""Text as it is; a whole number, a small real number or an unknown one as `formats` has it."""

_GAP = "  "
_WIDEST = 40  # characters of what a participant returned
_STYLES = {
    **dict.fromkeys(("done", "converged", "settled"), "bold green"),
    "running": "bold cyan",
}


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print the rows under their headers; a column of numbers is set to the right."""
    cells = [list(row) for row in rows]
    right = [_is_numeric([row[i] for row in cells]) for i in range(len(columns))]
    lines = [[_text_of(cell) for cell in row] for row in cells]
    if console.is_terminal:
        _print_rich(console, columns, lines, right)
    else:
        _print_plain(console, [list(columns), *lines], right)


def headline(console: Console, status: str, name: str, what: str) -> None:
    """Print what this is about, in one line."""
    from rich.text import Text

    coloured = Text(formats.printable(status), _STYLES.get(status, "bold red"))
    bold = Text(f"  {formats.printable(name)}", "bold")
    console.print(Text.assemble(coloured, bold, f"  {formats.printable(what)}"), soft_wrap=True)


def figures(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print a label and its figure a line, indented and aligned."""
    from rich.text import Text

    width = max(len(label) for label, _ in lines)
    for label, figure in lines:
        words = (_GAP, (label.ljust(width), "dim"), _GAP, formats.printable(figure))
        console.print(Text.assemble(*words), soft_wrap=True)


def next_step(console: Console, command: str) -> None:
    """Print what to do now."""
    from rich.text import Text

    console.print(Text.assemble(("next: ", "dim"), formats.printable(command)), soft_wrap=True)


def summary_table(console: Console, summary: Summary, pictures: Sequence[str] = ()) -> None:
    """Print how a run ended, where its folder and its pictures are, or what to do next."""
    headline(console, summary.status, summary.workload_id, _what(summary))
    drawn = [("pictures", ", ".join(pictures))] if pictures else []
    figures(console, [*_figures(summary), *drawn])
    if summary.run_dir is not None and not pictures:
        next_step(console, f"p2pdo plot {shlex.quote(summary.run_dir)}")


def returned_table(console: Console, results: Mapping[str, Plain]) -> None:
    """Print what each node's participant returned: a column for each name, or one for all."""
    tables = [value for value in results.values() if isinstance(value, dict)]
    if len(tables) == len(results):
        names = list(dict.fromkeys(name for value in tables for name in value))
        rows = [[_cell(value.get(name)) for name in names] for value in tables]
    else:
        names, rows = ["returned"], [[_cell(value)] for value in results.values()]
    columns = ["NODE", *(formats.printable(name).upper() for name in names)]
    table(console, columns, [[node, *row] for node, row in zip(results, rows, strict=True)])


def _cell(value: Plain) -> Cell:
    """A scalar as it is; of a list or a table its beginning."""
    if value is None or isinstance(value, str | int | float):
        return value if not isinstance(value, str) else value[:_WIDEST]
    text = json.dumps(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _what(s: Summary) -> str:
    return formats.run_in_words(s.algorithm, s.problem, s.nodes, s.topology, s.executor)


def _figures(s: Summary) -> list[tuple[str, str]]:
    """Label and figure; a line whose figure cannot be known is left out, the gap is not.

    But of participants, which have none at all.
    """
    has_none = s.problem == OWN_DATA
    lines: list[tuple[str, str | None]] = [
        ("iterations", formats.count(s.iterations)),
        ("gap", None if has_none else formats.small(s.gap)),
        ("consensus error", None if has_none else formats.small(s.consensus_error)),
        ("cost", None if s.value is None else formats.real(s.value)),
        ("optimal cost", None if s.optimum is None else formats.real(s.optimum)),
        (
            "distance to optimum",
            None if s.distance_to_optimum is None else formats.small(s.distance_to_optimum),
        ),
        ("accuracy", _accuracy(s)),
        ("gradients", None if s.calls is None else _gradients(s)),
        ("rate", _rates(s.rates)),
        ("privacy", _privacy(s.privacy)),
        ("codec", None if s.codec == "none" else s.codec),
        ("sent", _sent(s)),
        ("dropped", formats.plural(s.dropped, "value") if s.dropped else None),
        ("links", links_in_words(s.links) or None),
        ("time", _time(s)),
        ("simulated time", _simulated_time(s) if s.simulated else None),
        ("state sha256", s.state_sha256),
        ("run folder", s.run_dir),
    ]
    return [(label, figure) for label, figure in lines if figure is not None]


def _accuracy(s: Summary) -> str | None:
    """98.59% of the nodes' samples, 97.37% of those held out."""
    of_nodes = None if s.accuracy is None else f"{s.accuracy:.2%} of the nodes' samples"
    held_out = None if s.test_accuracy is None else f"{s.test_accuracy:.2%} of those held out"
    return ", ".join(part for part in (of_nodes, held_out) if part is not None) or None


def _sent(s: Summary) -> str:
    sent = f"{formats.size(s.bytes_sent)} in {formats.plural(s.messages_sent, 'message')}"
    return f"{sent}, {formats.size(s.header_bytes)} of headers" if s.header_bytes else sent


def _gradients(s: Summary) -> str:
    """Of all nodes; a finite sum's term is a share of one."""
    assert s.calls is not None
    told = formats.count(round(s.calls.gradients))
    return f"{told}, {formats.count(s.calls.proxes)} proximal maps" if s.calls.proxes else told


def _privacy(told: Mapping[str, float]) -> str | None:
    if not told:
        return None
    return f"epsilon {told['epsilon']:.3g} at delta {told['delta']:g} of one sample of a node"


def links_in_words(links: Mapping[str, int]) -> str:
    """For people: 4 by shared memory, 2 by gRPC."""
    names = {"shared-memory": "shared memory", "grpc": "gRPC"}
    return ", ".join(f"{count} by {names.get(lane, lane)}" for lane, count in links.items())


def _rates(rates: Mapping[str, float]) -> str | None:
    """What an iteration shrank the distance by: 0.970590 predicted, 0.970612 observed."""
    return ", ".join(f"{rate:.6f} {name}" for name, rate in rates.items()) or None


def _time(s: Summary) -> str:
    taken = formats.duration(s.seconds)
    if s.iterations == 0 or s.seconds <= 0:
        return taken
    return f"{taken} ({formats.rate(s.iterations / s.seconds)})"


def _simulated_time(s: Summary) -> str:
    """12.3 s (8.1 it/s), 40% computing, 30 lost frames, 2 cuts, 1 crash."""
    told = s.simulated
    seconds, lost, cuts = told["seconds"], int(told["frames_lost"]), int(told["link_cuts"])
    pace = f" ({formats.rate(s.iterations / seconds)})" if seconds and s.iterations else ""
    parts = [
        f"{formats.duration(seconds)}{pace}",
        f"{told['computing_share']:.0%} computing" if told["computing_share"] else None,
        f"{formats.plural(lost, 'lost frame')}" if lost else None,
        f"{formats.plural(cuts, 'cut')}" if cuts else None,
        *(
            f"{formats.count(int(told[several]))} {one if told[several] == 1 else several}"
            for one, several in _SILENCES
            if several in told
        ),
    ]
    return ", ".join(part for part in parts if part is not None)


_SILENCES = (("crash", "crashes"), ("freeze", "freezes"), ("partition", "partitions"))


def _is_numeric(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and not any(isinstance(cell, str | bool) for cell in known)


def _text_of(cell: Cell) -> str:
    match cell:
        case None:
            return formats.UNKNOWN
        case bool():
            return "yes" if cell else "no"
        case int():
            return formats.count(cell)
        case float():
            return formats.small(cell)
        case str():
            return formats.printable(cell)


def _print_rich(
    console: Console, columns: Sequence[str], lines: list[list[str]], right: list[bool]
) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title, to_the_right in zip(columns, right, strict=True):
        grid.add_column(Text(title), justify="right" if to_the_right else "left", overflow="fold")
    for line in lines:
        grid.add_row(*map(Text, line))
    console.print(grid)


def _print_plain(console: Console, lines: list[list[str]], right: list[bool]) -> None:
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = []
        for text, width, to_the_right in zip(line, widths, right, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if to_the_right else text + space)
        console.out(_GAP.join(padded).rstrip(), highlight=False)
