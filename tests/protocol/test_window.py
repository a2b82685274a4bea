"""The receiver's window against a dictionary; two sessions over a bad link; whole networks."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pdo.errors import RemoteProtocolError
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.protocol import session
from p2pdo.protocol.frames import Ack, Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.rounds import InEdge, Rounds, same_value
from p2pdo.protocol.session import OutEdge, PeerSession, SessionState
from p2pdo.types import Value

DIGEST = b"the same topology"
W = 4


def tag(seq: int) -> Tag:
    return Tag(seq // 3, seq % 3, EffectKind.MIX)


# ---- one receiver, against a dictionary ----


class Window(RuleBasedStateMachine):
    """Values, duplicates, late and far ones, forgeries, reconnections, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = InEdge("a", W)
        self.session = PeerSession("a", DIGEST, self.edge, None, W)
        self.session.link_up()
        self.session.receive(Hello(DIGEST, 0, 0, answer=True))
        self.model: dict[int, float] = {}  # what is here and was not taken
        self.taken: list[float] = []
        self.told = W  # the credit that the sender has heard of

    @rule(offset=st.integers(-3, W + 3), forged=st.booleans())
    def value(self, offset: int, forged: bool) -> None:
        seq = len(self.taken) + offset
        if seq < 0:
            return
        value = seq + 0.5 if forged else float(seq)
        frame = Data(seq, tag(seq), value)
        is_late, is_far = seq < len(self.taken), seq >= len(self.taken) + W
        if is_far or (not is_late and self.model.get(seq, value) != value):
            with pytest.raises(RemoteProtocolError, match="a sent") as caught:
                self.session.receive(frame)
            assert caught.value.node == "a"
            return
        assert self.session.receive(frame) == []
        if not is_late:
            self.model[seq] = value

    @rule()
    def take(self) -> None:
        seq = len(self.taken)
        here = self.edge.peek()
        assert (here is not None) == (seq in self.model)
        if here is None:
            return
        assert here == tag(seq)
        value = self.edge.take()
        assert value == self.model.pop(seq)
        self.taken.append(value)
        for frame in self.session.taken():
            assert isinstance(frame, Ack)
            assert frame.credit_to > self.told, "credit is monotone"
            self.told = frame.credit_to

    @rule()
    def reconnect(self) -> None:
        self.session.link_down()
        (hello,) = self.session.link_up()
        assert isinstance(hello, Hello)
        first_missing = len(self.taken)
        while first_missing in self.model:
            first_missing += 1
        assert (hello.receive_next, hello.credit_to) == (first_missing, len(self.taken) + W)
        self.told = hello.credit_to
        self.session.receive(Hello(DIGEST, 0, 0, answer=True))

    @invariant()
    def the_buffer_is_bounded_and_the_credit_live(self) -> None:
        assert self.edge.held == len(self.model) <= W
        assert self.edge.credit_to == len(self.taken) + W
        assert self.told > len(self.taken), "a sender that waits for credit will get it"


TestWindow = Window.TestCase
TestWindow.settings = settings(max_examples=100, stateful_step_count=100, deadline=None)


# ---- two sessions over a link that loses all on it when it is cut ----


