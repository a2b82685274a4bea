"""Participants on nodes that were started by hand, by the names under which sites know them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.api.remote import RemoteNetwork
from p2pdo.coordinator.serving import serving
from p2pdo.errors import ConfigError, P2pdoError, WorkloadStopped
from p2pdo.node.offers import Offers
from p2pdo.node.run import NodeSettings, Stop, run_node
from p2pdo.node.site import Services, default_executors
from p2pdo.node.workplace import Workplace
from p2pdo.reporting.run_folder import RunFolder

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

LIMIT = 60


@p2pdo.participant
def average(me: Any, *, start: float = 1.0) -> Any:
    x = np.full(3, start * me.node)
    for _ in me.rounds():
        x = me.mix(x)
        me.log(mean=x.mean())
        me.record(x=x)
    return {"x": x.tolist()}


@p2pdo.participant
def stubborn(me: Any) -> None:
    """Goes on computing for a while when its workload is over, and swallows what it is told."""
    for _ in me.rounds():
        with contextlib.suppress(P2pdoError):
            me.mix(0.0)
        if me.aborted:
            raise RuntimeError("gives up at last")


INSTALLED: Mapping[str, Any] = {
    "average": average,
    "again": f"{__file__}:average",
    "stubborn": stubborn,
}


@contextlib.asynccontextmanager
async def site(services: Services) -> AsyncIterator[Workplace]:
    async with default_executors(services, Offers(participants=INSTALLED)) as workplace:
        yield workplace


@contextlib.asynccontextmanager
async def network(tmp_path: Path, nodes: str = "abc") -> AsyncIterator[RemoteNetwork]:
    async with (
        asyncio.timeout(LIMIT),
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        asyncio.TaskGroup() as group,
        p2pdo.connect(address) as net,
    ):
        stop = Stop()
        up = asyncio.Semaphore(0)
        for name in nodes:
            settings = NodeSettings(address, name, tmp_path / name, insecure=True)
            group.create_task(run_node(settings, site, stop=stop, ready=lambda _: up.release()))
        for _ in nodes:
            await up.acquire()
        try:
            yield net
        finally:
            stop.ask()


async def test_a_participant_runs_by_its_name_and_its_history_stays(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        run = await net.submit(
            "average", nodes=["a", "b", "c"], rounds=40, record="x", parameters={"start": 2.0}
        )
        folder = RunFolder.create(tmp_path / "out", run.workload_id)
        async with run.kept_in(folder):
            result = await run.result()
        again = await net.run(run.workload_id)
        assert (await again.result()).results == result.results
    assert list(result.results) == ["a", "b", "c"]
    for node in "abc":
        assert result.results[node]["x"] == pytest.approx([2.0] * 3)  # type: ignore[index,call-overload]
        (history,) = (tmp_path / node).glob("workloads/*/history.npz")
        with np.load(history) as kept:
            assert kept["x"].shape == (40, 3)
    assert result.summary.iterations == 40
    assert result.summary.executor == "daemons"
    assert result.metrics[-1].iteration == 40
    assert result.metrics[-1].logged["mean"] == pytest.approx({"a": 2.0, "b": 2.0, "c": 2.0})
    assert folder.read_summary().algorithm == "average"
    assert folder.read_metrics()[-1].logged == result.metrics[-1].logged


async def test_what_a_site_has_not_installed_or_cannot_call_fails_with_its_name(
    tmp_path: Path,
) -> None:
    async with network(tmp_path, "ab") as net:
        for name, parameters, says in (
            ("averag", {}, "this site has no participant 'averag'"),
            ("average", {"stat": 1}, "average has no parameter 'stat'"),
        ):
            run = await net.submit(name, nodes=2, rounds=5, parameters=parameters)
            with pytest.raises(P2pdoError, match=says) as failure:
                await run.result()
            assert failure.value.node in ("a", "b")
            assert "average" in str(failure.value.hint) + failure.value.message
        with pytest.raises(ConfigError, match=r"participant\.where is refused"):
            await net.client.submit(
                {"kind": "participant", "participant": {"name": "x", "where": "os:x"}}, "r"
            )
        with pytest.raises(ConfigError, match="brings its data itself"):
            await net.submit(average, "quadratic", nodes=2)


async def test_a_site_without_participants_says_where_they_are_named(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        running_nodes(["a"], address, tmp_path, executors={}),
        p2pdo.connect(address) as net,
    ):
        run = await net.submit("train", nodes=1, rounds=5)
        with pytest.raises(ConfigError, match="this site has no participant 'train'") as failure:
            await run.result()
        assert "[participants] in its p2pdo.toml" in str(failure.value.hint)


async def test_what_is_asked_of_a_closed_connection_is_told(tmp_path: Path) -> None:
    async with network(tmp_path, "a") as net:
        address = net.client.address
        async with p2pdo.connect(address) as other:
            run = await other.submit("again", nodes=1, rounds=2)
        with pytest.raises(ConfigError, match=f"the coordinator at {address} was closed") as told:
            await run.result()
        assert "inside of: async with p2pdo.connect" in str(told.value.hint)


async def test_a_stopped_run_ends_and_its_nodes_take_the_next(tmp_path: Path) -> None:
    async with network(tmp_path, "ab") as net:
        run = await net.submit("stubborn", nodes=2, rounds=10**9)
        async for _ in run.metrics():
            break
        assert await run.stop("enough") == "stopped"
        with pytest.raises(WorkloadStopped, match="enough"):
            await run.result()
        following = await net.submit("average", nodes=2, rounds=3)
        assert (await following.result()).summary.iterations == 3


async def test_a_participant_by_its_place_is_imported_by_the_site(tmp_path: Path) -> None:
    async with network(tmp_path, "a") as net:
        run = await net.submit("again", nodes=1, rounds=2)
        assert (await run.result()).results["a"] == {"x": [0.0] * 3}
