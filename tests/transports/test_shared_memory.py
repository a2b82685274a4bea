"""The shared memory lane: segments as neighbours see them, and exchanges between threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.dtypes import DTYPES, dtype_named
from p2pdo.effects import freeze
from p2pdo.errors import P2pdoError, RemoteProtocolError, WorkloadStopped
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.rounds import same_value
from p2pdo.transports.shared_memory import futex
from p2pdo.transports.shared_memory.lane import SharedMemoryLane
from p2pdo.transports.shared_memory.segment import Neighbour, Offer, Segment, this_host
from p2pdo.types import NodeId, Value

pytestmark = pytest.mark.skipif(not futex.is_available(), reason="Linux on x86-64 only")

SEED = np.random.default_rng(5)


def sent(value: Value, k: int = 0, kind: EffectKind = EffectKind.MIX) -> Outgoing:
    return Outgoing(Tag(k, 0, kind), freeze(value))


@pytest.fixture
def segment() -> Segment:
    return Segment(futex.Futex())


def seen_by(segment: Segment) -> Neighbour:
    return Neighbour.open("a", segment.offer)


ARRAYS = {name: SEED.integers(0, 2, (3, 4)).astype(dtype_named(name)) for name in DTYPES}
VALUES: dict[str, Value] = {
    **ARRAYS,
    "no axes": np.array(2.5),
    "empty": np.empty((0, 3)),
    "large": SEED.standard_normal(50_000),
    "large bfloat16": SEED.standard_normal(50_000).astype(dtype_named("bfloat16")),
    "a pair": (np.ones(3), np.arange(5)),
    "nested": {"w": (np.ones((2, 2), np.float32), 3), "b": {"deep": True}, "large": np.ones(9000)},
    "a number": 0.1,
    "nothing": (),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_read_as_it_was_written(segment: Segment, name: str) -> None:
    reader = seen_by(segment)
    for k in range(5):  # twice into each slot, and once more
        outgoing = sent(VALUES[name], k)
        segment.publish(outgoing)

        assert same_value(reader.read(k, outgoing.tag, 7), outgoing.value)


def test_values_of_changing_layouts_and_sizes_are_read_as_they_were_written(
    segment: Segment,
) -> None:
    reader = seen_by(segment)
    names = SEED.choice(list(VALUES), 60)
    for k, name in enumerate(names):
        outgoing = sent(VALUES[name], k)
        segment.publish(outgoing)

        assert same_value(reader.read(k, outgoing.tag, 7), outgoing.value), (k, name)


def test_each_neighbour_reads_its_own_value(segment: Segment) -> None:
    each = {j: freeze(np.full(j, float(j))) for j in (3, 1, 2)}
    for k in range(3):
        tag = Tag(k, 0, EffectKind.EXCHANGE_EACH)
        segment.publish(Outgoing(tag, (), each))

        for j, value in each.items():
            assert same_value(seen_by(segment).read(k, tag, j), value)
        with pytest.raises(RemoteProtocolError, match="a value for this node"):
            seen_by(segment).read(k, tag, 4)


def test_a_reader_can_change_nothing_and_what_it_reads_is_a_view(segment: Segment) -> None:
    reader = seen_by(segment)
    outgoing = sent(np.ones(10_000))
    segment.publish(outgoing)

    value: Any = reader.read(0, outgoing.tag, 1)

    assert not value.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        value.flags.writeable = True
    value = reader.read(0, outgoing.tag, 1)
    assert not value.flags.owndata


def test_a_segment_keeps_the_memory_of_two_values_alone(segment: Segment) -> None:
    before = os.fstat(segment.offer.descriptor).st_blocks
    for k, size in enumerate([10, 1000, 100_000, 1_000_000, 1_000_000, 1_000_000]):
        segment.publish(sent(np.ones(size), k))

    used = 512 * (os.fstat(segment.offer.descriptor).st_blocks - before)

    assert used < 2 * 8_000_000 + 100_000


def test_a_segment_cannot_shrink_under_its_readers(segment: Segment) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(segment.offer.descriptor, 0)


def test_nothing_is_left_in_the_file_system(segment: Segment) -> None:
    segment.publish(sent(np.ones(10)))

    assert not [path for path in Path("/dev/shm").iterdir() if "p2pdo" in path.name]  # noqa: S108


def offered(segment: Segment, **other: Any) -> Offer:
    fields = {name: getattr(segment.offer, name) for name in Offer.__slots__}
    return Offer(**{**fields, **other})


def test_what_is_not_what_was_offered_is_not_opened(segment: Segment, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"p2pdoSM1" + bytes.fromhex(segment.offer.nonce) + bytes(9000))
    with (tmp_path / "file").open("rb") as file:
        not_opened = [
            offered(segment, host="elsewhere"),
            offered(segment, nonce="00" * 16),
            offered(segment, nonce="no hexadecimal"),
            offered(segment, descriptor=file.fileno()),
            offered(segment, descriptor=0),
            offered(segment, pid=2**22 + 1),
        ]
        for offer in not_opened:
            with pytest.raises(OSError, match=r"."):
                Neighbour.open("a", offer)
    shrinks = os.memfd_create("p2pdo")
    try:
        os.pwrite(shrinks, b"p2pdoSM1" + bytes.fromhex(segment.offer.nonce) + bytes(9000), 0)
        with pytest.raises(OSError, match="could shrink"):
            Neighbour.open("a", offered(segment, descriptor=shrinks))
    finally:
        os.close(shrinks)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1, 2]", b"\xff", b'["h", "x", 1, "n"]', b"[" * 5000, b'["h",1,1,' * 99]
)
def test_what_is_no_offer_is_none(data: bytes) -> None:
    assert Offer.parse(data) is None


def test_an_offer_is_read_as_it_was_written(segment: Segment) -> None:
    assert Offer.parse(segment.offer.to_bytes()) == segment.offer
    assert segment.offer.host == this_host()


def test_nonsense_in_a_segment_is_an_error_with_its_owners_name(segment: Segment) -> None:
    """Whatever its owner writes there, a reader ends in an error or in a value."""
    outgoing = sent({"a": np.arange(9.0), "b": 1})
    segment.publish(outgoing)
    memory = segment._mapped.bytes
    whole = bytes(memory)
    seen = set()
    for _ in range(3000):
        at = int(SEED.choice([*range(64, 104), *range(4096, 4300)]))
        memory[at] = int(SEED.integers(256))
        memory[88] = (memory[88] + 1) % 256  # the version: readers look anew
        try:
            seen_by(segment).read(0, outgoing.tag, 1)
            seen.add("read")
        except RemoteProtocolError:
            seen.add("refused")
        memory[:] = whole
    assert seen == {"read", "refused"}


# ---- exchanges ----


def connected(
    arcs: Sequence[tuple[int, int]], check: Callable[[], None] = lambda: None
) -> list[SharedMemoryLane]:
    lanes = [SharedMemoryLane(i) for i in range(1 + max(map(max, arcs)))]
    for i, lane in enumerate(lanes):
        senders = [a for a, b in arcs if b == i]
        receivers = [b for a, b in arcs if a == i]
        for j in {*senders, *receivers}:
            assert lane.attach(j, NodeId(f"n{j}"), lanes[j].offer), lane.why_not(j)
        lane.begin(senders, receivers, check)
    return lanes


def exchange(lane: SharedMemoryLane, outgoing: Outgoing) -> dict[int, Value]:
    while not lane.publish(outgoing):
        pass
    while (inbox := lane.collect(outgoing.tag)) is None:
        pass
    return inbox


RINGS = {
    "a ring": [(i, (i + s) % 5) for i in range(5) for s in (1, -1)],
    "a directed ring": [(i, (i + 1) % 5) for i in range(5)],
    "a directed ring with a chord": [*((i, (i + 1) % 5) for i in range(5)), (0, 2)],
    "a pair": [(0, 1), (1, 0)],
    "a star": [arc for i in range(1, 5) for arc in ((0, i), (i, 0))],
}


@pytest.mark.parametrize("kind", [EffectKind.MIX, EffectKind.EXCHANGE])
@pytest.mark.parametrize("name", RINGS)
def test_every_value_comes_once_and_in_order(name: str, kind: EffectKind) -> None:
    lanes = connected(RINGS[name])
    rounds = 300

    def live(i: int) -> None:
        rng = np.random.default_rng(i)
        for k in range(rounds):
            if rng.random() < 0.02:
                threading.Event().wait(0.001)  # nodes are not equally fast
            size = 1 + k % 3 * 3000
            inbox = exchange(lanes[i], sent(np.full(size, 1000.0 * i + k), k, kind))
            for j, value in inbox.items():
                assert isinstance(value, np.ndarray)
                assert value.shape == (size,)
                assert (value == 1000 * j + k).all(), (i, j, k)
        lanes[i].finish()

    with ThreadPoolExecutor(len(lanes)) as pool:
        for future in [pool.submit(live, i) for i in range(len(lanes))]:
            future.result(60)


def test_what_was_exchanged_may_be_kept_and_what_is_mixed_lies_with_its_sender() -> None:
    lanes = connected(RINGS["a pair"])
    kept: list[Any] = []
    mixed: list[Any] = []
    for k in range(6):
        kind = EffectKind.EXCHANGE if k % 2 else EffectKind.MIX
        for i in (0, 1):
            lanes[i].publish(sent(np.full(3, float(k)), k, kind))
        for i in (0, 1):
            inbox = lanes[i].collect(Tag(k, 0, kind))
            assert inbox is not None
            (kept if k % 2 else mixed).append(inbox[1 - i])

    assert [float(value[0]) for value in kept] == [1, 1, 3, 3, 5, 5]
    assert all(value.flags.owndata and not value.flags.writeable for value in kept)
    assert not any(value.flags.owndata for value in mixed)


def test_a_neighbour_at_another_exchange_is_an_error_with_its_name() -> None:
    a, b = connected(RINGS["a pair"])
    a.publish(sent(np.ones(2), 3))
    b.publish(Outgoing(Tag(3, 1, EffectKind.EXCHANGE), freeze(np.ones(2))))

    with pytest.raises(RemoteProtocolError, match="disagree on the exchanges of iteration 3"):
        a.collect(Tag(3, 0, EffectKind.MIX))


def test_a_neighbour_that_has_finished_is_not_waited_for() -> None:
    a, b = connected(RINGS["a pair"])
    exchange_both(a, b, 0)
    b.finish()

    a.publish(sent(np.ones(2), 1))
    with pytest.raises(RemoteProtocolError, match="n1 has finished, here it is iteration 1"):
        a.collect(Tag(1, 0, EffectKind.MIX))


def exchange_both(a: SharedMemoryLane, b: SharedMemoryLane, k: int) -> None:
    for lane in (a, b):
        lane.publish(sent(np.ones(2), k))
    for lane in (a, b):
        assert lane.collect(Tag(k, 0, EffectKind.MIX)) is not None


def test_a_wait_gives_its_thread_back_and_says_who_is_missing() -> None:
    a, _b = connected(RINGS["a pair"])

    a.publish(sent(np.ones(2)))

    assert a.collect(Tag(0, 0, EffectKind.MIX)) is None
    assert a.missing() == ["n1"]


def test_a_wait_ends_with_what_ended_the_exchange() -> None:
    failure: list[P2pdoError] = []

    def check() -> None:
        if failure:
            raise failure[0]

    a, _b = connected(RINGS["a pair"], check)
    a.publish(sent(np.ones(2)))
    began = threading.Event()
    ended: Future[object] = Future()

    def wait() -> None:
        began.set()
        try:
            while a.collect(Tag(0, 0, EffectKind.MIX)) is None:
                pass
        except P2pdoError as error:
            ended.set_result(error)

    threading.Thread(target=wait, daemon=True).start()
    began.wait()
    failure.append(WorkloadStopped("enough"))
    a.wake()

    assert ended.result(30) is failure[0]


def test_a_fast_sender_waits_for_a_slow_receiver_on_a_directed_edge() -> None:
    a, b = connected([(0, 1)])
    for k in range(2):
        assert a.publish(sent(np.full(2, float(k)), k))
        assert a.collect(Tag(k, 0, EffectKind.MIX)) == {}

    assert not a.publish(sent(np.full(2, 2.0), 2)), "both slots are unread"
    b.publish(sent(np.zeros(2), 0))
    inbox: Any = b.collect(Tag(0, 0, EffectKind.MIX))
    assert inbox[0][0] == 0
    b.publish(sent(np.zeros(2), 1))
    assert a.publish(sent(np.full(2, 2.0), 2)), "the first one has been consumed"


def test_descriptors_are_given_back() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(20):
        lanes = connected(RINGS["a ring"])
        for lane in lanes:
            lane.close()
        del lanes, lane

    assert count() <= before + 2
