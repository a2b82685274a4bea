"""The plan of an asynchronous run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.errors import ConfigError
from p2pdo.protocol.plan import Plan

MAX_STALENESS = 4


@dataclass(frozen=True, kw_only=True)
class Asynchrony:
    """How nodes drift apart.

    Attributes:
        max_staleness: wake-ups by which a node may be ahead of what it last heard of a neighbour.
        activation: who wakes when on a simulated network, see `simulation.activation.reading`;
            None: each node when it is due, as on a real one.
    """

    max_staleness: int = MAX_STALENESS
    activation: str | None = None

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


@dataclass(frozen=True, eq=False)
class AsynchronousPlan(Plan):
    """One run of an asynchronous algorithm; `rounds` and `observe_every` count a node's wake-ups.

    It is a plan in all that is reported of it. What runs rounds has no use for it, and is not
    given it. Its `drops` lose messages of an edge, one after the other, where the network is
    simulated.
    """

    algorithm: AsynchronousAlgorithm[Any]  # type: ignore[assignment]
    asynchrony: Asynchrony = field(default_factory=Asynchrony)
