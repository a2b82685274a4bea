"""How a run that has ended is told, wherever it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pdo.cli.program import Reply, remark

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.runs import Result


def finished(result: Result, *, quiet: bool) -> Reply:
    """The summary, with the names of the pictures in the run folder."""
    summary, drawn = result.summary, result.pictures
    if drawn.note is not None:
        remark(drawn.note, quiet=quiet)

    def show(console: Console) -> None:
        from p2pdo.reporting.tables import summary_table

        if quiet:
            console.print(summary.workload_id)
        else:
            summary_table(console, summary, [file.name for file in drawn.files])

    return Reply(summary.to_plain(), show)
