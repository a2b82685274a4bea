"""Progress. What a run is doing, on stderr, while it lasts.

Three ways to show it, chosen once: on a terminal one line is redrawn, at most four times a second;
elsewhere (a pipe, a batch log) a plain line is printed, at most one an interval; quiet shows
nothing. Nothing ticks on its own: no thread, no sleep. The caller's updates drive it and time is
an argument, so a test needs none.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from p2pdo.reporting import formats
from p2pdo.reporting.records import Metric

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_REDRAW_EVERY = 0.25


class Progress:
    """The line of one run, from its start to `close`.

    Attributes of a line: the iteration (of how many), iterations a second, gap, consensus error,
    payload sent, nodes alive and the time since this object was made.
    """

    def __init__(
        self,
        rounds: int | None,
        *,
        console: Console | None = None,
        quiet: bool = False,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rounds = rounds
        self._clock = clock
        self._started = clock()
        self._view = _choose(console, quiet=quiet)
        self._every = _REDRAW_EVERY if isinstance(self._view, _Redrawn) else interval
        self._closed = False
        self._shown_at: float | None = None
        self._pending: Text | None = None  # Invariant: the latest line, where it is not on show.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, metric: Metric, rate: float | None, alive: int, nodes: int) -> None:
        """The latest figures; shown now if it is time, else the next update takes their place."""
        if self._closed or isinstance(self._view, _Nothing):
            return
        now = self._clock()
        line = _line(
            metric, self._rounds, rate, alive=alive, nodes=nodes, elapsed=now - self._started
        )
        if self._shown_at is not None and now - self._shown_at < self._every:
            self._pending = line
            return
        self._shown_at, self._pending = now, None
        self._view.show(line)

    def message(self, text: str) -> None:
        """A sentence that stays: a node was lost, a node is back."""
        self._view.say(text)

    def close(self) -> None:
        """Leave the last line on the terminal; safe to call twice."""
        self._view.end(self._pending)
        self._pending, self._closed = None, True


class Pace:
    """Iterations a second, over the latest metrics: a run's pace is what it is now."""

    def __init__(self, span: float = 2.0) -> None:
        self._span = span
        self._latest: deque[Metric] = deque()

    def rate(self, metric: Metric) -> float | None:
        """The pace with this metric; None before there are two."""
        latest = self._latest
        latest.append(metric)
        while len(latest) > 2 and metric.seconds - latest[1].seconds >= self._span:  # noqa: PLR2004
            latest.popleft()
        seconds = metric.seconds - latest[0].seconds
        return (metric.iteration - latest[0].iteration) / seconds if seconds > 0 else None


class _View(Protocol):
    def show(self, line: Text) -> None: ...

    def say(self, text: str) -> None: ...

    def end(self, last: Text | None) -> None: ...


class _Nothing:
    def show(self, line: Text) -> None:
        """Quiet."""

    def say(self, text: str) -> None:
        """Quiet."""

    def end(self, last: Text | None) -> None:
        """Quiet."""


class _Printed:
    """Plain lines, whole however wide the supposed screen."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, line: Text) -> None:
        self._console.out(line.plain, highlight=False)

    def say(self, text: str) -> None:
        self._console.out(formats.printable(text), highlight=False)

    def end(self, last: Text | None) -> None:
        """What was too early to print stays unprinted: the summary has it."""


class _Redrawn:
    """One line that rich redraws in place; messages scroll by above it."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)

    def show(self, line: Text) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(line, refresh=True)

    def say(self, text: str) -> None:
        self._console.print(formats.printable(text), markup=False, highlight=False)

    def end(self, last: Text | None) -> None:
        if last is not None:
            self.show(last)
        self._live.stop()


def _choose(console: Console | None, *, quiet: bool) -> _View:
    """Redraw only on a real terminal: FORCE_COLOR makes a log coloured, not a screen."""
    if quiet:
        return _Nothing()
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    screen = console.is_interactive and console.file.isatty()
    return _Redrawn(console) if screen else _Printed(console)


def _mean(told: Mapping[str, float | None]) -> str | None:
    """Of what the nodes have logged under one name; None where none has a number."""
    numbers = [number for number in told.values() if number is not None]
    return formats.small(sum(numbers) / len(numbers)) if numbers else None


def _line(
    metric: Metric,
    rounds: int | None,
    rate: float | None,
    *,
    alive: int,
    nodes: int,
    elapsed: float,
) -> Text:
    from rich.text import Text

    """What is not known is left out."""
    error = metric.consensus_error
    of = "" if rounds is None else f"/{formats.count(rounds)}"
    figures = [
        ("iteration", f"{formats.count(metric.iteration)}{of}", "bold"),
        ("", None if rate is None else formats.rate(rate), ""),
        ("gap", None if metric.gap is None else formats.small(metric.gap), "bold"),
        ("consensus", None if error is None else formats.small(error), "bold"),
        *((f"mean {name}", _mean(told), "bold") for name, told in metric.logged.items()),
        ("sent", formats.size(metric.bytes_sent), ""),
        ("nodes", f"{alive}/{nodes}", "" if alive == nodes else "bold red"),
        ("", formats.duration(elapsed), ""),
    ]
    words = [
        Text.assemble((f"{label} " if label else "", "dim"), (figure, style))
        for label, figure, style in figures
        if figure is not None
    ]
    line = Text("  ").join(words)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
