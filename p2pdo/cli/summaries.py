"""How a run that has ended is told, wherever it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pdo.cli.program import Reply, remark

if TYPE_CHECKING:
    from rich.console import Console

    from p2pdo.api.runs import Result


def finished(result: Result, *, quiet: bool) -> Reply:
    """The summary, what participants returned, and the pictures in the run folder."""
    from p2pdo.reporting.diverging import divergence

    summary, drawn = result.summary, result.pictures
    if drawn.note is not None:
        remark(drawn.note, quiet=quiet)
    if late := int(summary.simulated.get("too_late", 0)):
        remark(
            f"warning: {late} of the crashes, freezes and partitions in the links file would have "
            f"begun after the run's end, at {summary.simulated['seconds']:.3g} s, and did not",
            quiet=quiet,
        )
    data = summary.to_plain()
    if result.results:
        data["results"] = dict(result.results)
    if result.timeline is not None:
        data["timeline"] = result.timeline.to_plain()

    def show(console: Console) -> None:
        from p2pdo.reporting.tables import returned_table, summary_table

        if quiet:
            console.print(summary.workload_id)
            return
        if result.results:
            returned_table(console, result.results)
            console.print()
        summary_table(console, summary, [file.name for file in drawn.files])
        if result.timeline is not None:
            console.print(result.timeline.in_words(), soft_wrap=True)

    if summary.status != "diverged":
        return Reply(data, show)
    remark(f"the run diverged: {divergence(result.metrics)}")
    remark("  try: a smaller step size, which p2pdo plan tells")
    return Reply(data, show, exit_code=1)
