"""The network inside one process: frames are handed over by reference, in order, on the loop.

What is sent was frozen, so sharing it is safe. This is a transport and not a mock: the sessions,
rounds and drivers above it are the ones that run over gRPC. `deliver` is the seam where a
simulated network puts delays, duplicates and cuts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from p2pdo.protocol.frames import Frame
from p2pdo.runtime.exchange import Exchanger
from p2pdo.types import NodeId


class MemoryNetwork:
    """Links between the members of one workload."""

    def __init__(self) -> None:
        self._members: dict[NodeId, Exchanger] = {}

    def join(self, name: NodeId, member: Exchanger) -> None:
        """Connects a member; its links come up with those who are there already."""
        self._members[name] = member
        member.connect(_MemoryWire(self, name))
        for peer in member.peers:
            other = self._members.get(peer)
            if other is not None:
                self._post(0.0, lambda peer=peer: member.link_up(peer))  # type: ignore[misc]
                self._post(0.0, lambda other=other: other.link_up(name))  # type: ignore[misc]

    def member(self, name: NodeId) -> Exchanger:
        return self._members[name]

    def deliver(self, sender: NodeId, receiver: NodeId, frame: Frame) -> None:
        """Hands one frame over, at the loop's next turn."""
        self._post(0.0, lambda: self._members[receiver].receive(sender, frame))

    @staticmethod
    def _post(delay: float, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if delay > 0:
            loop.call_later(delay, call)
        else:
            loop.call_soon(call)


class _MemoryWire:
    def __init__(self, network: MemoryNetwork, sender: NodeId) -> None:
        self._network = network
        self._sender = sender

    def send(self, peer: NodeId, frame: Frame) -> None:
        self._network.deliver(self._sender, peer, frame)
