"""Counters on their way to the coordinator, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pdo.node.context import WorkloadContext
from p2pdo.node.control import MetricPoint
from p2pdo.node.metering import metered
from p2pdo.runtime.compute import InlineCompute
from p2pdo.testing import clock
from p2pdo.types import WorkloadId


@dataclass
class At:
    iteration: int
    bytes_sent: int = 0
    messages_sent: int = 0


class SlowControl:
    """Takes ten seconds to take points."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.lanes: list[Mapping[str, str]] = []
        self.begun = asyncio.Event()

    async def push_metrics(
        self, _workload: str, points: Sequence[MetricPoint], lanes: Mapping[str, str]
    ) -> None:
        self.lanes.append(lanes)
        self.begun.set()
        await asyncio.sleep(10)
        self.taken += [point.iteration for point in points]


def test_what_is_under_way_at_the_end_arrives() -> None:
    async def main() -> list[int]:
        control: Any = SlowControl()
        context: Any = WorkloadContext("n", WorkloadId("w"), InlineCompute(), Any)  # type: ignore[arg-type]
        lanes: dict[str, str] = {}
        async with metered(control, context, lambda: {**lanes}) as tell:
            tell(At(1), {})
            await control.begun.wait()
            lanes["b"] = "grpc"
            tell(At(2), {})
        assert control.lanes == [{}, {"b": "grpc"}], "as they are when it is told"
        return list(control.taken)

    assert clock.run(main()) == [1, 2]
