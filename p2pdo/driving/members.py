"""The nodes that a workload of tasks goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2pdo.driving.client import Client
from p2pdo.errors import NotEnoughNodes


async def find_members(
    client: Client, nodes: Sequence[str], roles: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The nodes that are named, those of the roles included; all that are up where none are.

    Raises:
        NotEnoughNodes: none is named, and none is up.
    """
    named = list(dict.fromkeys([*nodes, *(n for role in roles.values() for n in role["nodes"])]))
    found = named or [node.name for node in await client.nodes() if node.state == "up"]
    if not found:
        raise NotEnoughNodes("no node is up", hint="start one with p2pdo-node")
    return found
