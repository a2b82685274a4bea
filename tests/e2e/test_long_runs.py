"""Twenty thousand iterations of real processes: what they hold does not grow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

import p2pdo

pytestmark = [pytest.mark.e2e, pytest.mark.full]

FIRST, MORE = 1000, 20_000
GROWTH = 1_500_000
"""Bytes: 75 an iteration would be seen. Quiet, a node grew by 0.3 MB."""


def resident() -> dict[str, int]:
    """Bytes by the name of each daemon of this process."""
    found = {}
    for child in psutil.Process().children():
        words = child.cmdline()
        name = words[words.index("--name") + 1] if "--name" in words else "coordinator"
        found[name] = child.memory_info().rss
    return found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("lane", ["shared-memory", "grpc"])
def test_memory_is_flat_after_the_first_thousand_iterations(tmp_path: Path, lane: str) -> None:
    async def main() -> tuple[dict[str, int], dict[str, int]]:
        before: dict[str, int] = {}
        async with p2pdo.local(nodes=4, processes=True) as net:
            run = await net.submit(
                *("gradient-tracking", "quadratic"),
                rounds=10**8,
                observe_every=500,
                lane=lane,
                out=tmp_path / "run",
            )
            async for metric in run.metrics():
                if metric.iteration >= FIRST and not before:
                    before = resident()
                if metric.iteration >= FIRST + MORE:
                    break
            return before, resident()

    before, after = asyncio.run(main())

    assert len(before) == 5
    assert before.keys() == after.keys()
    grown = {name: after[name] - before[name] for name in before}
    print(lane, {name: round(rss / 1e6, 1) for name, rss in after.items()}, grown)  # noqa: T201
    assert {name: more for name, more in grown.items() if more > GROWTH} == {}
