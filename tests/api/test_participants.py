"""Participants submitted to a local network."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.data.catalogue import build_all
from p2pdo.errors import ConfigError, P2pdoError, WorkloadFailed, WorkloadStopped
from p2pdo.problems import Quadratic

LIMIT = 60
STEP = 0.01
PROCESSES = pytest.param("processes", marks=[pytest.mark.e2e, pytest.mark.slow])


@p2pdo.participant
def descend(me: Any, *, step: float = STEP) -> Any:
    """dgd, as a loop of one's own."""
    cost = build_all("least-squares", me.nodes, "iid", 0, dtype="float64", parameters={})[me.node]
    x = np.zeros(cost.dimension)
    for _ in me.rounds():
        mixed = me.mix(x)
        x = mixed - step * cost.gradient(x)
        me.log(loss=cost.value(x))
        me.record(x=x)
    return x.tolist()


@p2pdo.participant
def endless(me: Any) -> None:
    for _ in me.rounds():
        me.mix(0.0)


@p2pdo.participant
def walk(me: Any, *, fails_at: int = -1) -> Any:
    x = np.zeros(2)
    me.restore(x=x)
    for k in me.rounds():
        x[:] = me.mix(x) + me.rng.standard_normal(2)
        me.checkpoint(x=x)
        if (me.node, k) == (1, fails_at):
            raise ValueError("power failure")
    return x.tolist()


def reference(rounds: int) -> list[list[float]]:
    result = p2pdo.run(
        "least-squares", nodes=4, algorithm="dgd", parameters={"step_size": STEP}, rounds=rounds
    )
    return [x.tolist() for x in result.states]


async def run(participant: Any, on: str = "inprocess", nodes: int = 4, **settings: Any) -> Any:
    state = settings.pop("state", None)
    async with asyncio.timeout(LIMIT), p2pdo.local(nodes, on=on, state=state) as net:
        submitted = await net.submit(participant, **settings)
        return await submitted.result()


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["inprocess", "simulated", PROCESSES])
async def test_everywhere_it_has_the_bits_of_the_algorithm(on: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = await run(descend, on, rounds=30, record="x", out=out)
    assert list(result.results) == [f"node-{i}" for i in range(4)]
    assert list(result.results.values()) == await asyncio.to_thread(reference, 30)
    summary = result.summary
    assert (summary.iterations, summary.algorithm, summary.status) == (30, "descend", "done")
    assert (summary.gap, summary.optimum, summary.state_sha256) == (None, None, None)
    assert summary.messages_sent == 4 * 2 * 30
    assert [metric.iteration for metric in result.metrics] == list(range(1, 31))
    losses = result.metrics[-1].logged["loss"]
    assert list(losses) == [f"node-{i}" for i in range(4)]
    assert json.loads((out / "results.json").read_text()) == dict(result.results)
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert told[-1]["logged"]["loss"] == losses
    (history,) = (out / "nodes/node-3").glob("workloads/*/history.npz")
    with np.load(history) as kept:
        assert kept["x"].shape[0] == 30
        assert kept["x"][-1].tolist() == result.results["node-3"]
    assert not (out / ".work").exists()


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["inprocess", PROCESSES])
async def test_a_second_run_goes_on_from_the_first(on: str, tmp_path: Path) -> None:
    whole = await run(walk, rounds=30)
    named: dict[str, Any] = {"rounds": 30, "checkpoints": "walk", "state": tmp_path / "sites"}
    with pytest.raises(WorkloadFailed, match="ValueError: power failure") as failure:
        await run(walk, on, parameters={"fails_at": 20}, **named)
    assert (failure.value.node, failure.value.iteration) == ("node-1", 20)
    assert "test_participants.py, line" in str(failure.value.hint)
    rest = await run(walk, on, **named)
    assert rest.results == whole.results
    assert rest.metrics[0].iteration > 15


OWN = f"""
[participants]
tell = "{__file__}:tell"

[problems]
own = "{__file__}:own"

[workloads.tell.parameters]
b = 20

[workloads.own.parameters]
scale = 3.0

[workloads.quadratic.parameters]
dimension = 7

[allow]
algorithms = ["dgd", "gradient-tracking"]
problems = ["own", "quadratic"]
"""


@p2pdo.participant
def tell(me: Any, *, a: int = 1, b: int = 2) -> Any:
    for _ in me.rounds():
        me.mix(0.0)
    return [a, b]


