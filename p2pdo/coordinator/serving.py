"""A coordinator, opened and closed: its store, its desk, its controllers and its gRPC face.

The store comes first and goes last, because whatever is told must be on disk. When it can no longer
be written, the block that serves ends with that error.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from p2pdo.coordinator.controlling import Controlling
from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.files import Files
from p2pdo.coordinator.rows import read_everything
from p2pdo.coordinator.service import Service
from p2pdo.coordinator.settings import Settings
from p2pdo.coordinator.store import open_store, telling_damage
from p2pdo.runtime.groups import task_group
from p2pdo.transports import rpc
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.wire.v1 import coordinator_pb2_grpc as wire_grpc


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    address: str,
    *,
    token: str | None = None,
    settings: Settings | None = None,
    grace: float = 1.0,
    host: Host = THIS_HOST,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[str]:
    """A coordinator on this state directory for as long as the block lasts; gives its address.

    Leaving the block drains: no new calls, those in progress have `grace` seconds, and what was
    promised is on disk.

    Raises:
        Conflict: the address or the state directory is in use.
        ConfigError: the state directory cannot be used, or what is in it is damaged.
        P2pdoError: out of the block, when the state can no longer be written.
    """
    settings = settings or Settings()
    loop = asyncio.get_running_loop()
    store = await asyncio.to_thread(open_store, folder, host)
    files = Files(folder, host)
    try:
        with telling_damage(folder):
            kept = await asyncio.to_thread(store.read, read_everything)
            desk = Desk(kept, store, settings, loop, wall)
        broken: asyncio.Future[None] = loop.create_future()
        store.start(on_broken=broken.set_exception)
        controlling = Controlling(desk, settings.controllers, token, host)
        service = Service(store, desk, files, settings, controlling)
        server = host.server(token)
        wire_grpc.add_CoordinatorServicer_to_server(service, server)
        bound = rpc.bind(server, address)
        await server.start()
        try:
            async with _ends_with(broken), controlling.running(bound):
                yield bound
        finally:
            service.close()
            await server.stop(grace)
    finally:
        files.close()
        await asyncio.to_thread(store.close)


@contextlib.asynccontextmanager
async def _ends_with(broken: asyncio.Future[None]) -> AsyncIterator[None]:
    """Cancels the block and raises when `broken` gets its exception."""

    async def wait() -> None:
        await broken

    async with task_group() as group:
        waiting = group.create_task(wait(), name="store")
        yield
        waiting.cancel()
