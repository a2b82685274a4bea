"""A simulated host: one start of one process, which can be killed at any moment.

Threads answer in seeded time, the disk takes time to commit, and what it has not committed when
the host is killed is lost; files are real.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import grpc.aio

from p2pdo.errors import LocalProtocolError
from p2pdo.runtime.backoff import Backoff
from p2pdo.runtime.batches import Batches, Work
from p2pdo.runtime.compute import Compute
from p2pdo.simulation.hosts.endpoints import Ports, SimulatedChannel, SimulatedServer
from p2pdo.simulation.hosts.loop import HostsLoop
from p2pdo.simulation.hosts.network import HostNetwork

T = TypeVar("T")


class SimulatedHost:
    """`transports.host.Host`, for one process.

    Attributes:
        name: of the host, the same at every start.
        is_alive: until it is killed.
    """

    def __init__(
        self,
        network: HostNetwork,
        ports: Ports,
        name: str,
        start: int = 1,
        *,
        computing: float = 0.0,
        disk: float = 0.0,
    ) -> None:
        """`computing` and `disk`: mean seconds of one computation, and of one commit."""
        self.name = name
        self.is_alive = True
        self._network = network
        self._ports = ports
        self._computing = computing
        self._disk = disk
        self._rng = random.Random(f"{network.seed} {name} {start}")  # noqa: S311 - a simulation's
        self._servers: list[SimulatedServer] = []

    def kill(self) -> None:
        """Nothing comes from it any more, and what is not on its disk is lost."""
        self._network.trace.add("kill", self.name)
        self.is_alive = False
        for server in self._servers:
            server.die()
        self._network.silence(self.name)

    def server(self, token: str | None) -> grpc.aio.Server:
        server = SimulatedServer(self._network, self._ports, self.name, token)
        self._servers.append(server)
        return cast("grpc.aio.Server", server)

    def channel(self, address: str) -> grpc.aio.Channel:
        channel = SimulatedChannel(
            self._network, self._ports, self.name, address, lambda: self.is_alive
        )
        return cast("grpc.aio.Channel", channel)

    def compute(self, name: str, *, idle: float = 30.0) -> Compute:  # noqa: ARG002 - of threads
        return _Compute(name, lambda: self._taking(self._computing))

    def batches(self, name: str, work: Work[T]) -> Batches[T]:  # noqa: ARG002 - of threads
        return _Disk(self, lambda: self._taking(self._disk), work)

    def backoff(self) -> Backoff:
        return Backoff(rng=self._rng)

    def fresh_id(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"

    def _taking(self, mean: float) -> float:
        return self._rng.expovariate(1 / mean) if mean else 0.0


class _Compute:
    """One thread: it computes at once, and answers in order and in its time."""

    def __init__(self, name: str, taking: Callable[[], float]) -> None:
        self._name = name
        self._taking = taking
        self._free_at = 0.0
        self._is_closed = False

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        if self._is_closed:
            raise LocalProtocolError(f"{self._name}: computing after close")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HostsLoop)
        self._free_at = max(self._free_at, loop.time()) + self._taking()
        return await loop.later(self._free_at - loop.time(), _thread(function), *args)

    def close(self) -> None:
        self._is_closed = True


def _thread(function: Callable[..., T]) -> Callable[..., T]:
    """What would kill a thread or cannot cross a future is an error of the caller's."""

    def call(*args: Any) -> T:
        try:
            return function(*args)
        except StopIteration as stop:
            raise LocalProtocolError(f"StopIteration({stop.value!r}) left a computation") from stop

    return call


class _Disk(Generic[T]):
    """Commits what has come while it was busy, all at once."""

    def __init__(self, host: SimulatedHost, taking: Callable[[], float], work: Work[T]) -> None:
        self._host = host
        self._taking = taking
        self._work = work
        self._waiting: list[T] = []

    def start(self) -> None:
        pass

    def put(self, item: T, /) -> None:
        self._waiting.append(item)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(self._taking(), self.close)

    def close(self) -> None:
        """All that was put in is done, unless the host is dead."""
        batch, self._waiting = self._waiting, []
        if batch and self._host.is_alive:
            self._work(batch)
