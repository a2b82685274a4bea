"""A network with weather: seeded delays, duplicates and cut links, in virtual time.

A link keeps the order of its frames, as a stream does; different links do not keep each other's.
A cut loses all that is on the link; when it heals the sessions greet again and send again what
was lost. The same seed makes the same weather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from p2pdo.protocol.frames import Frame
from p2pdo.transports.memory import MemoryNetwork
from p2pdo.types import NodeId


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is.

    Attributes:
        delay: mean of the exponential delay of a frame, in (virtual) seconds.
        duplicate: probability that a frame is delivered twice.
        cut: probability, per frame, that its link is cut under it.
        outage: how long a cut link stays down, in (virtual) seconds.
    """

    delay: float = 0.01
    duplicate: float = 0.0
    cut: float = 0.0
    outage: float = 0.5


class SimulatedNetwork(MemoryNetwork):
    """The memory network under a weather."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__()
        self.cuts = 0
        self._rng = np.random.default_rng([seed, 4])
        self._weather = weather
        self._clear_at: dict[tuple[NodeId, NodeId], float] = {}  # keeps a link's order
        self._life: dict[frozenset[NodeId], int] = {}  # + 1 at each cut; odd while down

    def deliver(self, sender: NodeId, receiver: NodeId, frame: Frame) -> None:
        link = frozenset((sender, receiver))
        life = self._life.get(link, 0)
        if life % 2:  # down: lost
            return
        if self._weather.cut and self._rng.random() < self._weather.cut:
            self._cut(sender, receiver)
            return
        copies = 2 if self._rng.random() < self._weather.duplicate else 1
        for _ in range(copies):
            self._post(self._delay(sender, receiver), self._arrival(sender, receiver, frame, life))

    def _delay(self, sender: NodeId, receiver: NodeId) -> float:
        now = asyncio.get_running_loop().time()
        arrival = now + float(self._rng.exponential(self._weather.delay))
        arrival = max(arrival, self._clear_at.get((sender, receiver), 0.0) + 1e-9)
        self._clear_at[sender, receiver] = arrival
        return arrival - now

    def _arrival(
        self, sender: NodeId, receiver: NodeId, frame: Frame, life: int
    ) -> Callable[[], None]:
        link = frozenset((sender, receiver))

        def arrive() -> None:
            if self._life.get(link, 0) == life:
                self.member(receiver).receive(sender, frame)

        return arrive

    def _cut(self, a: NodeId, b: NodeId) -> None:
        link = frozenset((a, b))
        self.cuts += 1
        self._life[link] = self._life.get(link, 0) + 1
        self.member(a).link_down(b)
        self.member(b).link_down(a)
        self._post(self._weather.outage, lambda: self._heal(a, b))

    def _heal(self, a: NodeId, b: NodeId) -> None:
        self._life[frozenset((a, b))] += 1
        self.member(a).link_up(b)
        self.member(b).link_up(a)
