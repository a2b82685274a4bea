"""Files of a site's configuration, and what a workplace made of one does."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from p2pdo.errors import ConfigError
from p2pdo.node.client import ClientActor
from p2pdo.node.configuration.showing import checked
from p2pdo.node.workplace import SITE, Workplace
from p2pdo.protocol.handed import Result, Task
from p2pdo.types import TaskId, WorkloadId

HERE = Path(__file__).parents[1] / "node" / "configuration"

GOOD = f"""
[node]
name = "ward-1"
state = "here"
python_path = ["{HERE}"]

[policy]
redact = true

[allow]
problems = ["cost"]

[site]
clinic = "north"

[components.store]
path = "ward:Store"

[executors.trainer]
path = "ward:Trainer"
args = {{ column = "age" }}

[[task_data_filters]]
path = "ward:Double"
tasks = ["train"]

[[handlers]]
events = ["AFTER_TASK"]
path = "ward:listen"

[problems]
cost = "ward:cost"

[workloads.cost.parameters]
a = 7.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "p2pdo.toml"
    path.write_text(textwrap.dedent(text))
    return path


def mistakes_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(path)
    return caught.value.message


async def perform(workplace: Workplace, *tasks: tuple[str, Any]) -> list[Any]:
    """What a fresh workload's tasks come to."""
    import asyncio

    results: asyncio.Queue[Result] = asyncio.Queue()
    client = ClientActor(
        "n1",
        WorkloadId("w"),
        SITE,
        workplace,
        took=lambda _: None,
        finished=results.put_nowait,
        inbox=8,
    )
    async with client.running() as ref, asyncio.timeout(20):
        for number, (name, payload) in enumerate(tasks):
            await ref.tell(
                Task(TaskId(f"w-{number}"), WorkloadId("w"), SITE, name, number, 1, payload)
            )
        return [json.loads((await results.get()).payload) for _ in tasks]
