"""How far the trials of a comparison are, on stderr: a bar on a terminal, else a line a trial."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from p2pdo.reporting import formats
from p2pdo.reporting.comparing.trials import Status, Trial

if TYPE_CHECKING:
    from rich.console import Console


class TrialsProgress:
    """Told what happens; shows it. A trial under way is the part of one that it has iterations."""

    def __init__(
        self, trials: int, rounds: int, *, quiet: bool = False, console: Console | None = None
    ) -> None:
        self._trials = trials
        self._rounds = rounds
        self._ended = 0
        self._refused: set[str] = set()
        self._under_way: dict[str, tuple[int, float | None]] = {}
        self._console = None if quiet else (console or _stderr())
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        console = self._console
        if console is not None and console.is_interactive and console.file.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.fields[ended]} of {task.total:.0f} trials"),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
                console=console,
                redirect_stdout=False,
            )
            self._task = self._bar.add_task("", total=self._trials, ended=0)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def message(self, text: str) -> None:
        """A sentence that stays."""
        self._say(text)

    def skipped(self, trials: int) -> None:
        """So many had ended before."""
        self._ended += trials
        self._redraw()

    def reached(self, name: str, iteration: int, gap: float | None) -> None:
        self._under_way[name] = (iteration, gap)
        self._redraw()

    def ended(self, name: str, trial: Trial) -> None:
        self._under_way.pop(name, None)
        self._ended += 1
        words = f"{trial.label}: {trial.reason}"
        if trial.status is Status.REFUSED and words in self._refused:
            pass  # for the same reason as an earlier trial
        elif trial.status is not Status.GOOD:
            self._refused.add(words)
            self._say(f"{name}  {trial.status.value}: {trial.reason}")
        elif self._bar is None:
            self._say(f"{name}  {_figures(trial)}  ({self._ended} of {self._trials})")
        self._redraw()

    def _say(self, text: str) -> None:
        if self._console is not None:
            self._console.print(
                formats.printable(text), markup=False, highlight=False, soft_wrap=True
            )

    def _redraw(self) -> None:
        if self._bar is None:
            return
        parts = sum(min(k / max(self._rounds, 1), 1) for k, _ in self._under_way.values())
        words = ", ".join(
            f"{name} {formats.count(k)}" + ("" if gap is None else f" gap {formats.small(gap)}")
            for name, (k, gap) in self._under_way.items()
        )
        self._bar.update(
            self._task, completed=self._ended + parts, ended=self._ended, description=words
        )


def _figures(trial: Trial) -> str:
    last = trial.metrics[-1]
    gap = "" if last.gap is None else f"gap {formats.small(last.gap)} "
    return f"{gap}after {formats.plural(last.iteration, 'iteration')}"


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)