def own(node: int, nodes: int, partition: str, seed: int, dtype: str, *, scale: float = 1) -> Any:
    return Quadratic(np.eye(2, dtype=dtype), np.full(2, scale * node, dtype))


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["inprocess", "simulated", PROCESSES])
async def test_what_the_site_sets_itself_wins_locally_as_on_a_network(
    on: str, tmp_path: Path
) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text(OWN)
    async with asyncio.timeout(LIMIT), p2pdo.local(3, on=on, config=config) as net:
        for participant in (tell, "tell"):
            submitted = await net.submit(participant, rounds=1, parameters={"a": 10, "b": 11})
            assert (await submitted.result()).results == {f"node-{i}": [10, 20] for i in range(3)}
        mean = await (await net.submit("dgd", "own", rounds=300)).result()
        np.testing.assert_allclose(np.mean(mean.states, axis=0), [3.0, 3.0], atol=1e-6)
        large = await net.submit("dgd", "quadratic", rounds=1, parameters={"problem.dimension": 4})
        assert (await large.result()).states[0].shape == (7,)
        with pytest.raises(ConfigError, match="does not allow 'extra'"):
            await net.submit("extra", "own", rounds=1)
        with pytest.raises(ConfigError, match="does not allow 'wine'"):
            await net.submit("dgd", "wine", rounds=1)


@pytest.mark.asyncio
async def test_what_the_site_sets_and_the_participant_does_not_take_is_told(
    tmp_path: Path,
) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text("[workloads.tell.parameters]\nc = 1\n")
    async with p2pdo.local(2, config=config) as net:
        with pytest.raises(ConfigError, match="tell has no parameter 'c'"):
            await net.submit(tell, rounds=1)


@pytest.mark.asyncio
async def test_a_run_that_is_stopped_ends_its_threads() -> None:
    async with asyncio.timeout(LIMIT), p2pdo.local(3) as net:
        submitted = await net.submit(endless, rounds=10**9)
        async for _ in submitted.metrics():
            break
        await submitted.stop("enough")
        with pytest.raises(WorkloadStopped, match="enough"):
            await submitted.result()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("node-")]
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


@pytest.mark.asyncio
@pytest.mark.e2e
@pytest.mark.slow
async def test_a_node_that_is_killed_ends_the_run_with_its_name() -> None:
    async with asyncio.timeout(LIMIT), p2pdo.local(3, processes=True) as net:
        submitted = await net.submit(endless, rounds=10**9)
        async for _ in submitted.metrics():
            break
        pids = {event.get("process"): event.get("pid") for event in submitted.folder.read_events()}
        os.kill(int(str(pids["node-1"])), signal.SIGKILL)
        with pytest.raises(WorkloadFailed, match=r"node-1 died \(killed by SIGKILL\)") as failure:
            await submitted.result()
    assert failure.value.node == "node-1"


@pytest.mark.asyncio
async def test_long_work_sees_that_its_workload_is_over_without_asking() -> None:
    began, seen = threading.Event(), threading.Event()

    def computes(me: Any) -> None:
        for _ in me.rounds():
            began.set()
            while not me.aborted:
                threading.Event().wait(0.001)
            seen.set()

    async with asyncio.timeout(LIMIT), p2pdo.local(1) as net:
        submitted = await net.submit(p2pdo.participant(computes), rounds=1)
        await asyncio.to_thread(began.wait, LIMIT)
        await submitted.stop()
        assert seen.is_set()


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["dense", "stacked"])
async def test_lock_step_is_refused_with_the_reason(on: str) -> None:
    with pytest.raises(ConfigError, match="owns its loop"):
        await run(descend, on)


@pytest.mark.asyncio
async def test_what_cannot_be_imported_again_is_refused_with_the_remedy() -> None:
    here = p2pdo.participant(lambda me: None)
    with pytest.raises(ConfigError) as failure:
        await run(here, "processes")
    assert "put it into a file" in str(failure.value.hint)
    assert (await run(here)).results == dict.fromkeys([f"node-{i}" for i in range(4)])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"parameters": {"stepp": 1}}, "descend has no parameter 'stepp'"),
        ({"parameters": {"step": np.zeros(2)}}, "'step' of descend holds something of type"),
        ({"rounds": -1}, "rounds"),
        ({"checkpoints": "../x"}, "checkpoints"),
        ({"problems": "quadratic"}, "given problems too"),
    ],
)
async def test_mistakes_are_told_before_anything_starts(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(P2pdoError, match=says):
        await run(descend, **settings)


def test_what_is_no_participant_is_refused() -> None:
    async def late(me: Any) -> None: ...

    for odd in (late, 3, print):
        with pytest.raises(ConfigError, match="no plain function"):
            p2pdo.participant(odd)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="cannot be called as"):
        p2pdo.participant(lambda: None).bind({})
    with pytest.raises(ConfigError, match="encode without decode"):
        p2pdo.participant(encode=list)(lambda me: None)
    needy = p2pdo.participant(lambda me, *, lr: None)
    with pytest.raises(ConfigError, match="needs its parameter 'lr'"):
        needy.bind({})
    assert needy.bind({"lr": 1}) == {"lr": 1}
    assert needy("me", lr=2) is None
