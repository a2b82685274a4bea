"""kill -9 of a node among daemons that were started by hand: no launcher watches over them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from started_daemons import BIN, Network, network_of

import p2pdo
from p2pdo.errors import P2pdoError

pytestmark = pytest.mark.e2e

NAMES = ["n0", "n1", "n2", "n3"]
NOTICED_WITHIN = 15.0
ELSEWHERE = """
from p2pdo.transports.shared_memory import futex
futex.is_available = lambda: False
"""
"""What makes a node one of a machine that shares no memory with others."""


@contextlib.contextmanager
def nodes_of(
    network: Network, folder: Path, elsewhere: list[str]
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    (folder / "sitecustomize.py").write_text(ELSEWHERE)
    found: dict[str, subprocess.Popen[str]] = {}
    try:
        for name in NAMES:
            env = dict(os.environ)
            if name in elsewhere:
                env["PYTHONPATH"] = f"{folder}{os.pathsep}{env.get('PYTHONPATH', '')}"
            where = ["--coordinator", network.address, "--name", name, "--state", folder / name]
            found[name] = subprocess.Popen(
                [BIN / "p2pdo-node", *map(str, where), "--insecure"],
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
        for process in found.values():
            assert process.stdout is not None
            assert "has joined" in process.stdout.readline()
        yield found
    finally:
        for process in found.values():
            process.kill()
            process.communicate()


def lanes_of(network: Network, workload: str) -> dict[frozenset[str], str]:
    links = network.data("show", workload, "--links")["links"]
    return {frozenset((link["node"], link["neighbour"])): link["lane"] for link in links}


async def killed_at_work(
    folder: Path, lane: str, elsewhere: list[str], victim: str
) -> tuple[P2pdoError, dict[frozenset[str], str]]:
    """What whoever submitted is told; and the lane between each two nodes."""
    with network_of([], folder) as network, nodes_of(network, folder, elsewhere) as nodes:
        shared = set(Path("/dev/shm").iterdir())  # noqa: S108, ASYNC240
        async with p2pdo.connect(network.address) as net:
            settings = {"nodes": NAMES, "rounds": 10**8, "observe_every": 10, "lane": lane}
            run = await net.submit("gradient-tracking", "quadratic", **settings)
            async for metric in run.metrics():
                if metric.iteration >= 100:
                    break
            lanes = await asyncio.to_thread(lanes_of, network, run.workload_id)
            nodes[victim].kill()
            async with asyncio.timeout(NOTICED_WITHIN):
                with pytest.raises(P2pdoError) as told:
                    await run.result()
            up = {node.name for node in await net.client.nodes() if node.state == "up"}
            assert up >= {*NAMES} - {victim}
        assert set(Path("/dev/shm").iterdir()) <= shared  # noqa: S108, ASYNC240
    return told.value, lanes


@pytest.mark.parametrize(
    ("lane", "elsewhere", "victim"),
    [
        pytest.param("shared-memory", [], "n0", marks=pytest.mark.slow),
        pytest.param("grpc", [], "n0", marks=pytest.mark.slow),
        pytest.param("auto", ["n3"], "n0", marks=pytest.mark.slow, id="mixed-n0"),
        *(
            pytest.param("auto", ["n3"], name, marks=pytest.mark.full, id=f"mixed-{name}")
            for name in NAMES[1:]
        ),
    ],
)
def test_who_died_is_told_whatever_lane_its_neighbours_had(
    tmp_path: Path, lane: str, elsewhere: list[str], victim: str
) -> None:
    told, lanes = asyncio.run(killed_at_work(tmp_path, lane, elsewhere, victim))

    assert told.node == victim
    assert told.iteration is not None
    assert told.iteration >= 100
    expected = {
        frozenset((a, b)): "grpc" if lane == "grpc" or {a, b} & {*elsewhere} else "shared-memory"
        for a, b in zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True)
    }
    assert lanes == expected
