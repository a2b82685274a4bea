"""A node's workplace as its configuration has it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from p2pdo.node.configuration.building import build_with
from p2pdo.node.configuration.findings import Findings
from p2pdo.node.configuration.offering import offers_with
from p2pdo.node.configuration.reading import Source
from p2pdo.node.site import Provider, Services, default_executors
from p2pdo.node.workplace import Workplace


def configured(source: Source) -> Provider:
    """What `run_node` is given to offer what the file says."""

    @contextlib.asynccontextmanager
    async def provide(services: Services) -> AsyncIterator[Workplace]:
        found = Findings(source)
        async with default_executors(services, offers_with(found)) as base:
            workplace = build_with(found, base, services.state / "logs")
            found.check()
            yield workplace

    return provide
