"""How a run that has ended is told, wherever it ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from p2pdo.cli.program import Reply, remark
from p2pdo.errors import P2pdoError

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.runs import Result


def finished(result: Result, *, quiet: bool) -> Reply:
    """The summary; the pictures go into the run folder, where there is one."""
    summary = result.summary
    pictures = [] if summary.run_dir is None else _draw(Path(summary.run_dir), quiet=quiet)

    def show(console: Console) -> None:
        from p2pdo.reporting.tables import summary_table

        if quiet:
            console.print(summary.workload_id)
        else:
            summary_table(console, summary, pictures)

    return Reply(summary.to_plain(), show)


def _draw(path: Path, *, quiet: bool) -> list[str]:
    """The names of the files that could be drawn."""
    from p2pdo.reporting.pictures import draw
    from p2pdo.reporting.run_folder import RunFolder

    try:
        return [file.name for file in draw(RunFolder(path))]
    except P2pdoError as error:  # a run without pictures is a run
        remedy = f"; {error.hint}" if error.hint else ""
        remark(f"not drawn: {error.message}{remedy}", quiet=quiet)
        return []