class Pair(RuleBasedStateMachine):
    """a sends to b and b to a. The link keeps the order, and may be cut at any moment.

    Acknowledgements may be repeated and may overtake each other.
    """

    LAST = 12

    def __init__(self) -> None:
        super().__init__()
        self.edges = [InEdge("b", W), InEdge("a", W)]
        self.outs = [OutEdge(W), OutEdge(W)]
        self.ends = [
            PeerSession(name, DIGEST, edge, out, W)
            for name, edge, out in zip("ba", self.edges, self.outs, strict=True)
        ]
        self.link: list[deque[Frame]] = [deque(), deque()]  # towards end i
        self.got: list[list[Value]] = [[], []]
        self.is_up = [False, False]

    def put(self, sender: int, frames: Sequence[Frame]) -> None:
        if self.is_up[0] and self.is_up[1]:
            self.link[1 - sender].extend(frames)

    @rule(end=st.integers(0, 1))
    def link_up(self, end: int) -> None:
        if not self.is_up[end]:
            self.is_up[end] = True
            self.put(end, self.ends[end].link_up())
            other = 1 - end
            if self.is_up[other]:  # the link is whole now; the other end greets on it too
                self.put(other, self.ends[other].link_up())

    @rule()
    def cut(self) -> None:
        self.is_up = [False, False]
        for queue, end in zip(self.link, self.ends, strict=True):
            queue.clear()
            end.link_down()

    @rule(end=st.integers(0, 1))
    def push(self, end: int) -> None:
        out = self.outs[end]
        if out.has_room and out.next < self.LAST:
            self.put(end, self.ends[end].send(tag(out.next), float(out.next)))

    @rule(end=st.integers(0, 1), twice=st.booleans())
    def deliver(self, end: int, twice: bool) -> None:
        if self.link[end]:
            frame = self.link[end].popleft()
            for _ in range(1 + twice):
                self.put(end, self.ends[end].receive(frame))

    @rule(end=st.integers(0, 1))
    def an_acknowledgement_is_overtaken(self, end: int) -> None:
        queue = self.link[end]
        if len(queue) > 1 and isinstance(queue[0], Ack) and isinstance(queue[1], Ack | Data):
            queue[0], queue[1] = queue[1], queue[0]

    @rule(end=st.integers(0, 1))
    def take(self, end: int) -> None:
        if self.edges[end].peek() is not None:
            self.got[end].append(self.edges[end].take())
            self.put(end, self.ends[end].taken())

    @invariant()
    def everything_is_bounded_and_nothing_beyond_credit(self) -> None:
        for out, edge in zip(self.outs, reversed(self.edges), strict=True):
            assert out.kept <= W
            assert edge.held <= W
            assert out.credit_to <= edge.credit_to
        for queue, edge in zip(self.link, self.edges, strict=True):
            assert all(f.seq < edge.credit_to for f in queue if isinstance(f, Data))

    def teardown(self) -> None:
        """Whatever has happened: once the link holds, everything arrives once and in order."""
        for end in (0, 1):
            self.link_up(end)
        for _ in range(200):
            for end in (0, 1):
                self.push(end)
                self.deliver(end, twice=False)
                self.take(end)
        expected = [float(k) for k in range(self.LAST)]
        assert self.got == [expected, expected]
        assert all(end.state is SessionState.OPEN for end in self.ends)


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_what_is_given_beyond_the_credit_waits_for_it() -> None:
    out = OutEdge(W)
    for k in range(3):
        out.push(tag(k), float(k))
    assert out.ready() == []
    out.acknowledge(0, credit_to=1)
    assert out.ready() == [Data(0, tag(0), 0.0)]
    out.acknowledge(3, credit_to=4)  # it claims to have what was never on the link: so be it
    assert (out.ready(), out.kept, out.acknowledged) == ([], 0, 3)
    out.push(tag(3), 3.0)
    assert out.ready() == [Data(3, tag(3), 3.0)]


