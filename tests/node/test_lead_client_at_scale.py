"""A hundred clients on one node: a real coordinator, real gRPC, handlers that sleep."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from p2pdo.coordinator.serving import serving
from p2pdo.node.control import Control
from p2pdo.node.control_words import Identity
from p2pdo.node.lead_client import LeadClient
from p2pdo.node.workplace import Workplace
from p2pdo.transports import rpc
from p2pdo.wire.v1 import coordinator_pb2_grpc as pb_grpc

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

CLIENTS = 100
EACH = 4
SLEEP = 0.020


def load_benchmark() -> Any:
    """The benchmark's executor, book and user: the same load, here for what it must not do."""
    path = Path(__file__).parents[2] / "benchmarks" / "lead_client.py"
    spec = importlib.util.spec_from_file_location("benchmark_lead_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bench = load_benchmark()


@contextlib.asynccontextmanager
async def network(folder: Path) -> AsyncIterator[tuple[Any, Any]]:
    """The user's hub, and the book of what happens at the node."""
    book = bench.Book()
    async with serving(folder, "127.0.0.1:0") as address:
        control = Control(address, Identity(bench.NODE, "127.0.0.1:1"))
        lead = LeadClient(
            bench.NODE,
            Workplace({"work": lambda context: bench.Work(context, book)}),
            grant=control.grant,
            report=control.report,
        )
        async with (
            control.joined(timeout=10),
            lead.running(),
            rpc.make_channel(address) as channel,
            asyncio.TaskGroup() as group,
        ):
            serve = group.create_task(control.serve(bench.TimedLead(lead, book)))
            yield bench.Hub(pb_grpc.CoordinatorStub(channel)), book
            serve.cancel()


def plan(clients: range, pace: float) -> list[tuple[float, int, str, float, int]]:
    if not pace:
        return [(0.0, client, "sleep", SLEEP, EACH) for client in clients]
    return [(k * pace, client, "sleep", SLEEP, 1) for client in clients for k in range(EACH)]


async def begun(book: Any) -> None:
    """Returns once a handler is at work, on its thread."""
    while not book.started:  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("pace", [0.0, 0.040], ids=["at once", "paced"])
async def test_nothing_is_lost_or_reordered_while_half_of_the_clients_come_late(
    tmp_path: Path, pace: float
) -> None:
    async with asyncio.timeout(60), network(tmp_path) as (hub, book):
        await hub.submit(CLIENTS)
        async with asyncio.TaskGroup() as group:
            group.create_task(hub.send(plan(range(CLIENTS // 2), pace)))
            await begun(book)
            group.create_task(hub.send(plan(range(CLIENTS // 2, CLIENTS), pace)))
        results = await hub.results([EACH] * CLIENTS)
    assert results == [list(range(EACH))] * CLIENTS
    assert list(book.order.values()) == [list(range(EACH))] * CLIENTS


async def test_a_blocked_client_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with asyncio.timeout(60), network(tmp_path) as (hub, book):
        await hub.submit(11)
        await hub.send([(0.0, 10, "sleep", 1.0, 1)])
        await begun(book)
        await hub.send([(0.0, client, "nothing", None, 20) for client in range(10)])
        results = await hub.results([20] * 10 + [0])
        assert not book.last_end, "the blocked one is still at it"
    assert results[:10] == [list(range(20))] * 10


async def test_the_event_loop_is_never_blocked(tmp_path: Path) -> None:
    async with asyncio.timeout(60), network(tmp_path) as (hub, _):
        with blockbuster_ctx(["p2pdo.node", "p2pdo.runtime", "p2pdo.protocol"]):
            await hub.submit(10)
            await hub.send(plan(range(10), pace=0.0))
            results = await hub.results([EACH] * 10)
    assert results == [list(range(EACH))] * 10
