"""The comparison as a LaTeX table, in booktabs' style: to be read with the package booktabs.

What is in no mean is told in comments below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from p2pdo.reporting.comparing.figures import Figures, Spread
from p2pdo.reporting.comparing.tables import Columns, shown_rates, shown_shares
from p2pdo.reporting.formats import printable

_UNKNOWN = "--"
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_ENDS = ("Algorithm", "Trials", "Gap", "Consensus error")
_PRICES = (
    "Reached",
    "Iterations",
    "Gradients",
    "Messages",
    "MB sent",
    "Seconds",
)


def latex_table(figures: Sequence[Figures], tol: float | None) -> str:
    """A tabular; its last columns are what it took all nodes together to the tolerance."""
    rates, shares = shown_rates(figures), shown_shares(figures)
    columns = [*_ENDS, *(name.capitalize() for name in (*rates, *shares))]
    if tol is not None:
        columns += _PRICES
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        _row(columns),
        r"\midrule",
        *(_row(_cells(one, rates, shares)[: len(columns)]) for one in figures),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if tol is not None:
        lines.append(f"% Reached and after: to gap and consensus error <= {tol:g}, all nodes")
    lines += [f"% not averaged: {printable(words)}" for one in figures for words in one.others]
    return "\n".join(lines) + "\n"


def _cells(one: Figures, rates: Columns, shares: Columns) -> list[str]:
    to = one.to
    return [
        "".join(_SPECIAL.get(c, c) for c in printable(one.label)),
        f"{one.good}/{one.trials}",
        one.outcome or _scientific(one.gap),
        _scientific(one.consensus_error),
        *(_fixed(read(one), lambda _mean: 4) for read in rates.values()),
        *(_percent(read(one)) for read in shares.values()),
        f"{one.reached}/{one.good}",
        *(_fixed(to[axis], lambda _mean: 0) for axis in ("iterations", "gradients", "messages")),
        _fixed(to["bytes"], _three_digits, scale=1e-6),
        _fixed(to["seconds"], _three_digits),
    ]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _scientific(numbers: Spread | None) -> str:
    r"""$(1.2 \pm 0.3) \times 10^{-9}$."""
    if numbers is None:
        return _UNKNOWN
    mean, std = numbers.mean, numbers.std
    power = math.floor(math.log10(abs(mean))) if mean else 0
    scale = 10.0**power
    figure = f"{mean / scale:.1f}"
    if std is not None:
        figure = rf"({figure} \pm {std / scale:.1f})"
    return f"${figure}$" if power == 0 else rf"${figure} \times 10^{{{power}}}$"


def _fixed(numbers: Spread | None, decimals: Callable[[float], int], scale: float = 1.0) -> str:
    """Mean and deviation with as many decimals as the mean asks for."""
    if numbers is None:
        return _UNKNOWN
    mean, std = numbers.mean * scale, numbers.std
    d = decimals(mean)
    return f"${mean:.{d}f}$" if std is None else rf"${mean:.{d}f} \pm {std * scale:.{d}f}$"


def _percent(numbers: Spread | None) -> str:
    r"""$97.4 \pm 0.3\,\%$."""
    told = _fixed(numbers, lambda _mean: 1, scale=100)
    return told if numbers is None else rf"{told[:-1]}\,\%$"


def _three_digits(mean: float) -> int:
    """Decimals that show three digits of it."""
    return max(0, 2 - math.floor(math.log10(mean))) if mean > 0 else 0
