"""What is large goes with the run it was for, and waits for no collection of garbage."""

import gc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pdo.api.local_nodes import local_nodes
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.exchange import Exchanger
from p2pdo.transports.shared_memory import futex
from p2pdo.transports.shared_memory.segment import Neighbour, Segment

LANES = [
    pytest.param(
        "shared-memory",
        marks=pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only"),
    ),
    "grpc",
]


@contextmanager
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("lane", LANES)
async def test_nothing_that_holds_values_outlives_its_workload(lane: str) -> None:
    spec = {
        "problem": {"name": "averaging", "parameters": {"dimension": 1000}},
        "algorithm": {"name": "consensus"},
        "nodes": 3,
        "rounds": 20,
        "lane": lane,
    }
    async with local_nodes(["a", "b", "c"], None, {}) as client:
        with without_collections():
            first = await client.submit(spec, uuid.uuid4().hex)
            async for _ in client.watch(first):
                pass
            second = await client.submit(spec, uuid.uuid4().hex)  # the first has ended everywhere
            async for _ in client.watch(second):
                pass
            kinds = (Stepper, Exchanger, Segment, Neighbour)
            left = [type(one) for one in gc.get_objects() if issubclass(type(one), kinds)]
            whose = [cls.__name__ for cls in left]
    most = {Exchanger: 3, Segment: 3, Neighbour: 6, Stepper: 3}  # of the second, which is ending
    assert all(whose.count(kind.__name__) <= number for kind, number in most.items()), whose
