"""The plan of an asynchronous run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.errors import ConfigError
from p2pdo.protocol.plan import Plan

MAX_STALENESS = 4
ACTIVATION = "poisson"


@dataclass(frozen=True, kw_only=True)
class Asynchrony:
    """How nodes drift apart, and in what weather a simulated network has them.

    Attributes:
        max_staleness: wake-ups by which a node may be ahead of what it last heard of a neighbour.
        delay: mean of the exponential delays of a simulated network, in the activation's unit of
            time: by default the mean time between two wake-ups of a node.
        drop: probability that a simulated network loses a message.
        duplicate: probability that it delivers one twice.
        activation: who wakes when on a simulated network; see `simulation.activation.reading`.
    """

    max_staleness: int = MAX_STALENESS
    delay: float = 0.5
    drop: float = 0.0
    duplicate: float = 0.0
    activation: str = ACTIVATION

    def __post_init__(self) -> None:
        """Refuses what is out of range.

        Raises:
            ConfigError: says which.
        """
        if self.max_staleness < 1:
            raise ConfigError(
                f"max_staleness must be one or more, got {self.max_staleness}",
                hint=f"--max-staleness {MAX_STALENESS}",
            )
        if not (math.isfinite(self.delay) and self.delay >= 0):
            raise ConfigError(f"delay must be zero or more, got {self.delay}", hint="--delay 0.5")
        for name in ("drop", "duplicate"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ConfigError(f"{name} must lie in [0, 1), got {share}", hint=f"--{name} 0.1")


@dataclass(frozen=True, eq=False)
class AsynchronousPlan(Plan):
    """One run of an asynchronous algorithm; `rounds` and `observe_every` count a node's wake-ups.

    It is a plan in all that is reported of it. What runs rounds has no use for it, and is not
    given it.
    """

    algorithm: AsynchronousAlgorithm[Any]  # type: ignore[assignment]
    asynchrony: Asynchrony = field(default_factory=Asynchrony)
