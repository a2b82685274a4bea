"""Leases and streams on a clock that the test moves."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from p2pdo.coordinator.nodes import NodeState, Registry
from p2pdo.coordinator.settings import Settings
from p2pdo.errors import Conflict, NotFound
from p2pdo.types import NodeId, WorkloadId

A = NodeId("a")


class Timer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.is_cancelled = when, callback, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(when, lambda: callback(*args))
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                timer.callback()
        self.now = end

    def stand_still(self, seconds: float) -> None:
        """As when the process is stopped: timers that were due meanwhile fire late."""
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            _, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                timer.callback()

    @property
    def pending(self) -> int:
        return sum(not timer.is_cancelled for _, _, timer in self._timers)


class House:
    """A registry with what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gone: list[str] = []
        places = count(1)
        self.nodes = Registry(
            Settings(lease_seconds=10, rejoin_grace=5),
            self.clock,
            on_change=lambda _node: None,
            on_gone=lambda _node, what: self.gone.append(what),
            next_place=lambda: next(places),
        )

    def join(self, boot_id: str = "b1") -> None:
        self.nodes.join(A, boot_id, address="x:1", version="1", return_states=True)


def test_a_node_lives_as_long_as_it_is_heard() -> None:
    house = House()
    house.join()
    for _ in range(20):
        house.clock.advance(9)
        assert house.nodes.hear(A, "b1")
    assert house.clock.pending == 1
    house.clock.advance(9.9)
    assert not house.gone
    house.clock.advance(0.1)
    assert house.gone == ["node a was lost: no sign of life for 10 s"]
    assert not house.nodes.hear(A, "b1")
    assert house.clock.pending == 0


@pytest.mark.parametrize("seconds", [7.7, 8, 9, 20, 3600])
def test_a_coordinator_that_stood_still_loses_nobody_who_speaks_afterwards(seconds: float) -> None:
    house = House()
    house.join()
    house.clock.advance(2.5)
    house.clock.stand_still(seconds)  # the node's words of this time wait to be read
    house.clock.advance(2.4)
    assert house.nodes.hear(A, "b1")
    house.clock.advance(9.9)
    assert not house.gone
    house.clock.advance(0.1)
    assert len(house.gone) == 1


def test_a_coordinator_that_stood_still_loses_who_keeps_silent() -> None:
    house = House()
    house.join()
    house.clock.stand_still(20)
    house.clock.advance(10)
    assert house.gone == ["node a was lost: no sign of life for 10 s"]
    assert house.clock.pending == 0


def test_a_broken_stream_is_forgiven_after_a_stand_still() -> None:
    house = House()
    house.join()
    house.nodes.close_stream(house.nodes.open_stream(A, "b1"))
    house.clock.stand_still(12)
    house.clock.advance(4.9)
    house.nodes.open_stream(A, "b1")
    house.clock.advance(5)
    assert not house.gone


def test_a_lost_node_may_come_back() -> None:
    house = House()
    house.join()
    house.clock.advance(10)
    house.join()
    assert house.nodes.hear(A, "b1")
    assert house.clock.pending == 1


def test_a_broken_stream_is_forgiven_when_a_new_one_comes_in_time() -> None:
    house = House()
    house.join()
    stream = house.nodes.open_stream(A, "b1")
    house.nodes.close_stream(stream)
    house.clock.advance(4.9)
    house.nodes.open_stream(A, "b1")
    house.clock.advance(5)
    assert not house.gone


def test_a_heartbeat_does_not_replace_a_stream() -> None:
    house = House()
    house.join()
    house.nodes.close_stream(house.nodes.open_stream(A, "b1"))
    house.clock.advance(4)
    assert house.nodes.hear(A, "b1")
    house.clock.advance(1)
    assert "its connection broke and it did not come back within 5 s" in house.gone[0]


def test_the_end_of_a_poll_or_of_an_older_stream_means_nothing() -> None:
    house = House()
    house.join()
    old = house.nodes.open_stream(A, "b1")
    new = house.nodes.open_stream(A, "b1")
    assert old.is_over
    house.nodes.close_stream(old)
    house.nodes.close_stream(new, is_poll=True)
    house.clock.advance(6)
    assert not house.gone


def test_the_same_daemon_may_join_again_and_again() -> None:
    house = House()
    house.join()
    house.join()
    assert not house.gone


def test_another_daemon_takes_the_name_only_of_one_that_is_suspect() -> None:
    house = House()
    house.join()
    stream = house.nodes.open_stream(A, "b1")
    with pytest.raises(Conflict, match="two nodes with one name"):
        house.join("b2")
    house.nodes.close_stream(stream)
    house.join("b2")
    assert house.gone == ["node a was restarted"]
    house.clock.advance(6)
    assert len(house.gone) == 1
    assert not house.nodes.hear(A, "b1")
    with pytest.raises(NotFound):
        house.nodes.open_stream(A, "b1")


def test_a_node_that_leaves_is_gone_at_once() -> None:
    house = House()
    house.join()
    stream = house.nodes.open_stream(A, "b1")
    house.nodes.leave(A, "other")
    assert not house.gone
    house.nodes.leave(A, "b1")
    house.nodes.leave(A, "b1")
    assert house.gone == ["node a left"]
    assert stream.is_over
    assert house.clock.pending == 0
    house.join("b2")
    assert house.gone == ["node a left"]


def test_a_restored_node_has_a_fresh_lease_but_must_join_again() -> None:
    before, after = House(), House()
    before.join()
    node = before.nodes.get(A)
    assert node is not None
    node.is_confirmed, node.lease = False, None
    after.nodes.restore([node])
    assert not after.nodes.hear(A, "b1")
    assert after.nodes.up() == []
    after.clock.advance(9)
    after.join()
    after.clock.advance(9)
    assert not after.gone
    assert [n.state for n in after.nodes.up()] == [NodeState.UP]


def test_credit_is_absolute_and_never_falls() -> None:
    house = House()
    house.join()
    node = house.nodes.get(A)
    assert node is not None
    w = WorkloadId("w")
    node.grant({}, 4)
    assert node.credit_for(w, 7) == 11  # from the first that it is offered on
    assert node.credit_for(w, 9) == 11
    node.grant({"w": 20}, 4)
    node.grant({"w": 15}, 4)
    assert node.credit_for(w, 9) == 20


def test_a_node_that_drains_is_here_and_is_given_nothing_new() -> None:
    house = House()
    house.join()
    node = house.nodes.get(A)
    assert node is not None
    node.grant({"w": 3}, 4)
    assert house.nodes.up() == [node]
    node.grant({"w": 3}, 0)
    assert house.nodes.up() == []
    assert node.is_up
    assert node.credit_for(WorkloadId("w"), 0) == 3, "what it has it still works on"


def test_a_stream_tells_the_ends_that_an_earlier_one_told() -> None:
    house = House()
    house.join()
    node = house.nodes.get(A)
    assert node is not None
    stream = house.nodes.open_stream(A, "b1")
    node.add_end(WorkloadId("w"), "done")
    assert stream.ends == {"w": "done"}
    stream.ends = {}
    assert house.nodes.open_stream(A, "b1").ends == {"w": "done"}
    for i in range(2000):
        node.add_end(WorkloadId(str(i)), "done")
    assert len(node.ends) == 1024
