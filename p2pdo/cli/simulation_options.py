"""Options of runs whose network is simulated, or that lose values on purpose."""

from __future__ import annotations

import click

from p2pdo.cli.options import F, group

_OPTIONS = (
    click.option(
        "--drop",
        metavar="P[:B]",
        help="Share of values that never arrive, in bursts of B iterations on average; for "
        "algorithms that go on without. On dense, inprocess and simulated.",
    ),
    click.option(
        "--links",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="links.toml: delays, bandwidth, losses, stragglers, … of a simulated network.",
    ),
    click.option(
        "--link-delay",
        metavar="T",
        help="Of a frame on every simulated link: 20ms, lognormal:20ms,0.3, exponential:20ms.",
    ),
    click.option(
        "--link-loss",
        type=float,
        metavar="P",
        help="Share of frames that simulated links lose and send again: costs time alone.",
    ),
    click.option(
        "--compute",
        metavar="T",
        help="How long an iteration takes on a simulated node: 5ms, lognormal:5ms,0.3, measured.",
    ),
    click.option(
        "--delay-seed",
        type=int,
        default=0,
        show_default=True,
        metavar="S",
        help="Of a simulated network's weather.",
    ),
)


def simulation(function: F) -> F:
    """Adds them."""
    return group(_OPTIONS, "Bad and simulated networks")(function)
