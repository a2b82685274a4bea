"""Following a run on the progress line, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from p2pdo.reporting.records import Metric


class Followed(Protocol):
    """A local or a remote run."""

    workload_id: str

    @property
    def alive(self) -> int: ...

    def metrics(self) -> AsyncIterator[Metric]: ...


async def follow(run: Followed, what: str, *, rounds: int, nodes: int, quiet: bool) -> None:
    """Shows the run's progress on stderr until it ends; raises what ended it."""
    from p2pdo.reporting.progress import Pace, Progress

    pace = Pace()
    with Progress(rounds, quiet=quiet) as progress:
        progress.message(f"{run.workload_id}  {what}")
        async for metric in run.metrics():
            progress.update(metric, pace.rate(metric), run.alive, nodes)
