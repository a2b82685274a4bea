"""Having a controller of the coordinator's drive a workload, and waiting for what it returns.

The controllers themselves are in `controllers`; the coordinator runs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from p2pdo.driving.client import Client
from p2pdo.driving.members import find_members
from p2pdo.driving.patience import follow
from p2pdo.driving.submitting import submit
from p2pdo.errors import from_plain
from p2pdo.types import Plain
from p2pdo.wire.plain import decode_data, parse_plain
from p2pdo.wire.v1 import coordinator_pb2 as pb


async def control(
    client: Client,
    controller: str,
    nodes: Sequence[str] | None,
    *,
    executor: str,
    roles: Mapping[str, Mapping[str, Any]],
    parameters: Mapping[str, Plain],
) -> Any:
    """What a controller of the coordinator's returns, once it has; see `RemoteNetwork.control`."""
    spec: dict[str, Any] = {
        "kind": "tasks",
        "executor": executor,
        "nodes": await find_members(client, nodes or (), roles),
        "roles": {name: dict(role) for name, role in roles.items()},
        "controller": controller,
        "parameters": dict(parameters),
    }
    workload_id = await submit(client, spec, client.host.fresh_id())
    end: pb.Workload | None = None
    async for event in follow(client, workload_id):
        if event.HasField("status"):
            end = event.status
    assert end is not None, "nothing ends without a status"
    if end.error:
        raise from_plain(json.loads(end.error))
    return decode_data(parse_plain(json.loads(end.resolved)["result"]))
