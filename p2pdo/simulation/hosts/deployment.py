"""A coordinator and its nodes on simulated hosts, each a process that can be killed and started.

    async with Deployment(seed, folder, ["a", "b", "c"]).running() as network:
        async with network.client() as client:
            workload = await client.submit(spec, "request")
            network.kill("b")
            network.start_node("b")

A process ends as the daemon's would: by itself with an error, or killed, with all that it had in
memory. What it has on disk is in its folder, and is there at its next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from p2pdo.coordinator.serving import serving
from p2pdo.coordinator.settings import Settings
from p2pdo.driving.client import Client
from p2pdo.errors import P2pdoError
from p2pdo.node.run import NodeSettings, run_node
from p2pdo.node.site import Provider, default_executors
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.simulation.hosts.endpoints import Ports
from p2pdo.simulation.hosts.loop import HostsLoop
from p2pdo.simulation.hosts.machine import SimulatedHost
from p2pdo.simulation.hosts.network import HostNetwork
from p2pdo.simulation.links.weather import Weather

T = TypeVar("T")

COORDINATOR = "coordinator"
USER = "user"
ADDRESS = "127.0.0.1:7443"


@dataclass(eq=False)
class Process:
    """One start of one daemon.

    Attributes:
        is_ready: set when it serves, or has joined.
        error: with what it ended by itself.
    """

    host: SimulatedHost
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    error: P2pdoError | None = None

    @property
    def is_running(self) -> bool:
        return self.host.is_alive and self.task is not None and not self.task.done()


class Deployment:
    """Processes on simulated hosts, by name.

    Attributes:
        network: between the hosts.
        bugs: what no daemon should ever end with.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        nodes: Sequence[str],
        *,
        weather: Weather | None = None,
        settings: Settings | None = None,
        provide: Provider = default_executors,
        computing: float = 0.0005,
        disk: float = 0.002,
    ) -> None:
        """`computing` and `disk`: mean seconds of one computation, and of one commit."""
        self.network = HostNetwork(seed, weather)
        self.bugs: list[BaseException] = []
        self.nodes = list(nodes)
        self._folder = folder
        self._settings = settings or Settings()
        self._provide = provide
        self._times = {"computing": computing, "disk": disk}
        self._ports = Ports()
        self._starts: dict[str, int] = {}
        self._processes: dict[str, Process] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Deployment]:
        """Coordinator and nodes run, and all nodes have joined; everything is killed at the end."""
        try:
            self.start_coordinator()
            await self._processes[COORDINATOR].is_ready.wait()
            for name in self.nodes:
                self.start_node(name)
            for name in self.nodes:
                await self._processes[name].is_ready.wait()
            yield self
        finally:
            for name in list(self._processes):
                self.kill(name)
            for process in self._processes.values():
                assert process.task is not None, "started"
                await asyncio.wait([process.task])
            self.bugs += self._ports.bugs

    def process(self, name: str) -> Process:
        return self._processes[name]

    def start_coordinator(self) -> None:
        """Starts it; after a kill, on what its disk has kept."""

        async def coordinate(process: Process) -> None:
            wall = asyncio.get_running_loop().time
            folder = self._folder / COORDINATOR
            async with serving(
                folder, ADDRESS, settings=self._settings, host=process.host, wall=wall
            ):
                process.is_ready.set()
                await asyncio.get_running_loop().create_future()  # until it is killed

        self._start(COORDINATOR, coordinate)

    def start_node(self, name: str, **settings: Any) -> None:
        """Starts a node, under a boot id of its own."""

        async def node(process: Process) -> None:
            given = NodeSettings(ADDRESS, name, self._folder / name, insecure=True, **settings)
            await run_node(
                given,
                self._provide,
                ready=lambda _address: process.is_ready.set(),
                host=process.host,
            )

        self._start(name, node)

    def kill(self, name: str) -> None:
        """Ends a process as kill -9 does."""
        process = self._processes[name]
        if process.is_running:
            process.host.kill()
            assert process.task is not None, "it runs"
            process.task.cancel()

    def client(self) -> Client:
        """A user's, on a host of its own."""
        return Client(ADDRESS, host=self._host(USER))

    def _host(self, name: str) -> SimulatedHost:
        start = self._starts[name] = self._starts.get(name, 0) + 1
        return SimulatedHost(self.network, self._ports, name, start, **self._times)

    def _start(self, name: str, run: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        before = self._processes.get(name)
        process = self._processes[name] = Process(self._host(name))
        work = self._live(process, run, before)
        process.task = asyncio.get_running_loop().create_task(work, name=f"process {name}")

    async def _live(
        self,
        process: Process,
        run: Callable[[Process], Coroutine[Any, Any, None]],
        before: Process | None,
    ) -> None:
        if before is not None and before.task is not None:
            await asyncio.wait([before.task])  # what the system would have cleared up at once
        self.network.trace.add("start", process.host.name)
        try:
            await run(process)
        except P2pdoError as error:
            process.error = error
        except Exception as bug:  # noqa: BLE001 - a daemon that ends so has one; it is shown
            if process.host.is_alive:
                self.bugs.append(bug)


def run_hosts(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs `main()` in a loop of simulated hosts.

    Raises:
        Deadlock: every task waits and nothing will wake one.
    """
    limit_blas_threads()
    collects = gc.isenabled()
    gc.disable()  # what it finds when depends on all that was allocated, and may end a generator
    try:
        with asyncio.Runner(loop_factory=lambda: HostsLoop(seed)) as runner:
            return runner.run(main())
    finally:
        if collects:
            gc.enable()
