"""Timelines by a clock of the test's: what is waited for, by either lane, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from p2pdo.effects import Row, freeze
from p2pdo.errors import LinkLost
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.spans import SPANS, Span, spans_of_each
from p2pdo.runtime.timeline import TimedExchanger, Timeline
from p2pdo.testing import clock
from p2pdo.transports.shared_memory import futex
from p2pdo.transports.shared_memory.lane import SharedMemoryLane
from p2pdo.transports.shared_memory.timed import TimedLane
from p2pdo.types import NodeId

B, C = NodeId("b"), NodeId("c")
KIND = EffectKind.EXCHANGE


class Clock:
    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        return self.at


class Wire:
    def send(self, peer: NodeId, frame: Frame) -> None:
        pass


def waits(timeline: Timeline) -> list[tuple[str, int, int]]:
    return [(s.peer, s.began, s.ended) for s in timeline.spans if s.what == "wait"]


# ---- what is kept ----


def test_of_more_spans_than_it_may_keep_the_oldest_are_dropped_and_counted() -> None:
    timeline = Timeline(5)
    for i in range(12):
        timeline.iteration = i
        timeline.add("compute", 0)
    assert [span.iteration for span in timeline.spans] == [7, 8, 9, 10, 11]
    assert timeline.dropped == 7


@pytest.mark.parametrize("nodes", [1, 3, 1000, 2 * SPANS])
def test_the_spans_of_a_run_are_bounded_however_many_nodes_it_has(nodes: int) -> None:
    assert 1 <= spans_of_each(nodes) <= max(1, SPANS / nodes)


# ---- by the link ----


def exchanger(timeline: Timeline) -> TimedExchanger:
    place = Place(0, "a", (1, 2), (1, 2), Row(((0, 0.5), (1, 0.25), (2, 0.25))))
    made = TimedExchanger(timeline, place, {1: B, 2: C}, b"t")
    made.connect(Wire())
    for peer in (B, C):
        made.link_up(peer)
        made.receive(peer, Hello(b"t", 0, 4, answer=True))
    return made


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([(5, B), (9, C)], [("b", 0, 5), ("c", 5, 9)]),
        ([(5, C), (9, B)], [("b", 0, 9)]),
        ([(0, C), (9, B)], [("b", 0, 9)]),
        ([(7, B), (7, C)], [("b", 0, 7)]),
    ],
)
def test_a_wait_by_the_link_is_for_the_first_that_is_missing_and_adds_up(
    arrivals: list[tuple[int, NodeId]], expected: list[tuple[str, int, int]]
) -> None:
    now = Clock()
    timeline = Timeline(100, now)
    made = exchanger(timeline)

    async def main() -> None:
        waiting = asyncio.create_task(made.exchange(Outgoing(Tag(0, 0, KIND), 1.0)))
        await asyncio.sleep(0)
        for at, peer in arrivals:
            now.at = at
            made.receive(peer, Data(0, Tag(0, 0, KIND), 1.0))
            await asyncio.sleep(0)
        await waiting

    clock.run(main())
    assert [wait for wait in waits(timeline) if wait[1] < wait[2]] == expected
    assert sum(ended - began for _, began, ended in waits(timeline)) == arrivals[-1][0]
    assert timeline.spans[0].what == "send"


def test_a_wait_that_fails_is_kept() -> None:
    now = Clock()
    timeline = Timeline(100, now)
    made = exchanger(timeline)

    async def main() -> None:
        waiting = asyncio.create_task(made.exchange(Outgoing(Tag(0, 0, KIND), 1.0)))
        await asyncio.sleep(0)
        now.at = 30
        made.lost(B, "it is gone")
        with pytest.raises(LinkLost):
            await waiting

    clock.run(main())
    assert waits(timeline) == [("b", 0, 30)]


# ---- by memory ----


class ScriptedFutex(futex.Futex):
    """A wait lasts until the next thing that happens."""

    def __init__(self, happens: list[Callable[[], None]]) -> None:
        super().__init__()
        self._happens = happens

    def wait(self, address: int, seen: int, seconds: float) -> None:
        self._happens.pop(0)()


@pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only")
def test_a_wait_on_the_lane_is_for_the_first_that_is_missing_and_adds_up() -> None:
    now = Clock()
    timeline = Timeline(100, now)
    lane, b, c = TimedLane(0, timeline), SharedMemoryLane(1), SharedMemoryLane(2)
    assert lane.attach(1, B, b.offer)
    assert lane.attach(2, C, c.offer)
    lane.begin([1, 2], [], lambda: None)
    sent = Outgoing(Tag(0, 0, KIND), freeze(np.ones(3)))

    def publish(at: int, other: SharedMemoryLane) -> Callable[[], None]:
        def happens() -> None:
            now.at = at
            other.publish(sent)

        return happens

    def nothing() -> None:
        now.at += 1

    lane._futex = ScriptedFutex([nothing, publish(5, b), nothing, publish(9, c)])
    assert lane.publish(sent)
    inbox = lane.collect(sent.tag)

    assert inbox is not None
    assert waits(timeline) == [("b", 0, 1), ("b", 1, 5), ("c", 5, 6), ("c", 6, 9)]
    assert timeline.spans[0] == Span("send", 0, 0, 0, "")


@pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only")
def test_a_send_that_waits_for_a_reader_says_so() -> None:
    now = Clock()
    timeline = Timeline(100, now)
    lane, reader = TimedLane(0, timeline), SharedMemoryLane(1)
    assert lane.attach(1, B, reader.offer)
    lane.begin([], [1], lambda: None)

    def read() -> None:
        now.at = 40
        reader._segment.finish()

    lane._futex = ScriptedFutex([read])
    for k in range(3):
        sent = Outgoing(Tag(k, 0, KIND), freeze(np.ones(3)))
        assert lane.publish(sent)
        assert lane.collect(sent.tag) == {}
    assert [s for s in timeline.spans if s.began < s.ended] == [
        Span("room", 0, 40, 0, "b"),
        Span("send", 0, 40, 0, ""),
    ]
