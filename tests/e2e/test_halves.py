"""Participants that exchange halves, whole numbers and nested values: one result by every way."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.problems.torch_random import seeded

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SIZE = 20_000


@p2pdo.participant
def typed(me: Any) -> str:
    """The digest of all that a node has mixed and heard."""
    with seeded(me.node):
        x = torch.randn(SIZE).to(torch.bfloat16)
        net = torch.nn.Linear(20, 20).to(torch.bfloat16)
    h = np.random.default_rng(me.node).standard_normal(50).astype(np.float16)
    seen = hashlib.sha256()
    for _ in me.rounds():
        whole = (np.arange(5) + me.node, 3 * me.node)
        mixed = me.mix({"x": x, "h": h, "i": whole, "n": [{"one": np.float32([me.node])}]})
        x, h = mixed["x"] + 0.01 * x, mixed["h"]
        me.mix_(net)
        for _, theirs in sorted(me.exchange({"x": x, "h": h}).items()):
            seen.update(theirs["x"].tobytes() + theirs["h"].tobytes())
        seen.update(mixed["i"][0].tobytes() + mixed["n"][0]["one"].tobytes())
    assert (x.dtype, h.dtype) == (torch.bfloat16, np.float16)
    for tensor in (x, net.weight.detach()):
        seen.update(tensor.view(torch.int16).numpy().tobytes())
    return seen.hexdigest()


async def results(on: str, **settings: Any) -> tuple[Any, int, dict[str, int]]:
    async with p2pdo.local(nodes=3, on=on) as net:
        run = await net.submit(typed, rounds=10, **settings)
        result = await run.result()
    return result.results, result.summary.bytes_sent, result.summary.links


@pytest.mark.timeout(300)  # PyTorch is imported six times
def test_halves_have_the_same_bits_by_either_lane_and_in_one_process() -> None:
    digests, sent, _ = asyncio.run(results("inprocess"))
    assert len(set(digests.values())) == 3
    assert sent >= 3 * 10 * 2 * (SIZE * 2 + 20 * 20 * 2)  # two bytes a number, to two neighbours
    assert sent < 3 * 10 * 2 * (SIZE * 5)  # twice: mixed, and exchanged
    for lane in ("grpc", "shared-memory"):
        there, sent_there, links = asyncio.run(results("processes", lane=lane))
        assert there == digests
        assert sent_there == sent
        assert links == {lane: 3}
