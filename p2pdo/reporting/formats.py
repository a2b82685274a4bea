"""Formats. Figures as people write them, and text from the network made safe to print.

Everything is ASCII for ASCII input, so that it prints on any terminal and in any log. None, a
figure that cannot be known, is a dash.
"""

from __future__ import annotations

UNKNOWN = "-"


def count(n: int) -> str:
    """4012 is 4,012."""
    return f"{n:,}"


def small(x: float | None) -> str:
    """A quantity that goes to zero, where the power of ten is the news: 3.4e-09."""
    return UNKNOWN if x is None else "0" if x == 0 else f"{x:.1e}"


def real(x: float | None) -> str:
    """Any other real number, with six significant digits."""
    return UNKNOWN if x is None else f"{x:.6g}"


def size(n: int) -> str:
    """Bytes in powers of a thousand: 512 B, 17 kB, 1.2 MB."""
    if n < 1000:  # noqa: PLR2004 - the prefix itself
        return f"{n} B"
    units = iter(("kB", "MB", "GB"))
    scaled, unit = n / 1000, next(units)
    while scaled >= 999.5 and unit != "TB":  # noqa: PLR2004 - what rounds to 1000 takes the next
        scaled, unit = scaled / 1000, next(units, "TB")
    return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:,.0f} {unit}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """12 ms, 12.3 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 0.9995:  # noqa: PLR2004 - what rounds to 1000 ms is a second
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:  # noqa: PLR2004 - what rounds to 60 s is a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def rate(per_second: float) -> str:
    """Iterations a second, or seconds an iteration where that is the better word."""
    if per_second <= 0:
        return f"{UNKNOWN} it/s"
    if per_second < 0.995:  # noqa: PLR2004 - what rounds to one a second
        return f"{duration(1 / per_second)}/it"
    return f"{per_second:.1f} it/s" if per_second < 9.95 else f"{per_second:,.0f} it/s"  # noqa: PLR2004


def printable(text: str) -> str:
    """The text with control characters spelled out: a name must not steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plural(n: int, noun: str) -> str:
    """1 node, 1,000 nodes."""
    return f"{count(n)} {noun}" if n == 1 else f"{count(n)} {noun}s"


def run_in_words(algorithm: str, problem: str, nodes: int, topology: str, executor: str) -> str:
    """What runs where, in one line."""
    return printable(f"{algorithm} on {problem}, {plural(nodes, 'node')}, {topology}, {executor}")
