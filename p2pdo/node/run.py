"""A node from its start to its end.

    bind ─▶ providers register ─▶ server starts ─▶ join ─▶ ready ─▶ serve ─▶ drain ─▶ leave

The server listens before the node joins, because a neighbour may dial as soon as the coordinator
tells our address. The first wish to stop drains: no new work, and the node stays until nobody
needs it. The second one ends it now: whatever is open is answered "node NAME was told to stop".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from p2pdo.node.control import Control
from p2pdo.node.control_words import Identity, Pull
from p2pdo.node.lead_client import LeadClient
from p2pdo.node.site import Provider, Services, default_executors
from p2pdo.node.state_folder import held
from p2pdo.node.workplace import Workplace
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host

_LAST_WORDS = 2.0  # seconds for the last report and the goodbye of a node that is told to stop now


@dataclass(frozen=True)
class NodeSettings:
    """What a node is started with; see the flags of p2pdo-node."""

    coordinator: str
    name: str
    state: Path
    listen: str = "127.0.0.1:0"
    advertise: str | None = None  # where neighbours dial it, if that is somewhere else
    insecure: bool = False
    pull: Pull = field(default_factory=Pull)
    keep_states: bool = False
    value_limit: int = 1 << 30
    connect_timeout: float = 10.0
    token: str | None = None
    allow_code: bool = False


class Stop:
    """The wish that a node ends: `drain`, then `now`."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Once: when nobody needs the node. Twice: now."""
        if self.drain.is_set():
            self.now.set()
        self.drain.set()


async def run_node(
    settings: NodeSettings,
    provide: Provider = default_executors,
    *,
    stop: Stop | None = None,
    ready: Callable[[str], None] = lambda _address: None,
    host: Host = THIS_HOST,
) -> None:
    """Runs a node until `stop`; `ready` is told its address once it has joined.

    Raises:
        ConfigError: plaintext is not allowed there, or the state folder cannot be written to.
        Unreachable: no coordinator within `connect_timeout`.
        Conflict: the address, the name or the state folder is taken.
    """
    stop = stop or Stop()
    rpc.require_plaintext_allowed(settings.coordinator, insecure=settings.insecure)
    rpc.require_plaintext_allowed(settings.listen, insecure=settings.insecure)
    if settings.advertise is not None:
        rpc.require_plaintext_allowed(settings.advertise, insecure=settings.insecure)
    with held(settings.state):
        await _run_held(settings, provide, stop, ready, host)


async def _run_held(
    settings: NodeSettings, provide: Provider, stop: Stop, ready: Callable[[str], None], host: Host
) -> None:
    server = host.server(settings.token)
    address = rpc.bind(server, settings.listen)
    dialled = settings.advertise or address
    identity = Identity(
        settings.name, dialled, return_states=not settings.keep_states, boot_id=host.fresh_id()
    )
    control = Control(
        settings.coordinator, identity, token=settings.token, pull=settings.pull, host=host
    )
    services = Services(
        name=settings.name,
        address=address,
        state=settings.state,
        token=settings.token,
        allow_code=settings.allow_code,
        keep_states=settings.keep_states,
        value_limit=settings.value_limit,
        server=server,
        control=control,
    )
    async with (
        _started(server, provide(services)) as workplace,
        control.joined(timeout=settings.connect_timeout),
        LeadClient(
            settings.name, workplace, grant=control.grant, report=control.report, host=host
        ).running() as lead,
    ):
        ready(address)
        await _serve(settings.name, control, lead, stop)
        await control.leave(timeout=_LAST_WORDS)


async def _serve(name: str, control: Control, lead: LeadClient, stop: Stop) -> None:
    """Takes orders until the node is drained or told to stop now."""
    async with task_group() as group:
        serving = group.create_task(control.serve(lead), name="control")
        await stop.drain.wait()
        draining = group.create_task(lead.drain(), name="drain")
        control.credit_changed()
        told_now = group.create_task(stop.now.wait(), name="stop")
        await asyncio.wait({draining, told_now}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            lead.stop(f"node {name} was told to stop")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await lead.flushed()
        for task in (serving, draining, told_now):
            task.cancel()


@contextlib.asynccontextmanager
async def _started(
    server: grpc.aio.Server,
    provider: contextlib.AbstractAsyncContextManager[Workplace],
) -> AsyncIterator[Workplace]:
    try:
        async with provider as workplace:  # peers' streams end with it, before the server does
            await server.start()
            yield workplace
    finally:
        await server.stop(None)
