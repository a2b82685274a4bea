"""The options of asynchronous algorithms."""

from __future__ import annotations

import click

from p2pdo.cli.options import F, group

NAMES = ("max_staleness", "activation")

max_staleness = click.option(
    "--max-staleness",
    type=int,
    metavar="B",
    help="Wake-ups by which a node of an asynchronous algorithm may be ahead of what it last heard "
    "of a neighbour.  [default: 4]",
)

_activation = click.option(
    "--activation",
    metavar="WHO",
    help="Simulated: who wakes when: poisson:rate=20,3=2 (20 times a second, node 3 twice), "
    "markov:fails=0.1,recovers=0.5,every=50ms (edges come and go), cyclic:at_once=2,every=50ms.  "
    "[default: who has heard enough, as on a real network]",
)


def asynchrony(function: F) -> F:
    """All of them, for a run on this machine."""
    return group([max_staleness, _activation], "Asynchronous algorithms")(function)
