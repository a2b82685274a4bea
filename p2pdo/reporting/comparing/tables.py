"""The comparison on a terminal: where the methods ended, and what it took them to the tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from p2pdo.reporting import formats
from p2pdo.reporting.comparing.figures import AXES, Figures, Spread
from p2pdo.reporting.tables import table

if TYPE_CHECKING:
    from rich.console import Console

Columns: TypeAlias = dict[str, Callable[[Figures], Spread | None]]
"""What columns show, by their names."""

_WRITE: Mapping[str, Callable[[float], str]] = {
    "iterations": lambda x: formats.count(round(x)),
    "gradients": lambda x: formats.count(round(x)),
    "messages": lambda x: formats.count(round(x)),
    "bytes": lambda x: formats.size(round(x)),
    "seconds": formats.duration,
}


def print_comparison(
    console: Console, figures: Sequence[Figures], tol: float | None, every: int | None
) -> None:
    """Print the tables, and below them what is in no mean, with its reason."""
    table(console, *ends(figures))
    if tol is not None:
        console.print()
        console.print(to_tolerance_in_words(tol, every), soft_wrap=True, markup=False)
        table(console, *prices(figures))
    for line in remarks(figures):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def ends(figures: Sequence[Figures]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: where each method ended."""
    rates, shares = shown_rates(figures), shown_shares(figures)
    columns = ["ALGORITHM", "TRIALS", "GAP", "CONSENSUS ERROR"]
    rows = [
        [
            one.label,
            _share(one.good, one.trials),
            one.outcome or spread(one.gap, formats.small),
            spread(one.consensus_error, formats.small),
            *(spread(read(one), lambda x: f"{x:.4f}") for read in rates.values()),
            *(spread(read(one), lambda x: f"{x:.2%}") for read in shares.values()),
        ]
        for one in figures
    ]
    return [*columns, *(name.upper() for name in (*rates, *shares))], rows


def shown_rates(figures: Sequence[Figures]) -> Columns:
    """The observed rates, and where some are known those that were predicted."""
    rates: Columns = {"rate": lambda one: one.rate}
    if any(one.predicted is not None for one in figures):
        rates["predicted"] = lambda one: one.predicted
    return rates


def shown_shares(figures: Sequence[Figures]) -> Columns:
    """The accuracies that some method has."""
    known: Columns = {
        "accuracy": lambda one: one.accuracy,
        "test accuracy": lambda one: one.test_accuracy,
    }
    return {
        name: read for name, read in known.items() if any(read(one) is not None for one in figures)
    }


def prices(figures: Sequence[Figures]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: what it took to the tolerance, of all nodes together."""
    rows = [
        [
            one.label,
            _share(one.reached, one.good),
            *(spread(one.to[axis], _WRITE[axis]) for axis in AXES),
        ]
        for one in figures
    ]
    return ["ALGORITHM", "REACHED", *(axis.upper() for axis in AXES)], rows


def to_tolerance_in_words(tol: float, every: int | None) -> str:
    seen = "" if every is None else f", observed every {formats.plural(every, 'iteration')}"
    return f"to gap and consensus error <= {tol:g}, all nodes together{seen}"


def remarks(figures: Sequence[Figures]) -> list[str]:
    """What became of the trials that are in no mean."""
    others = [formats.printable(words) for one in figures for words in one.others]
    return ["", "not averaged:", *(f"  {words}" for words in others)] if others else []


def spread(numbers: Spread | None, write: Callable[[float], str]) -> str:
    """1.2e-09 ± 3.4e-10."""
    if numbers is None:
        return formats.UNKNOWN
    mean = write(numbers.mean)
    return mean if numbers.std is None else f"{mean} ± {write(numbers.std)}"


def _share(some: int, of: int) -> str:
    return f"{some} of {of}"
