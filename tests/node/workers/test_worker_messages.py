"""Messages are the same whether an executor runs in its node or in worker processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talking_site

import p2pdo

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
HELPERS = Path(talking_site.__file__).parent


@pytest.fixture(params=[0, 2], ids=["in the node", "in 2 processes"])
def processes(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@contextlib.asynccontextmanager
async def driving(
    folder: Path, processes: int, *, redact: bool = False
) -> AsyncIterator[p2pdo.Tasks]:
    """Two nodes at which the executor is at work."""
    config = folder / "p2pdo.toml"
    config.write_text(
        f"""
[node]
python_path = ["{HELPERS}"]
[executors.talker]
path = "talking_site:Talker"
processes = {processes}
[policy]
redact = {str(redact).lower()}
"""
    )
    async with p2pdo.local(nodes=2, config=config) as net, net.driver() as tasks:
        for result in await tasks.broadcast_and_wait("everybody"):
            assert result.unwrap() == ["node-0", "node-1"]
        yield tasks


async def asked(tasks: p2pdo.Tasks, topic: str, task: str = "ask", **how: Any) -> Any:
    """What node 1 answers node 0."""
    question = {"targets": ["node-1"], "topic": topic, **how}
    replies = (await tasks.send_and_wait(task, question, to="node-0")).unwrap()
    return replies["node-1"]


@pytest.mark.parametrize("task", ["ask", "ask_from_thread"])
async def test_every_answer_and_every_failure_comes_back(
    processes: int, task: str, tmp_path: Path
) -> None:
    async with driving(tmp_path, processes) as tasks:
        rows = await asked(tasks, "rows", task, value=np.arange(2.0))
        np.testing.assert_array_equal(rows, [1.0, 2.0])
        rank = "0" if processes else None
        assert await asked(tasks, "who", task) == ["node-0", rank]
        failed = await asked(tasks, "fail", task)
        assert failed.startswith("task-failed: ValueError: no such column")
        assert await asked(tasks, "refuse", task) == "error: not for you (ask nicely)"
        unknown = await asked(tasks, "rosw", task)
        assert unknown.startswith("not-found: nobody at node-1 answers 'rosw'")
        assert "did you mean 'rows'" in unknown
        assert "SystemExit: 3" in await asked(tasks, "leave", task)
        assert "no plain data" in await asked(tasks, "object", task)
        late = await asked(tasks, "silent", task, value=str(tmp_path / "there"), timeout=0.3)
        assert late.startswith("deadline: node-1 did not reply within 0.3 s")
        stranger = {"targets": ["node-9"], "topic": "rows"}
        (told,) = (await tasks.send_and_wait(task, stranger, to="node-0")).unwrap().values()
        assert told.startswith("not-found: node-9 takes no part in workload")
        assert await asked(tasks, "who", task) == ["node-0", rank], "nobody has died of all that"


@pytest.mark.parametrize(
    ("kind", "words"), [("large", "bytes, more than 4194304"), ("set", "cannot travel as JSON")]
)
async def test_what_cannot_travel_is_refused(
    processes: int, kind: str, words: str, tmp_path: Path
) -> None:
    async with driving(tmp_path, processes) as tasks:
        result = await tasks.send_and_wait("ask_wrongly", kind, to="node-0")
        assert words in str(result.error)


@pytest.mark.parametrize("topic", ["release", "release_on_loop"])
async def test_who_computes_still_answers(processes: int, topic: str, tmp_path: Path) -> None:
    async with driving(tmp_path, processes) as tasks:
        computing = await tasks.send("compute", to="node-1")
        if processes:  # the other rank is released by nobody's message, and computes its time
            assert await asked(tasks, topic) is True
            await tasks.abort([computing], "seen")
        else:
            assert await asked(tasks, topic) is True
            assert (await computing).unwrap() is True


async def test_a_topic_of_run_time_is_answered_and_its_events_are_heard(
    processes: int, tmp_path: Path
) -> None:
    async with driving(tmp_path, processes) as tasks:
        await tasks.broadcast_and_wait("listen")
        assert await asked(tasks, "own", value=21) == 42
        heard = (await tasks.send_and_wait("what_was_heard", to="node-1")).unwrap()
        assert heard == ["doubled"] * (processes or 1), "every rank of node 0 has asked"


async def test_a_coroutine_that_would_wait_for_itself_is_told(
    processes: int, tmp_path: Path
) -> None:
    async with driving(tmp_path, processes) as tasks:
        question = {"targets": ["node-1"], "topic": "who"}
        result = await tasks.send_and_wait("ask_on_the_loop", question, to="node-0")
        assert "context.ask was called in a coroutine" in str(result.error)


@pytest.mark.parametrize("task", ["ask", "ask_from_thread"])
async def test_an_abort_ends_who_waits_for_an_answer(
    processes: int, task: str, tmp_path: Path
) -> None:
    async with driving(tmp_path, processes) as tasks:
        there = tmp_path / "there"
        question = {"targets": ["node-1"], "topic": "silent", "value": str(there), "timeout": 3600}
        asking = await tasks.send(task, question, to="node-0")
        result = await tasks.send_and_wait("everybody", to="node-1")
        assert result.is_ok
        await tasks.abort([asking], "enough")
        assert (await asking).status == "aborted"
        assert (await asked(tasks, "who"))[0] == "node-0"


async def test_a_site_that_redacts_keeps_the_words(processes: int, tmp_path: Path) -> None:
    async with driving(tmp_path, processes, redact=True) as tasks:
        told = await asked(tasks, "fail")
        assert "ValueError" in told
        assert "column" not in told


async def test_workers_that_die_of_a_message_fail_it_and_the_next_task_has_new_ones(
    tmp_path: Path,
) -> None:
    async with driving(tmp_path, 2) as tasks:
        told = await asked(tasks, "die")
        assert "worker processes of executor 'talker' have ended" in told
        assert (await tasks.send_and_wait("everybody", to="node-1")).is_ok
        assert await asked(tasks, "who") == ["node-0", "0"]


async def test_workers_that_start_are_waited_for_by_who_asks(tmp_path: Path) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text(
        f"""
[node]
python_path = ["{HELPERS}"]
[executors.talker]
path = "talking_site:Talker"
processes = 1
"""
    )
    async with p2pdo.local(nodes=2, config=config) as net, net.driver() as tasks:
        question = {"targets": ["node-1"], "topic": "who", "timeout": 30.0}
        late = await tasks.send("everybody", to="node-1")
        replies = await tasks.send_and_wait("ask", question, to="node-0")
        assert replies.unwrap() == {"node-1": ["node-0", "0"]}
        assert (await late).is_ok
        assert not [task for task in asyncio.all_tasks() if "of executor" in task.get_name()]
