"""Conditions: all that is assumed of the links and the nodes of one simulated run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from p2pdo.simulation.links.compute import ComputeTime
from p2pdo.simulation.links.silences import Crash, Freeze, Interval, Partition, Schedule
from p2pdo.simulation.links.weather import Weather

WEATHER_STREAM = 4
"""All generators are made from (seed, this, which of these, …): no other is."""
LINK, FREEZING, COMPUTING = range(3)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the product bears silence, in seconds; its own figures unless others are tried.

    Attributes:
        lease: a node that stands still for so long is given up by the coordinator.
        keepalive: a link on which nothing has come through for so long is cut.
        grace: a cut link that is not back after so long ends the run.
    """

    lease: float = 10.0
    keepalive: float = 15.0
    grace: float = 8.0


@dataclass(frozen=True)
class Conditions:
    """What happens on a simulated network.

    Attributes:
        weather: of every link.
        edges: that of a link which has its own, by (sender, receiver).
        compute: how long an iteration takes; nothing unless something is said.
        freezes: when nodes stand still.
        partitions: when groups of nodes cannot hear each other.
        crashes: when nodes are gone.
        patience: how long silence is borne.
    """

    weather: Weather = field(default_factory=Weather)
    edges: Mapping[tuple[int, int], Weather] = field(default_factory=dict)
    compute: ComputeTime = field(default_factory=ComputeTime)
    freezes: Sequence[Freeze] = ()
    partitions: Sequence[Partition] = ()
    patience: Patience = field(default_factory=Patience)
    crashes: Sequence[Crash] = ()

    def planned(self) -> dict[str, list[float]]:
        """When what is said with its time is to begin, in seconds: of each node, and partition."""
        frozen = [freeze for freeze in self.freezes if freeze.every is None]
        return {
            "crashes": [crash.at for crash in self.crashes for _ in crash.nodes],
            "freezes": [freeze.at for freeze in frozen for _ in freeze.nodes],
            "partitions": [partition.at for partition in self.partitions],
        }

    def of(self, sender: int, receiver: int) -> Weather:
        return self.edges.get((sender, receiver), self.weather)

    def frozen(self, node: int, seed: int) -> Schedule:
        """When the node stands still, or is gone."""
        frozen = [
            freeze.intervals(np.random.default_rng([seed, WEATHER_STREAM, FREEZING, node, k]))
            for k, freeze in enumerate(self.freezes)
            if node in freeze.nodes
        ]
        return Schedule([*frozen, *(iter([gone]) for gone in self.gone(node))])

    def gone(self, node: int) -> list[Interval]:
        """When the node has crashed."""
        return [crash.interval for crash in self.crashes if node in crash.nodes]

    def parted(self, a: int, b: int) -> Schedule:
        """When nothing comes through between the two."""
        return Schedule([iter([p.interval]) for p in self.partitions if p.parts(a, b)])


def conditions_of(given: Weather | Conditions | None) -> Conditions:
    """The conditions of a weather alone are that weather on every link."""
    return given if isinstance(given, Conditions) else Conditions(given or Weather())
