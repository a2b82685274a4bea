"""Two sessions settle by which lane their values go, whatever happens to the link meanwhile."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.effects import freeze
from p2pdo.protocol.frames import Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.rounds import InEdge
from p2pdo.protocol.session import Lane, OutEdge, PeerSession, SessionState

VALUE = freeze(np.ones(2))
TAG = Tag(0, 0, EffectKind.MIX)


@dataclass
class End:
    """One end of a link: its session, and what is on the way to it."""

    name: str
    offers: bool = True
    attaches: bool = True
    inbox: deque[Frame] = field(default_factory=deque)
    is_up: bool = False
    tried: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = PeerSession(
            self.name,
            b"t",
            InEdge(self.name),
            OutEdge(),
            offer=b"at " + self.name.encode() if self.offers else b"",
            attach=self._attach,
        )
        self.session.send(TAG, VALUE)

    def _attach(self, offer: bytes) -> bool:
        self.tried.append(offer)
        return self.attaches

    @property
    def has_value(self) -> bool:
        incoming = self.session.incoming
        return incoming is not None and incoming.peek() is not None


class Pair:
    def __init__(self, a: End, b: End) -> None:
        self.ends = (a, b)

    def other(self, end: End) -> End:
        a, b = self.ends
        return b if end is a else a

    def say(self, end: End, frames: list[Frame]) -> None:
        if end.is_up:
            self.other(end).inbox.extend(frames)

    def up(self, end: End) -> None:
        if not end.is_up:
            end.is_up = True
            self.say(end, end.session.link_up())

    def cut(self) -> None:
        for end in self.ends:
            end.inbox.clear()
            if end.is_up:
                end.is_up = False
                end.session.link_down()

    def deliver(self, end: End) -> None:
        """A frame may come before the end has heard that there is a link."""
        if end.inbox:
            self.say(end, end.session.receive(end.inbox.popleft()))

    def heal(self) -> None:
        self.cut()
        for end in self.ends:
            self.up(end)
        while any(end.inbox for end in self.ends):
            for end in self.ends:
                self.deliver(end)


events = st.lists(st.sampled_from(["up a", "up b", "to a", "to b", "cut"]), max_size=25)


@given(events, st.tuples(*[st.booleans()] * 4))
@settings(max_examples=400, deadline=None)
def test_both_ends_settle_alike_and_never_twice(happens: list[str], can: tuple[bool, ...]) -> None:
    a, b = End("a", can[0], can[1]), End("b", can[2], can[3])
    pair, settled = Pair(a, b), {}

    for event in happens:
        if event == "cut":
            pair.cut()
        else:
            end = a if event[-1] == "a" else b
            (pair.up if event.startswith("up") else pair.deliver)(end)
        for end in (a, b):
            lane = end.session.lane
            assert settled.setdefault(end.name, lane) in (None, lane), "it is settled once"
            settled[end.name] = lane
            assert lane is not None or not end.has_value, "no value comes before it is settled"
    pair.heal()

    shared = all(can)
    expected = Lane.SHARED_MEMORY if shared else Lane.GRPC
    assert a.session.lane is b.session.lane is expected
    assert a.session.state is b.session.state is SessionState.OPEN
    assert a.has_value == b.has_value == (not shared)
    assert len(a.tried) <= 1
    assert len(b.tried) <= 1


def test_who_offers_nothing_opens_at_the_first_hello_as_ever() -> None:
    session = PeerSession("b", b"t", InEdge("b"), OutEdge())
    session.link_up()

    answer = session.receive(Hello(b"t", 0, 4, answer=False, offer=b"somewhere", attached=None))

    assert session.lane is Lane.GRPC
    assert session.state is SessionState.OPEN
    assert [type(frame) for frame in answer] == [Hello]


def test_on_the_other_lane_a_value_by_the_link_is_refused() -> None:
    a, b = End("a"), End("b")
    Pair(a, b).heal()

    from p2pdo.errors import RemoteProtocolError

    with pytest.raises(RemoteProtocolError, match="is no in-neighbour here"):
        a.session.receive(Data(0, TAG, VALUE))


def test_a_link_that_comes_back_tells_what_was_settled_and_sends_nothing_again() -> None:
    a, b = End("a"), End("b")
    pair = Pair(a, b)
    pair.heal()
    assert a.session.lane is Lane.SHARED_MEMORY

    pair.heal()

    assert a.session.lane is b.session.lane is Lane.SHARED_MEMORY
    assert a.session.state is b.session.state is SessionState.OPEN
    assert a.tried == [b"at b"]
