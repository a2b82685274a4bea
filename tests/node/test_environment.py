"""The settings of a node process: each is asked of a real one whether it took effect."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NODE = textwrap.dedent("""
    import asyncio, ctypes, json, os, sys
    import p2pdo.node.daemon as daemon

    class Usage(ctypes.Structure):  # mallinfo2
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    async def probe(*_):
        import numpy as np
        from p2pdo.transports import rpc

        async with rpc.make_channel("127.0.0.1:1") as channel:  # gRPC reads what it reads
            channel.get_state(try_to_connect=True)
        found = {"loop": type(asyncio.get_running_loop()).__module__}
        found["environ"] = {k: v for k, v in os.environ.items() if k.startswith("GRPC_")}
        usage = getattr(ctypes.CDLL(None), "mallinfo2", None)
        if usage is not None:
            usage.restype = Usage
            a = np.empty(1 << 26, np.uint8)
            found["mapped"] = usage().hblkhd
            del a
            found["kept"] = usage().fordblks
        daemon._provider(None)
        found["imported"] = sorted({name.partition(".")[0] for name in sys.modules})
        print(json.dumps(found))
        return 0

    daemon._run = probe
    sys.argv = "p2pdo-node --coordinator 127.0.0.1:1 --name a --state . --insecure".split()
    daemon.main()
""")


def node_process(**environ: str) -> tuple[dict[str, Any], str]:
    """What a node process has found of itself, and its stderr."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GRPC_")}
    ended = subprocess.run(
        [sys.executable, "-c", NODE],
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr


def test_a_node_runs_with_the_settings_that_were_measured() -> None:
    found, _ = node_process()
    assert found["loop"].startswith("uvloop")
    assert found["environ"] == {
        "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "GRPC_VERBOSITY": "NONE",
    }


def test_grpc_knows_the_experiments_that_are_switched_off() -> None:
    _, said = node_process(GRPC_VERBOSITY="ERROR")
    assert "nknown experiment" not in said
    _, said = node_process(GRPC_VERBOSITY="ERROR", GRPC_EXPERIMENTS="-no_such_experiment")
    assert "nknown experiment" in said, "gRPC no longer tells of those that it does not know"


def test_what_the_user_has_set_stays() -> None:
    found, _ = node_process(GRPC_EXPERIMENTS="")
    assert found["environ"]["GRPC_EXPERIMENTS"] == ""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_kept() -> None:
    found, _ = node_process()
    assert found["mapped"] < 1 << 26, "64 MB were mapped"
    assert found["kept"] >= 1 << 26, "64 MB went back to the system"


def test_a_node_without_a_file_imports_nothing_that_only_files_and_launchers_need() -> None:
    found, _ = node_process()
    assert "grpc" in found["imported"]
    heavy = {"pydantic", "networkx", "scipy", "sklearn", "rich", "matplotlib", "torch", "jax"}
    assert not heavy & set(found["imported"])
