"""Counters on their way to the coordinator, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2pdo.node.context import WorkloadContext
from p2pdo.node.control_words import HiddenPart, MetricPoint
from p2pdo.node.metering import HIDDEN_A_BATCH, MOST_HIDDEN, Metering
from p2pdo.runtime.compute import InlineCompute
from p2pdo.testing import clock
from p2pdo.types import WorkloadId

CONTEXT: Any = WorkloadContext("n", WorkloadId("w"), InlineCompute(), Any)  # type: ignore[arg-type]


@dataclass
class At:
    iteration: int
    bytes_sent: int = 0
    messages_sent: int = 0


class SlowControl:
    """Takes ten seconds to take points."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.hidden: list[list[int]] = []  # of each batch
        self.lanes: list[Mapping[str, str]] = []
        self.begun = asyncio.Event()

    async def push_metrics(
        self,
        _workload: str,
        points: Sequence[MetricPoint],
        lanes: Mapping[str, str],
        hidden: Sequence[HiddenPart],
    ) -> None:
        self.lanes.append(lanes)
        self.begun.set()
        await asyncio.sleep(10)
        self.taken += [point.iteration for point in points]
        self.hidden.append([part.iteration for part in hidden])


def test_what_is_under_way_at_the_end_arrives() -> None:
    async def main() -> list[int]:
        control: Any = SlowControl()
        lanes: dict[str, str] = {}
        metering = Metering(control, CONTEXT, lambda: {**lanes})
        async with metering.sent():
            metering.tell(At(1), {})
            await control.begun.wait()
            lanes["b"] = "grpc"
            metering.tell(At(2), {})
        assert control.lanes[0] == {}
        assert control.lanes[-1] == {"b": "grpc"}, "as they are when it is told"
        return list(control.taken)

    assert clock.run(main()) == [1, 2]


def test_what_the_monitor_is_told_goes_in_batches_in_order_without_a_metric() -> None:
    async def main() -> list[list[int]]:
        control: Any = SlowControl()
        metering = Metering(control, CONTEXT, dict)
        async with metering.sent():
            for iteration in range(1, HIDDEN_A_BATCH + 11):
                metering.tell_monitor(iteration, b"")
            await control.begun.wait()
            metering.tell_monitor(HIDDEN_A_BATCH + 11, b"")
        return list(control.hidden)

    sent = clock.run(main())
    assert [k for batch in sent for k in batch] == list(range(1, HIDDEN_A_BATCH + 12))
    assert max(map(len, sent)) == HIDDEN_A_BATCH


def test_while_the_coordinator_is_away_the_oldest_looks_are_given_up() -> None:
    async def main() -> list[list[int]]:
        control: Any = SlowControl()
        metering = Metering(control, CONTEXT, dict)
        async with metering.sent():
            metering.tell_monitor(1, b"")
            await control.begun.wait()
            for iteration in range(2, MOST_HIDDEN + 102):
                metering.tell_monitor(iteration, b"")
        return list(control.hidden)

    first, *rest = clock.run(main())
    assert first == [1]
    assert [k for batch in rest for k in batch] == list(range(102, MOST_HIDDEN + 102))
