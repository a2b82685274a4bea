"""A host: what a daemon has of the machine that it runs on.

Connections, threads and chance, and nothing else of the outside, come to coordinator, nodes and
drivers by the `Host` they are given. `THIS_HOST` is this machine, with gRPC. `simulation.hosts` has
others, on which the same daemons live in one event loop and in virtual time.

Time is the running loop's; what belongs into a file goes there on every host.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import grpc.aio

from p2pdo.runtime.backoff import Backoff
from p2pdo.runtime.batches import Batches, ThreadBatches, Work
from p2pdo.runtime.compute import Compute, ThreadCompute
from p2pdo.transports import rpc

T = TypeVar("T")


class Host(Protocol):
    """What a daemon may use."""

    def server(self, token: str | None) -> grpc.aio.Server:
        """A server that asks every call for the token, where there is one."""
        ...

    def channel(self, address: str) -> grpc.aio.Channel:
        """A way to whoever listens there."""
        ...

    def compute(self, name: str, *, idle: float = 30.0) -> Compute:
        """One thread, for what must not hold the loop up."""
        ...

    def batches(self, name: str, work: Work[T]) -> Batches[T]:
        """One thread, for what is slow and better done for many at once."""
        ...

    def backoff(self) -> Backoff:
        """Waits before further tries, out of step with all others."""
        ...

    def fresh_id(self) -> str:
        """32 hexadecimal digits that nobody else has."""
        ...


@dataclass(frozen=True, slots=True)
class ThisHost:
    """This machine."""

    def server(self, token: str | None) -> grpc.aio.Server:
        return rpc.make_server(token)

    def channel(self, address: str) -> grpc.aio.Channel:
        return rpc.make_channel(address)

    def compute(self, name: str, *, idle: float = 30.0) -> Compute:
        return ThreadCompute(name, idle=idle)

    def batches(self, name: str, work: Work[T]) -> Batches[T]:
        return ThreadBatches(name, work)

    def backoff(self) -> Backoff:
        return Backoff(rng=random.Random())  # noqa: S311 - spreads calls, hides nothing

    def fresh_id(self) -> str:
        return secrets.token_hex(16)


THIS_HOST: Final = ThisHost()