def test_a_large_value_waits_until_the_last_one_was_acknowledged() -> None:
    out, large = OutEdge(W), np.zeros(session.LARGE // 8)
    out.acknowledge(0, credit_to=W)
    for k in range(3):
        out.push(tag(k), large)
    assert [frame.seq for frame in out.ready()] == [0]  # type: ignore[union-attr]
    assert out.ready() == []
    out.acknowledge(1, credit_to=1 + W)
    assert [frame.seq for frame in out.ready()] == [1]  # type: ignore[union-attr]
    out.rewind(1)
    assert [frame.seq for frame in out.ready()] == [1], "again, on a new link"  # type: ignore[union-attr]
    out.acknowledge(2, credit_to=2 + W)
    assert [frame.seq for frame in out.ready()] == [2]  # type: ignore[union-attr]


def test_large_values_after_small_ones_do_not_wait_for_each_other() -> None:
    ends = [PeerSession(name, DIGEST, InEdge(name, W), OutEdge(W), W) for name in "ab"]
    links: list[deque[Frame]] = [deque(end.link_up()) for end in ends]
    for value in (1.0, 2.0, np.zeros(session.LARGE // 8), np.zeros(session.LARGE // 8), 3.0):
        for end, link in zip(ends, links, strict=True):
            assert end.outgoing is not None
            link.extend(end.taken())
            link.extend(end.send(tag(end.outgoing.next), value))
        while any(links):
            for link, back, end in zip(links, links[::-1], ends[::-1], strict=True):
                while link:
                    back.extend(end.receive(link.popleft()))
        for end in ends:
            assert end.incoming is not None
            assert same_value(end.incoming.take(), value)


# ---- whole networks: some order of arrival never stalls them ----


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """A connected graph: a random tree, or a directed ring in a random order, and more edges."""
    n = draw(st.integers(1, 7))
    directed = draw(st.booleans()) and n > 1
    if directed:
        order = draw(st.permutations(range(n)))
        edges = set(zip(order, [*order[1:], order[0]], strict=True))
    else:
        edges = {(draw(st.integers(0, i - 1)), i) for i in range(1, n)}
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1])
    if n > 1:
        edges |= set(draw(st.lists(pairs, max_size=8)))
    return from_edges(n, sorted(edges), directed=directed)


class Node:
    """A node with nothing but its machines: sends its k-th value when it may, drains after all."""

    def __init__(self, graph: Graph, i: int, window: int, exchanges: int) -> None:
        self.i = i
        self.done = 0
        self._total = exchanges
        senders, receivers = graph.in_neighbors(i), graph.out_neighbors(i)
        self.rounds = Rounds([(j, str(j)) for j in senders], window)
        self.outs = {j: OutEdge(window) for j in receivers}
        self.peers = {
            j: PeerSession(str(j), DIGEST, self.rounds.edges.get(j), self.outs.get(j), window)
            for j in sorted({*senders, *receivers})
        }
        self._sent = 0

    def drain(self) -> list[tuple[int, Frame]]:
        """Goes as far as it can; several exchanges may have become whole at once."""
        frames: list[tuple[int, Frame]] = []
        while True:
            if self._sent == self.done < self._total and all(
                out.has_room for out in self.outs.values()
            ):
                for j in self.outs:
                    sent = self.peers[j].send(tag(self._sent), (self.i, self._sent))
                    frames += [(j, frame) for frame in sent]
                self._sent += 1
            if self._sent == self.done:
                return frames
            inbox = self.rounds.take(tag(self.done))
            if inbox is None:
                return frames
            assert inbox == {j: (j, self.done) for j in self.rounds.edges}
            self.done += 1
            for j, peer in self.peers.items():
                frames += [(j, frame) for frame in peer.taken()]


@pytest.mark.slow
@given(
    graph=networks(),
    window=st.integers(1, 4),
    rnd=st.randoms(use_true_random=False),
    cuts=st.integers(0, 6),
    large=st.sampled_from([0, session.LARGE]),
)
@settings(max_examples=200, deadline=None)
def test_every_connected_network_makes_progress_whatever_the_order_of_arrival(
    graph: Graph, window: int, rnd: np.random.Generator, cuts: int, large: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "LARGE", large)  # with 0 every value is
        run_network(graph, window, rnd, cuts)


def run_network(graph: Graph, window: int, rnd: np.random.Generator, cuts: int) -> None:
    exchanges = 6
    nodes = [Node(graph, i, window, exchanges) for i in range(graph.n)]
    links: dict[tuple[int, int], deque[Frame]] = {}

    def post(sender: int, frames: list[tuple[int, Frame]]) -> None:
        for receiver, frame in frames:
            links.setdefault((sender, receiver), deque()).append(frame)

    def greet(i: int, j: int) -> None:
        post(i, [(j, frame) for frame in nodes[i].peers[j].link_up()])

    for node in nodes:
        for j in node.peers:
            greet(node.i, j)
        post(node.i, node.drain())
    while any(links.values()):
        waiting = sorted(link for link, queue in links.items() if queue)
        i, j = rnd.choice(waiting)
        if cuts and rnd.random() < 0.05:
            cuts -= 1
            for a, b in ((i, j), (j, i)):
                links.pop((a, b), None)
                nodes[a].peers[b].link_down()
            greet(i, j)
            greet(j, i)
            continue
        frame = links[i, j].popleft()
        post(j, [(i, answer) for answer in nodes[j].peers[i].receive(frame)])
        post(j, nodes[j].drain())
        assert all(edge.held <= window for edge in nodes[j].rounds.edges.values())
    assert [node.done for node in nodes] == [exchanges] * graph.n


# ---- values are compared to the bit ----


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1.0, 1.0, True),
        (0.0, -0.0, False),
        (float("nan"), float("nan"), True),
        (1, 1.0, False),
        (True, 1, False),
        (np.array([np.nan]), np.array([np.nan]), True),
        (np.array([0.0]), np.array([-0.0]), False),
        (np.zeros(2), np.zeros(2, np.float32), False),
        (np.zeros((2, 1)), np.zeros((1, 2)), False),
        (np.zeros(1), 0.0, False),
        ((1.0, (2.0,)), (1.0, (2.0,)), True),
        ((1.0,), (1.0, 1.0), False),
        ((1.0,), 1.0, False),
        ({"a": np.ones(1)}, {"a": np.ones(1)}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ({"a": 1.0}, (1.0,), False),
    ],
)
def test_two_values_are_the_same_only_to_the_bit(a: Value, b: Value, same: bool) -> None:
    assert same_value(a, b) is same
    assert same_value(b, a) is same


def test_large_values_are_compared_to_the_last_bit_without_copies_of_them() -> None:
    a, b = np.zeros(1 << 20), np.zeros(1 << 20)
    tracemalloc.start()
    try:
        assert same_value(a, b)
        b[-1] = -0.0
        assert not same_value(a, b)
        assert tracemalloc.get_traced_memory()[1] < a.nbytes / 2
    finally:
        tracemalloc.stop()
