"""What worker processes find in their environment."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from p2pdo.node.workers.settings import environment_of, find_gpus, parse_gpu_list, reserve_port

WHOLE = """\
GPU 0: NVIDIA H200 (UUID: GPU-1f)
GPU 1: NVIDIA H200 (UUID: GPU-2f)
"""
CUT_UP = """\
GPU 0: NVIDIA H200 (UUID: GPU-1f)
  MIG 3g.71gb     Device  0: (UUID: MIG-a)
  MIG 3g.71gb     Device  1: (UUID: MIG-b)
GPU 1: NVIDIA H200 (UUID: GPU-2f)
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [("", []), ("No devices found.\n", []), (WHOLE, ["0", "1"]), (CUT_UP, ["MIG-a", "MIG-b", "1"])],
)
def test_a_list_of_gpus_is_read(text: str, names: list[str]) -> None:
    assert parse_gpu_list(text) == names


@pytest.mark.parametrize(
    ("visible", "names"), [("", []), ("3", ["3"]), ("2, 0", ["2", "0"]), ("GPU-1f", ["GPU-1f"])]
)
@pytest.mark.asyncio
async def test_the_gpus_that_the_node_may_see_are_all(visible: str, names: list[str]) -> None:
    assert await find_gpus({"CUDA_VISIBLE_DEVICES": visible}) == names


@pytest.mark.parametrize(
    ("script", "names"), [(f"cat <<END\n{WHOLE}END", ["0", "1"]), ("exit 9", [])]
)
@pytest.mark.asyncio
async def test_nvidia_smi_is_asked(
    script: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert await find_gpus({}) == names


def test_each_rank_sees_one_gpu_and_more_ranks_share_them() -> None:
    def seen(rank: int, gpus: list[str]) -> str | None:
        environment = environment_of(rank, 3, port=1, gpus=gpus, threads=1)
        return environment.get("CUDA_VISIBLE_DEVICES")

    assert [seen(rank, ["4", "MIG-a"]) for rank in range(3)] == ["4", "MIG-a", "4"]
    assert seen(0, []) == os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize("is_ipv6", [False, True])
def test_a_reserved_port_is_rank_0s_alone(is_ipv6: bool) -> None:
    family, host = (socket.AF_INET6, "::") if is_ipv6 else (socket.AF_INET, "127.0.0.1")
    with reserve_port() as keeper:
        port = keeper.getsockname()[1]
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with socket.create_server((host, port), family=family, dualstack_ipv6=is_ipv6) as store:
            socket.create_connection(("127.0.0.1", port)).close()
            store.accept()[0].close()
