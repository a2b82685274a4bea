"""Lent memory: sums are made where they are sent from, and what somebody looks at is never lost."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from p2pdo.effects import Loan, freeze, is_lent
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.transports.shared_memory import futex
from p2pdo.transports.shared_memory.lane import SharedMemoryLane
from p2pdo.transports.shared_memory.segment import Neighbour, Segment
from p2pdo.types import Array, NodeId, Value

pytestmark = pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only")

SIZE = 50_000
FLOAT64 = np.dtype(np.float64)


class Pair:
    """A segment and who reads it."""

    def __init__(self) -> None:
        self.segment = Segment(futex.Futex())
        self.reader = Neighbour.open("a", self.segment.offer)

    def send(self, *arrays: Array) -> None:
        """Publishes the arrays, and looks whether they are read so."""
        k = self.segment.published
        tag = Tag(k, 0, EffectKind.MIX)
        expected = [a.copy() for a in arrays]
        self.segment.publish(Outgoing(tag, cast("Value", freeze(arrays))))
        for a, b in zip(self.read(k), expected, strict=True):
            assert a.tobytes() == b.tobytes()

    def read(self, k: int) -> Sequence[Array]:
        return cast("Any", self.reader.read(k, Tag(k, 0, EffectKind.MIX), 1))

    def lent(self, value: float, size: int = SIZE) -> Array:
        a = self.segment.lend((size,), FLOAT64)
        assert a is not None
        a[:] = value
        return a

    @property
    def used(self) -> int:
        gc.collect()
        return 512 * os.fstat(self.segment.offer.descriptor).st_blocks


@pytest.fixture
def pair() -> Pair:
    """One that has sent an array by each slot."""
    pair = Pair()
    for k in range(2):
        pair.send(np.full(SIZE, float(k)))
    return pair


def test_what_is_made_in_lent_memory_is_where_its_neighbours_read_it(pair: Pair) -> None:
    for k in range(2, 8):
        x = pair.lent(float(k))
        there = pair.read(k - 2)[0]
        assert (there == k).all(), "it is the slot's own memory"

        pair.send(x)

        assert freeze((x,))[0] is x, "it is not copied to be sent"
        assert not x.flags.writeable


def test_a_place_is_lent_to_one_array_at_a_time_and_only_in_its_shape(pair: Pair) -> None:
    x = pair.lent(1.0)
    assert pair.segment.lend((SIZE,), FLOAT64) is None
    view = x[3:5]
    del x
    assert pair.segment.lend((SIZE,), FLOAT64) is None, "a view looks at it too"
    del view

    assert pair.segment.lend((SIZE + 1,), FLOAT64) is None
    assert pair.segment.lend((SIZE,), np.dtype(np.float32)) is None
    assert pair.segment.lend((SIZE,), FLOAT64) is not None


@pytest.mark.parametrize("what", ["the array", "a view", "a memoryview"])
def test_what_somebody_looks_at_is_never_written_over(pair: Pair, what: str) -> None:
    x = pair.lent(2.0)
    pair.send(x)
    kept: Any = {"the array": x, "a view": x[7:], "a memoryview": memoryview(x)}[what]
    del x

    for k in range(3, 9):
        pair.send(np.full(SIZE, float(k)))

    assert (np.asarray(kept) == 2).all()
    assert pair.segment.lend((SIZE,), FLOAT64) is None, "who keeps what it sends is lent nothing"


def test_memory_that_was_kept_goes_back_when_it_is_let_go(pair: Pair) -> None:
    before = pair.used
    kept = [pair.lent(2.0)]
    pair.send(kept[0])
    kept.append(pair.lent(3.0))
    pair.send(kept[1])
    for k in range(4, 8):
        pair.send(np.full(SIZE, float(k)))
    both = pair.used

    kept.clear()

    assert both >= before + 2 * 8 * SIZE
    assert pair.used <= before + 8192


def test_a_lent_array_that_is_sent_elsewhere_in_the_value_is_read_there() -> None:
    pair = Pair()
    for k in range(2):
        pair.send(np.full(SIZE, float(k)), np.full(SIZE, -1.0))
    x, y = pair.lent(5.0), pair.lent(6.0)

    pair.send(y, x)


def test_a_value_of_another_layout_leaves_what_is_lent_alone(pair: Pair) -> None:
    x = pair.lent(5.0)
    pair.send(np.ones(10))
    pair.send(np.ones(10 * SIZE))
    pair.send(np.ones(10 * SIZE))

    assert (x == 5).all()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_kept_and_sent_is_read_and_stays_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = Pair()
    kept: list[tuple[Array, float]] = []
    for k in range(60):
        arrays = []
        for _ in range(2):
            lent = pair.segment.lend((SIZE,), FLOAT64)
            a = np.empty(SIZE) if lent is None or rng.random() < 0.2 else lent
            a[:] = rng.random()
            arrays.append(a)
        if rng.random() < 0.1:
            arrays.reverse()
        if rng.random() < 0.05:
            kept.append((arrays[0], float(arrays[0][0])))
        if rng.random() < 0.05:
            arrays = [np.full(100, float(k))] * 2

        pair.send(*arrays)

        assert all((a == value).all() for a, value in kept)
    del arrays, a, lent


def test_a_view_of_what_is_lent_is_copied_to_be_sent() -> None:
    place = np.arange(10.0)
    a = np.asarray(Loan(place))

    frozen = freeze((a, a[:], a[::2]))

    assert is_lent(a)
    assert frozen[0] is a
    assert not a.flags.writeable
    assert all(np.asarray(one).flags.owndata for one in frozen[1:])


def test_a_slot_is_lent_when_all_who_are_only_told_have_consumed_it() -> None:
    told, own = SharedMemoryLane(0), SharedMemoryLane(1)  # 1 tells 0, and hears nobody
    assert told.attach(1, NodeId("n1"), own.offer)
    assert own.attach(0, NodeId("n0"), told.offer)
    own.begin([], [0], lambda: None)
    told.begin([1], [], lambda: None)

    def exchange(lane: SharedMemoryLane, k: int) -> None:
        tag = Tag(k, 0, EffectKind.MIX)
        assert lane.publish(Outgoing(tag, freeze(np.full(SIZE, float(k)))))
        assert lane.collect(tag) is not None

    for k in range(2):
        exchange(own, k)
    exchange(told, 0)
    assert not is_lent(own.empty((SIZE,), FLOAT64)), "0 may still look at exchange 0"

    assert told.publish(Outgoing(Tag(1, 0, EffectKind.MIX), np.ones(1)))

    assert is_lent(own.empty((SIZE,), FLOAT64))
