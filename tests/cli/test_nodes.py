"""`p2pdo nodes`, beside a coordinator in this process."""

import asyncio
import shlex
import socket
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


@pytest.mark.parametrize(
    "words",
    [
        ("ls",),
        ("nodes", "--json"),
        ("show", "k3v9x2aa", "--links"),
        ("stop", "k3v9x2aa", "--reason", "too long"),
        ("watch", "k3v9x2aa"),
        ("results", "k3v9x2aa"),
        ("submit", "quadratic", "--nodes", "3"),
    ],
    ids=lambda words: words[0],
)
def test_who_does_not_say_which_coordinator_is_shown_the_command_that_does(
    call: Call, words: tuple[str, ...]
) -> None:
    told = call(*words, *([] if "--json" in words else ["--json"]))
    assert told.code == 2
    assert "which coordinator?" in told.error["message"]
    command, _, setting = told.error["hint"].partition(", or for all commands: ")
    program, *said = shlex.split(command)
    assert program == "p2pdo"
    assert tuple(said[: len(words)]) == words
    # it is a command that gets as far as the network, and so is the setting
    name, _, address = setting.removeprefix("export ").partition("=")
    assert name == "P2PDO_COORDINATOR"
    assert said[-2:] == ["--coordinator", address]
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        free = f"127.0.0.1:{nobody.getsockname()[1]}"
        assert call(*said[:-1], free).error["code"] == "unreachable"
