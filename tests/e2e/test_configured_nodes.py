"""Nodes with a configuration: hooks around an algorithm, own problems, participants, parameters."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.errors import ConfigError

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

HERE = Path(__file__).parent
COMMON = f"""
[node]
python_path = ["{HERE}"]

[components.diary]
path = "ward_code:Diary"

[problems]
private = "ward_code:private"

[participants]
remember = "ward_code:remember"
"""
OWN = """
[allow]
algorithms = ["gradient-tracking"]

[workloads.remember.parameters]
start = 6.0

[workloads.private.parameters]
centre = 3.0
"""


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[p2pdo.RemoteNetwork]:
    """Nodes a and b are alike; c allows less and has parameters of its own."""
    common, own = folder / "common.toml", folder / "own.toml"
    common.write_text(COMMON)
    own.write_text(COMMON + OWN)
    async with (
        serving(folder / "coordinator", "127.0.0.1:0") as address,
        running_nodes(["a", "b"], address, folder, executors={}, config=common),
        running_nodes(["c"], address, folder, executors={}, config=own),
        p2pdo.connect(address) as net,
    ):
        yield net
    sys.path.remove(str(HERE))


async def test_a_configured_network_runs_its_own_code(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        run = await net.submit(
            "gradient-tracking",
            "private",
            nodes=3,
            topology="complete",
            rounds=200,
            return_states=True,
            parameters={"step_size": 0.2},
        )
        x = (await run.result()).x
        np.testing.assert_allclose(x, [2.0, 2.0], atol=1e-9)  # the mean of 0, 1 and 2 + 3
        diary: Any = sys.modules["ward_code"].Diary
        assert sorted(diary.heard) == sorted(
            [(node, "BEFORE_ALGORITHM", 0) for node in "abc"]
            + [(node, "AFTER_ALGORITHM", 200) for node in "abc"]
        )
        taken_part = await net.submit("remember", nodes=3, topology="complete", rounds=50)
        results = (await taken_part.result()).results
        assert [results[node]["start"] for node in "abc"] == [0.0, 0.0, 6.0]
        np.testing.assert_allclose(results["a"]["x"], [2.0, 2.0])


async def call(net: p2pdo.RemoteNetwork, *words: str) -> tuple[int | None, Any]:
    """`p2pdo submit` in a process of its own; its exit code and what it says."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "p2pdo", "submit", *words, "--json"),
        *("--coordinator", net.client.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await child.communicate()
    assert b"Traceback" not in errors
    envelope = json.loads(told) if told else {"error": errors.decode()}
    return child.returncode, envelope.get("data") or envelope["error"]


@pytest.mark.slow
async def test_a_participant_is_submitted_from_the_command_line(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        asked = ["--participant", "remember", "-n", "3", "-t", "complete"]
        code, told = await call(net, *asked, "--rounds", "50", "-s", "start=3.0", "--wait")
        assert code == 0, told
        assert (told["iterations"], told["algorithm"]) == (50, "remember")
        starts = {node: result["start"] for node, result in told["results"].items()}
        assert starts == {"a": 3.0, "b": 3.0, "c": 6.0}, "the site's own value wins"
        code, told = await call(net, *asked, "--wait", "-q")
        assert (code, told["iterations"]) == (0, 100), "the default of participants"
        for words, says in (
            (("quadratic", *asked), "leave quadratic out"),
            ((*asked, "--algorithm", "dgd"), "a participant has no --algorithm"),
            ((*asked, "--settle", "1e-3"), "a participant has no --settle"),
            (("quadratic", "--checkpoints", "mine"), "--checkpoints is for a --participant"),
            ((), "missing argument '[PROBLEM]'"),
        ):
            code, told = await call(net, *words)
            assert code == 2
            assert says in str(told)
        code, told = await call(net, "remember", "-n", "3", "--wait")
        assert code == 3
        assert "p2pdo submit --participant remember" in told["hint"]
        code, told = await call(net, "ward_code.py:remember", "-n", "3")
        assert code == 3
        assert "with --participant in [participants]" in told["hint"]


async def test_what_a_site_does_not_allow_is_refused_with_its_name(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        run = await net.submit("dgd", "private", nodes=3, rounds=10, parameters={"step_size": 0.1})
        with pytest.raises(ConfigError, match="this site does not allow 'dgd'") as caught:
            await run.result()
        assert caught.value.node == "c"
        assert str(caught.value.hint) == "its algorithms: gradient-tracking"
