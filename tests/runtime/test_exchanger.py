"""One exchanger, spoken to by hand: what wakes, what it says, what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from p2pdo.effects import Row
from p2pdo.errors import LinkLost, P2pdoError, WorkloadFailed
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import Ack, Bye, Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.rounds import WINDOW
from p2pdo.runtime.exchange import Exchanger
from p2pdo.testing import clock
from p2pdo.types import NodeId

T = TypeVar("T")


class Wire:
    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def send(self, peer: NodeId, frame: Frame) -> None:
        self.sent.append(frame)


B = NodeId("b")


def exchanger() -> tuple[Exchanger, Wire]:
    made = Exchanger(Place(0, "a", (1,), (1,), Row(((0, 0.5), (1, 0.5)))), {1: B}, b"t")
    wire = Wire()
    made.connect(wire)
    made.link_up(B)
    made.receive(B, Hello(b"t", 0, 4, answer=True))
    return made, wire


def outgoing(k: int = 0) -> Outgoing:
    return Outgoing(Tag(k, 0, EffectKind.EXCHANGE), float(k))


def data(k: int, value: float = 1.0) -> Data:
    return Data(k, Tag(k, 0, EffectKind.EXCHANGE), value)


def in_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return clock.run(main())


@pytest.mark.parametrize(
    ("happens", "error", "says"),
    [
        (
            lambda e: e.lost(B, "it is gone"),
            LinkLost,
            "a lost its neighbour b in iteration 7: it is",
        ),
        (lambda e: e.receive(B, Bye("enough")), WorkloadFailed, "b left the workload in iterati"),
        (lambda e: e.receive(B, data(9)), P2pdoError, "b sent value 9 where its credit ends at 4"),
        (lambda e: e.receive(NodeId("c"), data(0)), P2pdoError, "c is no neighbour of a"),
        (lambda e: e.receive(B, Hello(b"u", 0, 4, True)), P2pdoError, "b was given another topol"),
        (lambda e: e.fail(WorkloadFailed("stop")), WorkloadFailed, "stop"),
        (lambda e: e.close("over"), P2pdoError, "the workload is over: over"),
    ],
)
def test_a_failure_wakes_the_one_who_waits_and_is_raised(
    happens: Any, error: type[P2pdoError], says: str
) -> None:
    made, _ = exchanger()

    async def main() -> None:
        waiting = asyncio.create_task(made.exchange(outgoing(7)))
        await asyncio.sleep(1)
        assert not waiting.done()
        assert made.missing() == ["b"]
        assert made.iteration == 7
        happens(made)
        made.fail(WorkloadFailed("a later cause is not told"))
        await waiting

    with pytest.raises(error, match=says):
        in_time(main)
    with pytest.raises(error, match=says):  # and so is every later exchange
        in_time(lambda: made.exchange(outgoing(8)))


def test_a_wait_without_credit_is_woken_by_credit_and_by_failure() -> None:
    made, wire = exchanger()

    async def main() -> None:
        for k in range(WINDOW):
            made.receive(B, data(k))
            await made.exchange(outgoing(k))
        waiting = asyncio.create_task(made.exchange(outgoing(WINDOW)))
        await asyncio.sleep(1)
        assert not waiting.done()
        assert sum(isinstance(frame, Data) for frame in wire.sent) == WINDOW
        made.receive(B, Ack(1, WINDOW + 1))
        made.receive(B, data(WINDOW))
        assert await waiting == {1: 1.0}
        stuck = asyncio.create_task(made.exchange(outgoing(WINDOW + 1)))
        await asyncio.sleep(1)
        made.lost(B, "no")
        await stuck

    with pytest.raises(LinkLost):
        in_time(main)


def test_closing_says_goodbye_once_and_to_those_who_hear_only() -> None:
    made, wire = exchanger()
    made.close("the end")
    made.close("again")
    assert [frame for frame in wire.sent if isinstance(frame, Bye)] == [Bye("the end")]
    deaf, quiet = Exchanger(Place(0, "a", (1,), (1,), Row(())), {1: B}, b"t"), Wire()
    deaf.close("nobody is there")
    deaf.connect(quiet)
    assert quiet.sent == []
    assert deaf.peers == ["b"]


def test_a_goodbye_that_was_cut_off_is_said_again_on_the_next_link() -> None:
    made, wire = exchanger()
    made.link_down(B)
    made.close("the end")
    made.link_up(B)
    made.receive(B, Hello(b"t", 0, 4, answer=True))
    assert wire.sent[-1] == Bye("the end")


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    made, _ = exchanger()

    async def main() -> dict[int, Any]:
        waiting = asyncio.create_task(made.exchange(outgoing()))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        made.receive(B, data(0, 5.0))
        return await made.until(lambda: made._rounds.take(outgoing().tag))

    assert in_time(main) == {1: 5.0}
