"""What a site offers: the executors of a node, and the services that they need on its server.

A provider is an async context manager over the node's `Services`. Before it yields it may
register gRPC handlers on `server`, which starts after that; inside its block it may keep tasks
and connections of its own; what it yields is the workplace that workloads find.

    @contextlib.asynccontextmanager
    async def my_site(services: Services) -> AsyncIterator[Workplace]:
        async with default_executors(services) as base:
            yield replace(base, executors={**base.executors, "statistics": make_statistics})

    await run_node(settings, my_site)
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc.aio

from p2pdo.node.control import Control
from p2pdo.node.executors import Executor, ExecutorFactory, WorkloadContext
from p2pdo.node.messages import Mailroom
from p2pdo.node.offers import Offers
from p2pdo.node.optimization import Site, optimization
from p2pdo.node.workplace import Workplace
from p2pdo.protocol.tasks_of_runs import (
    CONFIG,
    EXECUTOR as OPTIMIZATION,
    PARTICIPANT_EXECUTOR as PARTICIPANT,
    RUN,
    RUN_PARTICIPANT,
)
from p2pdo.transports.peers import PeerLinks
from p2pdo.types import NodeId


@dataclass(frozen=True)
class Services:
    """What a node gives to whoever provides its executors.

    Attributes:
        address: where peers dial this node, HOST:PORT.
        state: the folder for what must outlive the process.
        token: what every connection of this run shows; None without one.
        allow_code: whether a workload may name code by module and path: a local run only.
        keep_states: whether final states never leave this site.
        value_limit: bytes of one value that this node takes from a peer.
        server: takes handlers until the provider yields.
        control: for metrics and states.
    """

    name: str
    address: str
    state: Path
    token: str | None
    allow_code: bool
    keep_states: bool
    value_limit: int
    server: grpc.aio.Server
    control: Control


TASKS: Mapping[str, str] = {
    CONFIG: OPTIMIZATION,  # both have one; this is the site's
    RUN: OPTIMIZATION,
    RUN_PARTICIPANT: PARTICIPANT,
}

Provider: TypeAlias = Callable[[Services], AbstractAsyncContextManager[Workplace]]


@contextlib.asynccontextmanager
async def default_executors(
    services: Services, offers: Offers | None = None
) -> AsyncIterator[Workplace]:
    """The executors that p2pdo brings."""
    boot_id = services.control.identity.boot_id
    mailroom = Mailroom(services.control, services.token)
    async with (
        mailroom.running(),
        PeerLinks(
            NodeId(services.name),
            boot_id,
            services.token,
            value_limit=services.value_limit,
            host=services.control.host,
        ) as links,
    ):
        links.register(services.server)
        mailroom.register(services.server)
        site = Site(
            links,
            services.control,
            services.token,
            services.state,
            services.allow_code,
            offers or Offers(),
        )
        yield Workplace(
            {OPTIMIZATION: optimization(site), PARTICIPANT: _participation(site)},
            tasks=TASKS,
            messages=mailroom,
        )


def _participation(site: Site) -> ExecutorFactory:
    """The factory of this node's `participant` executors; the first one brings what they need."""

    def make(context: WorkloadContext) -> Executor:
        from p2pdo.node.participation import Participating

        return Participating(site, context)

    return make
