"""Values that are lost on purpose: what a user may ask for, and of which algorithms.

0.1       each value is lost with this probability, independently of all others
0.1:5     the same share, in bursts of five iterations on average
"""

from __future__ import annotations

from typing import Any

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.base import Algorithm, Missing
from p2pdo.errors import ConfigError
from p2pdo.protocol.drops import Drops, bursts, uniform

EXECUTORS = ("dense", "simulated", "inprocess")
"""Where values may be lost; node processes of a workload know nothing of it."""


def read_drops(asked: float | str | None, seed: int) -> Drops | None:
    """What is lost; None where nothing is.

    Raises:
        ConfigError: it is not of the form above.
    """
    rate, colon, length = str(asked or 0).partition(":")
    try:
        share = float(rate)
        drops = bursts(share, float(length), seed) if colon else uniform(share, seed)
    except ValueError:
        raise ConfigError(
            f"'{asked}' is no share of values that are lost",
            hint="--drop 0.1, or in bursts of five iterations on average: --drop 0.1:5",
        ) from None
    return drops if drops.rate else None


def require_policy(algorithm: type[Algorithm[Any]]) -> None:
    """Refuses to lose values of an algorithm that cannot do without them.

    Raises:
        ConfigError: with the names of those that can.
    """
    if algorithm.missing is not Missing.WAIT:
        return
    tolerant = [n for n, a in catalogue.ALGORITHMS.items() if a.missing is not Missing.WAIT]
    raise ConfigError(
        f"{catalogue.name_of(algorithm)} waits for every value and has no rule for one that never "
        "arrives",
        hint=f"--link-loss P loses what is sent again; these go on: {', '.join(tolerant)}",
    )


def check_dropping(drops: Drops | None, executor: str) -> None:
    """Refuses to lose values where nobody would.

    Raises:
        ConfigError: with the executors that do.
    """
    if drops is not None and executor not in EXECUTORS:
        raise ConfigError(
            f"values cannot be lost on {executor}", hint=f"--on {', '.join(EXECUTORS)}"
        )
