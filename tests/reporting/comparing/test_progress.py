"""How far trials are: a bar on a terminal, a line a trial elsewhere, nothing where it is quiet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from made_runs import metric
from rich.console import Console

from p2pdo.reporting.comparing.progress import TrialsProgress
from p2pdo.reporting.comparing.trials import Status, Trial


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trial(status: Status = Status.GOOD, reason: str | None = None) -> Trial:
    return Trial("dgd", 0, Path("c"), {}, status, reason, [metric(0, 1.0), metric(3, 1e-3)])


def told(console: Console, **settings: Any) -> None:
    with TrialsProgress(3, 100, console=console, **settings) as progress:
        progress.skipped(1)
        progress.reached("dgd trial 1", 50, 0.25)
        progress.ended("dgd trial 1", trial())
        progress.ended("dgd trial 2", trial(Status.DIVERGED, "it grew"))


def test_in_a_pipe_each_trial_is_a_line() -> None:
    file = io.StringIO()
    told(Console(file=file, width=40))
    assert file.getvalue().splitlines() == [
        "dgd trial 1  gap 1.0e-03 after 30 iterations  (2 of 3)",
        "dgd trial 2  diverged: it grew",
    ]


def test_on_a_terminal_there_is_a_bar_and_what_went_wrong_stays() -> None:
    file = Terminal()
    told(Console(file=file, force_terminal=True, width=120))
    text = file.getvalue()
    assert "3 of 3 trials" in text
    assert "dgd trial 2  diverged: it grew" in text
    assert "after 30 iterations" not in text


def test_quiet_is_quiet() -> None:
    file = io.StringIO()
    told(Console(file=file), quiet=True)
    assert file.getvalue() == ""
