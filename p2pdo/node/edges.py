"""A workload's edges at this node: the place that it was assigned, and the ways to its neighbours.

They are opened by the `config` task and stay until the workload ends, also when this node is done:
slower neighbours still need what it has sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from p2pdo.errors import ConfigError
from p2pdo.graphs.schedules import row_from_plain
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.masking import SHARE
from p2pdo.runtime.asynchronous import Mailbox
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.timeline import TimedExchanger, Timeline
from p2pdo.transports.peers import PeerLinks
from p2pdo.transports.shared_memory.lane import SharedMemoryLane, shared_memory
from p2pdo.transports.shared_memory.timed import TimedLane
from p2pdo.types import NodeId, WorkloadId


@dataclass(frozen=True, slots=True)
class Assigned:
    """The `config` task's payload: the place in the topology, and the run's settings."""

    place: Place
    nodes: int
    names: Mapping[int, NodeId]
    addresses: Mapping[NodeId, str]
    digest: bytes
    spec: Mapping[str, Any]

    @classmethod
    def parse(cls, payload: Any) -> Assigned:
        neighbors = {int(j): peer for j, peer in payload["neighbors"].items()}
        names = {j: NodeId(peer["name"]) for j, peer in neighbors.items()}
        place = Place(
            payload["index"],
            payload["name"],
            tuple(payload["in_neighbors"]),
            tuple(payload["out_neighbors"]),
            row_from_plain(payload["row"], payload.get("varying")),
            names,
        )
        return cls(
            place,
            payload["nodes"],
            names,
            {NodeId(peer["name"]): peer["address"] for peer in neighbors.values()},
            bytes.fromhex(payload["digest"]),
            payload,
        )

    @property
    def monitor_every(self) -> int | None:
        """Iterations between looks of the monitor at this run; None: nobody looks."""
        every: int | None = self.spec.get("monitor")  # a participant keeps nothing
        return every


class Edges:
    """One workload's; `exchanger` is None before they are opened and after they are closed."""

    def __init__(self, links: PeerLinks, workload: WorkloadId) -> None:
        self.exchanger: Exchanger | None = None
        self._links = links
        self._workload = workload

    def open(self, config: Assigned, timeline: Timeline | None = None) -> None:
        """Opens them, and offers a lane to neighbours on this host.

        Under a monitor a secret is agreed with each neighbour.
        With a timeline, what is sent and waited for is kept there.

        Raises:
            ConfigError: a lane is asked for that this host does not have.
        """
        asked = config.spec["lane"]
        lane_of: Callable[[int], SharedMemoryLane] = SharedMemoryLane
        exchanger_of: Callable[..., Exchanger] = Exchanger
        if timeline is not None:
            lane_of = partial(TimedLane, timeline=timeline)
            exchanger_of = partial(TimedExchanger, timeline)
        lane = None if asked == "grpc" else shared_memory(config.place.node, lane_of)
        if asked == "shared-memory" and lane is None:
            raise ConfigError(
                f"{config.place.name} has no shared memory lane: it takes Linux on x86-64",
                hint="--lane auto takes gRPC where there is none",
                node=config.place.name,
            )
        forced = asked == "shared-memory"
        draw = partial(secrets.token_bytes, SHARE) if config.monitor_every else None
        exchanger = exchanger_of(
            config.place, config.names, config.digest, lane, forced=forced, draw=draw
        )
        self._connect(exchanger, config)

    def open_asynchronous(self, config: Assigned) -> None:
        """Opens them for messages that belong to no round; these go by gRPC.

        Raises:
            ConfigError: the shared memory lane is asked for.
        """
        if config.spec["lane"] == "shared-memory":
            raise ConfigError(
                "the shared memory lane carries rounds, and an asynchronous algorithm has none",
                hint="--lane auto takes gRPC",
                node=config.place.name,
            )
        self._connect(Mailbox(config.place, config.names, config.digest), config)

    def _connect(self, exchanger: Exchanger, config: Assigned) -> None:
        self.exchanger = exchanger
        exchanger.connect(self._links.open(self._workload, exchanger, config.addresses))

    @property
    def header_bytes(self) -> int:
        """Bytes of gRPC frames around values so far, beside the values' own."""
        return self._links.encoder.headers[self._workload]

    def close(self) -> None:
        if self.exchanger is not None:
            self.exchanger.close("the workload has ended")
        self._links.close(self._workload)
        self._links.encoder.headers.pop(self._workload, None)
        self.exchanger = None
