"""`p2pdo nodes`, beside a coordinator in this process."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pdo.coordinator.serving import serving
from p2pdo.transports import rpc
from p2pdo.wire.v1 import coordinator_pb2 as wire, coordinator_pb2_grpc as wire_grpc

Call = Callable[..., Any]


async def join(address: str, name: str, default_credit: int) -> None:
    """A node that has said how much new work it takes."""
    async with rpc.make_channel(address) as channel:
        stub: Any = wire_grpc.CoordinatorStub(channel)
        await stub.Join(wire.JoinRequest(node=name, boot_id="b", address="x:1", version="1"))
        await stub.Poll(
            wire.TasksRequest(node=name, boot_id="b", credit={}, default_credit=default_credit)
        )


@pytest.mark.asyncio
async def test_a_node_that_drains_is_shown_as_draining(call: Call, tmp_path: Path) -> None:
    async with serving(tmp_path / "state", "127.0.0.1:0", grace=0.1) as address:
        await join(address, "lyon", default_credit=4)
        await join(address, "oslo", default_credit=0)
        asked = ("nodes", "--coordinator", address)
        data = (await asyncio.to_thread(call, *asked, "--json")).data
        assert [(node["name"], node["state"]) for node in data] == [
            ("lyon", "up"),
            ("oslo", "draining"),
        ]
        _, lyon, oslo = (await asyncio.to_thread(call, *asked)).stdout.splitlines()
        assert lyon.split()[:2] == ["lyon", "up"]
        assert oslo.split()[:2] == ["oslo", "draining"]
