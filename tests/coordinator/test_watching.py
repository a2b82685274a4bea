"""Slow watchers and the network's metrics."""

from __future__ import annotations

from p2pdo.coordinator.watching import Meter, Point, Watchers
from p2pdo.types import NodeId
from p2pdo.wire.v1 import coordinator_pb2 as wire

A, B = NodeId("a"), NodeId("b")


def metric(iteration: int) -> wire.WorkloadEvent:
    return wire.WorkloadEvent(metric=wire.NetworkPoint(iteration=iteration))


def status(text: str) -> wire.WorkloadEvent:
    return wire.WorkloadEvent(status=wire.Workload(status=text))


def test_a_slow_watcher_loses_the_oldest_metrics_and_no_status() -> None:
    watchers = Watchers(limit=2)
    assert not watchers
    with watchers.watching() as watcher:
        assert watchers
        watchers.publish(status("running"))
        for k in range(5):
            watchers.publish(metric(k))
        watchers.publish(status("done"))
        events = watcher.take()
        assert [e.metric.iteration for e in events if e.HasField("metric")] == [3, 4]
        assert [e.status.status for e in events if e.HasField("status")] == ["running", "done"]
        assert not watcher.wake.is_set()
        watchers.nudge()
        assert watcher.wake.is_set()
    assert not watchers


def test_an_iteration_is_told_when_the_last_member_reaches_it() -> None:
    meter = Meter([A, B])
    assert meter.add(A, Point(0, 0.1, 1, 1)) is None
    assert meter.add(A, Point(10, 0.3, 5, 2)) is None
    assert meter.add(B, Point(0, 0.2, 2, 1)) == Point(0, 0.2, 3, 2)
    assert meter.add(B, Point(0, 0.2, 2, 1)) is None  # told once
    assert meter.add(B, Point(20, 0.5, 9, 4)) is None
    assert meter.add(A, Point(20, 0.6, 9, 4)) == Point(20, 0.6, 18, 8)
    assert meter.add(B, Point(10, 0.3, 5, 2)) is None  # passed over
    assert meter.latest == {A: Point(20, 0.6, 9, 4), B: Point(20, 0.5, 9, 4)}
    assert not meter._partial


def test_one_node_is_a_network() -> None:
    assert Meter([A]).add(A, Point(5, 1.0, 0, 0)) == Point(5, 1.0, 0, 0)
