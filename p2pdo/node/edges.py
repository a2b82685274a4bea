"""A workload's edges at this node: the place that it was assigned, and the ways to its neighbours.

They are opened by the `config` task and stay until the workload ends, also when this node is done:
slower neighbours still need what it has sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pdo.effects import Row
from p2pdo.errors import ConfigError
from p2pdo.protocol.exchanging import Place
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports.peers import PeerLinks
from p2pdo.transports.shared_memory.lane import shared_memory
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
            Row(tuple((j, weight) for j, weight in payload["row"])),
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


class Edges:
    """One workload's; `exchanger` is None before they are opened and after they are closed."""

    def __init__(self, links: PeerLinks, workload: WorkloadId) -> None:
        self.exchanger: Exchanger | None = None
        self._links = links
        self._workload = workload

    def open(self, config: Assigned) -> None:
        """Opens them, and offers a lane to neighbours on this host.

        Raises:
            ConfigError: a lane is asked for that this host does not have.
        """
        asked = config.spec["lane"]
        lane = None if asked == "grpc" else shared_memory(config.place.node)
        if asked == "shared-memory" and lane is None:
            raise ConfigError(
                f"{config.place.name} has no shared memory lane: it takes Linux on x86-64",
                hint="--lane auto takes gRPC where there is none",
                node=config.place.name,
            )
        self.exchanger = Exchanger(
            config.place, config.names, config.digest, lane, forced=asked == "shared-memory"
        )
        self.exchanger.connect(self._links.open(self._workload, self.exchanger, config.addresses))

    def close(self) -> None:
        if self.exchanger is not None:
            self.exchanger.close("the workload has ended")
        self._links.close(self._workload)
        self.exchanger = None
