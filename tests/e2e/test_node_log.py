"""What the operator of a site reads on the stderr of p2pdo-node."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import p2pdo
from p2pdo.coordinator.serving import serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

SITE = """
import p2pdo

class Trainer(p2pdo.Executor):
    @p2pdo.task
    def train(self, task, context):
        context.log.info("trained on %s rows", task.payload)

    @p2pdo.task
    def fail(self, task):
        raise KeyError("age")

class Worker(p2pdo.Executor):
    @p2pdo.task
    def speak(self, task):
        print("from a worker")
"""
CONFIG = """
[node]
name = "a"
coordinator = "{address}"
state = "state"
insecure = true
python_path = ["."]

[executors.trainer]
path = "logged_site:Trainer"

[executors.worker]
path = "logged_site:Worker"
processes = 1
"""


async def test_it_has_what_handlers_log_and_why_tasks_failed(tmp_path: Path) -> None:
    (tmp_path / "logged_site.py").write_text(SITE)
    async with serving(tmp_path / "coordinator", "127.0.0.1:0") as address:
        (tmp_path / "p2pdo.toml").write_text(CONFIG.format(address=address))
        node = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "p2pdo.node", "--config", "p2pdo.toml"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert node.stdout is not None
            assert b"has joined" in await node.stdout.readline()
            async with p2pdo.connect(address) as net, net.driver() as tasks:
                for name in ("train", "fail", "speak", "nosuch"):
                    await tasks.send_and_wait(name, 7, to="a", deadline=60)
                workload = tasks.workload_id
            node.terminate()
            _, stderr = await asyncio.wait_for(node.communicate(), 30)
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    log = stderr.decode()
    lines = log.splitlines()
    assert [line for line in lines if f"INFO {workload} " in line and "trained on 7 rows" in line]
    assert [line for line in lines if "[rank 0] from a worker" in line]
    assert [line for line in lines if f"{workload} " in line and "task 'fail' failed" in line]
    assert "KeyError: 'age'" in lines  # with its traceback
    assert log.count("Traceback") == 1, "what p2pdo refuses itself needs none"
    assert [line for line in lines if "nobody at this node handles task 'nosuch'" in line]
