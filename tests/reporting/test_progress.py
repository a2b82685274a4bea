"""Progress is driven by updates and a clock that the test owns."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from p2pdo.reporting.progress import Progress
from p2pdo.reporting.records import Metric


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _no_colour_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def metric(iteration: int) -> Metric:
    return Metric(iteration, 0.0, 3.4e-9, None, None, 1_200_000, 10)


def run(progress: Progress, clock: Clock, updates: int, every: float) -> None:
    for i in range(updates):
        progress.update(metric(i), 39.4, 7, 8)
        clock.now += every


def test_a_log_gets_one_whole_plain_line_an_interval() -> None:
    file, clock = io.StringIO(), Clock()
    with Progress(4000, console=Console(file=file, width=20), interval=10, clock=clock) as progress:
        run(progress, clock, updates=21, every=1.0)
    assert file.getvalue().splitlines() == [
        f"iteration {i}/4,000  39 it/s  gap 3.4e-09  sent 1.2 MB  nodes 7/8  {time}"
        for i, time in [(0, "0 ms"), (10, "10.0 s"), (20, "20.0 s")]
    ]


def test_a_message_in_a_log_is_a_line_at_once() -> None:
    file, clock = io.StringIO(), Clock()
    with Progress(None, console=Console(file=file, width=10), clock=clock) as progress:
        progress.update(metric(1), None, 8, 8)
        progress.message("[site-5] lost\x1b, no progress for 30 s")
    first, second = file.getvalue().splitlines()
    assert first.startswith("iteration 1  gap")
    assert second == "[site-5] lost\\x1b, no progress for 30 s"


def test_quiet_shows_nothing() -> None:
    screen, clock = Screen(), Clock()
    console = Console(file=screen, force_terminal=True)
    with Progress(10, console=console, quiet=True, clock=clock) as progress:
        run(progress, clock, updates=3, every=100)
        progress.message("lost")
    assert screen.getvalue() == ""


def test_a_terminal_is_redrawn_at_most_four_times_a_second_and_ends_with_the_last() -> None:
    screen, clock = Screen(), Clock()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Progress(None, console=console, clock=clock) as progress:
        run(progress, clock, updates=1001, every=1 / 512)
        before_the_end = screen.getvalue()
    assert before_the_end.count("iteration ") == 8
    assert "iteration 896 " in before_the_end
    assert "iteration 1,000 " not in before_the_end
    assert "iteration 1,000 " in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_a_message_on_a_terminal_scrolls_by_above_the_line() -> None:
    screen, clock = Screen(), Clock()
    console = Console(file=screen, force_terminal=True, width=120)
    with Progress(10, console=console, clock=clock) as progress:
        progress.update(metric(1), 1.0, 8, 8)
        progress.message("[site-5] lost")
    assert "[site-5] lost\n" in screen.getvalue()


def test_forced_colour_makes_a_log_no_screen() -> None:
    file, clock = io.StringIO(), Clock()
    with Progress(10, console=Console(file=file, force_terminal=True), clock=clock) as progress:
        run(progress, clock, updates=2, every=0.3)
    assert "\x1b" not in file.getvalue()
    assert len(file.getvalue().splitlines()) == 1


def test_no_color_leaves_no_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen, clock = Screen(), Clock()
    with Progress(10, console=Console(file=screen, force_terminal=True), clock=clock) as progress:
        progress.update(metric(1), 1.0, 7, 8)
    assert "31m" not in screen.getvalue()


def test_closing_twice_is_safe_and_ends_the_updates() -> None:
    screen, clock = Screen(), Clock()
    progress = Progress(10, console=Console(file=screen, force_terminal=True), clock=clock)
    progress.update(metric(1), 1.0, 8, 8)
    progress.close()
    progress.close()
    ended = screen.getvalue()
    clock.now += 10
    progress.update(metric(2), 1.0, 8, 8)
    assert screen.getvalue() == ended


def test_standard_output_is_left_to_its_owner() -> None:
    screen, clock = Screen(), Clock()
    stdout = sys.stdout
    with Progress(10, console=Console(file=screen, force_terminal=True), clock=clock) as progress:
        progress.update(metric(1), 1.0, 8, 8)
        assert sys.stdout is stdout


def test_it_writes_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, clock=Clock()) as progress:
        progress.update(metric(1), 1.0, 8, 8)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("iteration 1/10")
