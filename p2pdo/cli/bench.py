"""`p2pdo bench`: how fast p2pdo is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli import options, signals
from p2pdo.cli.program import Reply, Verb, remark

if TYPE_CHECKING:
    from rich.console import Console

_LARGEST = 10**12

_repeat = click.option(
    "--repeat",
    type=int,
    default=5,
    show_default=True,
    metavar="R",
    help="Runs of each; they take turns.",
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def _seconds(default: float) -> Callable[[Any], Any]:
    return click.option(
        "--seconds",
        type=float,
        default=default,
        show_default=True,
        metavar="T",
        help="How long a run is measured; it warms up as long.",
    )


def _whole_numbers(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """1,1e4,1e6."""
    found = []
    for word in text.split(","):
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if not (abs(value) <= _LARGEST and value.is_integer()):
            raise click.BadParameter(
                f"'{word}' is no whole number; write 1,1e4,1e6", ctx, parameter
            )
        found.append(int(value))
    return found


@click.group(
    name="bench", no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)
def bench() -> None:
    """Measure how fast p2pdo is on this machine.

    Figures are medians, with the least and the greatest run in brackets. What else runs on the
    machine shares its cores: CPU time is the steadier figure.
    """


@bench.command(cls=Verb)
@click.option(
    "-n", "--nodes", type=int, default=6, show_default=True, metavar="N", help="Processes."
)
@click.option(
    "--sizes",
    default="1,1e4,1e6",
    show_default=True,
    metavar="D,...",
    callback=_whole_numbers,
    help="Floats of what is exchanged.",
)
@options.lane
@click.option(
    "-a",
    "--algorithm",
    default="consensus",
    show_default=True,
    metavar="A",
    help="A name (see p2pdo algorithms).",
)
@_repeat
@_seconds(2.0)
@_quiet
def ring(*, quiet: bool, **asked: Any) -> Reply:
    """Measure a ring of node processes that exchange arrays of float32.

    With consensus a step is x <- (x_left + x + x_right)/3: the exchange is all there is to it.
    """
    from p2pdo.benchmarks.ring import Ring, measure_ring

    sizes = signals.run(measure_ring(Ring(**asked), _told(quiet)))
    data = {**asked, "machine": _machine(), "rows": [size.to_plain() for size in sizes]}

    def show(console: Console) -> None:
        from p2pdo.benchmarks.spread import in_words

        rows = [
            [
                f"{size.floats:,}",
                *map(
                    in_words, (size.rate, size.cpu_ms, size.sent_mb, size.memory_mb, size.beyond_mb)
                ),
            ]
            for size in sizes
        ]
        columns = [
            "FLOATS",
            "IT/S",
            "CPU MS/NODE-IT",
            "SENT MB/S/NODE",
            "PEAK MB/NODE",
            "OVER THE VALUES, MB",
        ]
        _table(console, columns, rows)

    return Reply(data, show)


@bench.command(cls=Verb)
@click.option(
    "--clients", type=int, default=100, show_default=True, metavar="C", help="Workloads at a time."
)
@click.option(
    "--tasks",
    "each",
    type=int,
    default=500,
    show_default=True,
    metavar="K",
    help="Tasks of each.",
)
@_repeat
@_quiet
def router(*, clients: int, each: int, repeat: int, quiet: bool) -> Reply:
    """Measure the Lead Client on tasks that do nothing, against routers written by hand."""
    from p2pdo.benchmarks.router import ROUTERS, Load, measure_routers

    routed = signals.run(measure_routers(Load(clients, each), repeat, _told(quiet)))
    data = {"repeat": repeat, "machine": _machine(), **routed.to_plain()}

    def show(console: Console) -> None:
        from p2pdo.benchmarks.spread import in_words

        rows = [
            [name, *map(in_words, (routed.rate(name), routed.cpu_us(name), routed.share_of(name)))]
            for name in ROUTERS
        ]
        _table(console, ["ROUTER", "TASKS/S", "CPU US/TASK", "LEAD CLIENT REACHES"], rows)

    return Reply(data, show)


@bench.command(cls=Verb)
@click.option(
    "-n",
    "--nodes",
    default="10,100,1000",
    show_default=True,
    metavar="N,...",
    callback=_whole_numbers,
    help="How many, in a ring.",
)
@_repeat
@_seconds(1.0)
@_quiet
def simulate(*, quiet: bool, **asked: Any) -> Reply:
    """Measure nodes of one process: averaging a float, and gradient tracking of ten."""
    from p2pdo.benchmarks.simulate import Simulate, measure_simulated

    found = signals.run(measure_simulated(Simulate(**asked), _told(quiet)))
    data = {**asked, "machine": _machine(), "rows": [one.to_plain() for one in found]}

    def show(console: Console) -> None:
        from p2pdo.benchmarks.spread import in_words

        rows = [
            [
                one.work.algorithm,
                str(one.work.dimension),
                f"{one.nodes:,}",
                in_words(one.rate),
                in_words(one.cpu_us),
            ]
            for one in found
        ]
        columns = ["ALGORITHM", "FLOATS", "NODES", "NODE-IT/S", "CPU US/NODE-IT"]
        _table(console, columns, rows)

    return Reply(data, show)


@bench.command(cls=Verb)
@click.option(
    "-a",
    "--algorithm",
    default="gradient-tracking",
    show_default=True,
    metavar="A",
    help="gradient-tracking, consensus or edge-admm.",
)
@click.option("-n", "--nodes", type=int, default=100_000, show_default=True, metavar="N")
@click.option("-d", "--dimension", type=int, default=100, show_default=True, metavar="D")
@click.option("--topology", default="k-regular:4", show_default=True, metavar="T")
@click.option("--rounds", type=int, default=100, show_default=True, metavar="K")
@click.option(
    "--repeat", type=int, default=3, show_default=True, metavar="R", help="Runs; they take turns."
)
@_quiet
def stacked(*, quiet: bool, **asked: Any) -> Reply:
    """Measure very many nodes as stacked arrays, against the recursion written by hand.

    Both have CPU seconds of the same iterations; by hand they are NumPy and SciPy's sparse product.
    """
    from p2pdo.benchmarks.stacked import Stacked, measure_stacked

    found = measure_stacked(Stacked(**asked), _told(quiet))
    data = {**asked, "machine": _machine(), **found.to_plain()}

    def show(console: Console) -> None:
        from p2pdo.benchmarks.spread import Spread, figure, in_words

        spreads = (Spread.of(found.ours), Spread.of(found.by_hand), found.ratio)
        peak = "-" if found.peak_mb is None else figure(found.peak_mb)
        row = [f"{asked['nodes']:,}", figure(found.prepared), *map(in_words, spreads), peak]
        columns = ["NODES", "PREPARED CPU S", "CPU S", "BY HAND CPU S", "RATIO", "PEAK MB"]
        _table(console, columns, [row])

    return Reply(data, show)


def _told(quiet: bool) -> Callable[[str], None]:
    return lambda text: remark(text, quiet=quiet)


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from p2pdo.reporting.tables import table

    table(console, columns, rows)


def _machine() -> dict[str, Any]:
    from p2pdo.benchmarks.machine import described

    return described()
