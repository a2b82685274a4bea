"""The options of asynchronous algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from p2pdo.cli.options import F, group

if TYPE_CHECKING:
    from p2pdo.protocol.asynchronous.plan import Asynchrony

NAMES = ("max_staleness", "delay", "duplicate", "activation")

max_staleness = click.option(
    "--max-staleness",
    type=int,
    metavar="B",
    help="Wake-ups by which a node of an asynchronous algorithm may be ahead of what it last heard "
    "of a neighbour.  [default: 4]",
)

_weather = [
    click.option(
        "--delay",
        type=float,
        metavar="T",
        help="Simulated: mean delay of a message, in mean times between two wake-ups of a node.  "
        "[default: 0.5]",
    ),
    click.option("--duplicate", type=float, metavar="P", help="Simulated: a message comes twice."),
    click.option(
        "--activation",
        metavar="WHO",
        help="Simulated: who wakes when: poisson:rate=1,3=0.1 (node 3 is slow), "
        "markov:fails=0.1,recovers=0.5 (edges come and go), cyclic:at_once=2.  [default: poisson]",
    ),
]


def asynchrony(function: F) -> F:
    """All of them, for a run on this machine."""
    return group([max_staleness, *_weather], "Asynchronous algorithms")(function)


def taken_from(asked: dict[str, Any]) -> Asynchrony:
    """Those that were given; they are taken out of `asked`.

    Raises:
        ConfigError: one is out of range.
    """
    from p2pdo.protocol.asynchronous.plan import Asynchrony

    given: Mapping[str, Any] = {name: asked.pop(name) for name in NAMES}
    return Asynchrony(**{name: value for name, value in given.items() if value is not None})


def require_none(given: Asynchrony) -> None:
    """Refuses them in a comparison, whose cells have none of their own.

    Raises:
        ConfigError: some were given.
    """
    from p2pdo.errors import ConfigError
    from p2pdo.protocol.asynchronous.plan import Asynchrony

    if given != Asynchrony():
        raise ConfigError(
            "a comparison runs asynchronous algorithms in the default weather",
            hint="leave --max-staleness, --delay, --duplicate, --activation out, or run one by one",
        )
