"""Edges of asynchronous nodes, and the member that has them: conversations without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from p2pdo.algorithms import AsynchronousConsensus, AsySonata, Channel, RobustPushSum
from p2pdo.algorithms.asynchronous import AsynchronousAlgorithm, Parts
from p2pdo.effects import Here, Row
from p2pdo.errors import LocalProtocolError, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.asynchronous.channels import Message, ReceivingEnd, SendingEnd
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.protocol.exchanging import Place
from p2pdo.simulation.asynchronous import members_of
from p2pdo.types import Array

BOTH = {"x": Channel.LATEST, "u": Channel.RUNNING_SUM}


def parts(x: float, u: float) -> dict[str, Array]:
    return {"x": np.array([x], float), "u": np.array([u], float)}


def taken(end: ReceivingEnd, message: Message) -> tuple[float, float] | None:
    found = end.take(message, {})
    if found is None:
        return None
    x, u = (np.asarray(found[name]) for name in ("x", "u"))
    return float(x[0]), float(u[0])


# ---- edges ----


def test_what_is_lost_is_in_the_next_message() -> None:
    out, into = SendingEnd(BOTH), ReceivingEnd("b", BOTH)
    out.give(parts(1, 10), 1)
    second = out.give(parts(2, 5), 2)
    assert taken(into, second) == (2, 15)
    assert taken(into, out.give(parts(3, 1), 3)) == (3, 1)


def test_what_comes_twice_or_late_changes_nothing() -> None:
    out, into = SendingEnd(BOTH), ReceivingEnd("b", BOTH)
    first, second = out.give(parts(1, 10), 1), out.give(parts(2, 5), 2)
    assert taken(into, second) == (2, 15)
    assert taken(into, second) is None
    assert taken(into, first) is None
    assert taken(into, out.again(7)) is None
    assert into.wakes == 7, "how far the sender is, is news all the same"


def test_where_there_is_nothing_to_say_it_is_told_how_far_a_node_is() -> None:
    out, into = SendingEnd(BOTH), ReceivingEnd("b", BOTH)
    assert taken(into, out.tell(3)) is None
    assert into.wakes == 3
    given = out.give(parts(1, 10), 4)
    assert taken(into, out.tell(5)) is None, "it has overtaken what was given"
    assert taken(into, given) == (1, 10)
    assert into.wakes == 5


def test_sums_of_float32_are_kept_in_float64() -> None:
    channels = {"u": Channel.RUNNING_SUM}
    out, into = SendingEnd(channels), ReceivingEnd("b", channels)
    total = 0.0
    for _ in range(20_000):
        found = into.take(out.give({"u": np.array([0.1], np.float32)}, 1), {})
        assert found is not None
        total += float(np.asarray(found["u"])[0])
    assert total == pytest.approx(20_000 * float(np.float32(0.1)), rel=1e-12)


def test_what_was_sent_is_not_changed_by_what_is_sent_later() -> None:
    out = SendingEnd(BOTH)
    first = out.give(parts(1, 10), 1)
    out.give(parts(2, 5), 2)
    assert np.asarray(first.parts["u"])[0] == 10
    assert not np.asarray(first.parts["u"]).flags.writeable


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"x": np.zeros(1)}, r"has the parts \['x'\], declared are \['u', 'x'\]"),
        ({"x": np.zeros(1), "u": 1.0}, "float cannot be summed as 'u'"),
    ],
)
def test_other_parts_than_declared_are_not_sent(sent: Any, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        SendingEnd(BOTH).give(sent, 1)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"x": np.zeros(1)}, r"b sent the parts \['x'\], here are \['u', 'x'\]"),
        (parts(0, np.nan), "b sent 'u' that is not finite"),
        ({"x": np.zeros(2), "u": np.zeros(1)}, r"b sent .*\(2,\).* as 'x', here it is .*\(1,\)"),
    ],
)
def test_what_does_not_fit_is_told_with_its_sender(sent: Any, says: str) -> None:
    end = ReceivingEnd("b", BOTH)
    with pytest.raises(RemoteProtocolError, match=says) as caught:
        end.take(Message(1, 1, sent), {"x": np.zeros(1)})
    assert caught.value.node == "b"


# ---- members ----


def member(
    algorithm: AsynchronousAlgorithm[Any] | None = None,
    *,
    hears: tuple[int, ...] = (1,),
    tells: tuple[int, ...] = (1,),
    max_staleness: int = 3,
) -> Member[Any]:
    share = 1 / (1 + len(hears))
    row = Row(tuple((j, share) for j in sorted((0, *hears))))
    place = Place(0, "node-0", hears, tells, row, {j: f"node-{j}" for j in hears})
    problem = Quadratic(np.eye(2), np.ones(2))
    x = np.array([1.0, 2.0])
    return Member(
        algorithm or RobustPushSum(), problem, place, x, seed=0, max_staleness=max_staleness
    )


def test_a_node_waits_for_who_is_too_far_behind_and_names_it() -> None:
    one = member(hears=(1, 2), tells=(1,))
    for _ in range(3):
        assert one.may_wake
        one.wake()
    assert not one.may_wake
    assert one.waits_for() == ["node-1", "node-2"]
    one.receive(1, Message(1, 0, {}))
    assert one.waits_for() == ["node-2"]
    one.receive(2, Message(1, 0, {}))
    assert one.may_wake
    assert one.waits_for() == []


def test_a_node_is_due_when_there_is_news_or_somebody_is_ahead() -> None:
    one = member()
    assert one.is_due, "it begins"
    one.wake()
    assert not one.is_due, "it would only repeat itself"
    one.receive(1, Message(1, 0, {}))
    assert one.is_due
    one.wake()
    one.receive(1, Message(4, 0, {}))
    one.wake()
    assert one.is_due, "node-1 is ahead"
    one.wake()
    assert not one.is_due


def test_every_out_neighbour_is_told_how_far_a_node_is() -> None:
    quiet = member(_Quiet(), tells=(1,))
    ((receiver, message),) = quiet.wake()
    assert (receiver, message) == (1, Message(1, 0, {}))


def test_the_ledger_sees_mass_that_is_lost_on_the_way_of_a_reply() -> None:
    one = member(_Giving())
    reply = one.receive(1, Message(1, 1, {"u": np.ones(2)}))
    assert reply is not None
    assert one.ledger() == 0
    one.sending[1].sums["u"] = np.zeros(2)  # as if it had never been given
    assert one.ledger() == 0.5, "1, of the 2 that it began with"


def test_a_strangers_value_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="node 5, which is no in-neighbour here"):
        member().receive(5, Message(1, 1, {}))


def test_a_reply_to_who_does_not_hear_it_is_told() -> None:
    with pytest.raises(LocalProtocolError, match="node 1, which does not hear this one"):
        member(_Giving(), tells=()).receive(1, Message(1, 1, {"u": np.ones(2)}))


@pytest.mark.parametrize(
    ("algorithm", "says"),
    [
        ("raises", "ZeroDivisionError"),
        ("stranger", r"wake\(\) sends to \[7\], the out-neighbours are \[1\]"),
        ("nan", "a value of node-0 is not finite .* in wake-up 1"),
        ("shape", r"after wake-up 0 the decision variable of node-0 is .*\(3,\)"),
    ],
)
def test_an_authors_mistake_is_told_with_node_and_wake_up(algorithm: str, says: str) -> None:
    one = member(_Broken(algorithm))
    with pytest.raises(P2pdoError, match=says) as caught:
        one.wake()
    assert caught.value.node == "node-0"
    assert caught.value.iteration is not None
    assert caught.value.hint


def test_a_problem_without_the_oracle_is_refused() -> None:
    class Bare:
        dimension = 2

    place = Place(0, "node-0", (), (), Row(((0, 1.0),)))
    with pytest.raises(WorkloadFailed, match="asy-sonata needs a problem with the methods of"):
        Member(AsySonata(0.1), Bare(), place, np.zeros(2), 0, max_staleness=1)


@pytest.mark.parametrize("topology", ["ring", "directed-ring", "star"])
@pytest.mark.parametrize("seed", range(3))
def test_who_wakes_only_when_due_on_links_that_lose_nothing_never_waits_for_ever(
    topology: str, seed: int
) -> None:
    """Messages are taken in batches of any size; nobody is ever further ahead than allowed."""
    rng = np.random.default_rng(seed)
    graph = by_name(topology, 6, rng)
    plan = AsynchronousPlan(
        AsynchronousConsensus(),
        [Quadratic(np.eye(2), np.ones(2)) for _ in range(6)],
        graph,
        default(graph),
        [np.full(2, float(i)) for i in range(6)],
        rounds=40,
        asynchrony=Asynchrony(max_staleness=2),
    )
    members = members_of(plan)
    boxes: dict[tuple[int, int], list[Message]] = {
        (int(j), int(i)): [] for j, i in plan.graph.edges
    }
    while min(one.wakes for one in members) < plan.rounds:
        able = [one for one in members if one.wakes < plan.rounds and one.is_due]
        waiting = [edge for edge, box in boxes.items() if box]
        assert able or waiting, "nobody is due and nothing is under way"
        if able and (not waiting or rng.random() < 0.5):
            one = able[int(rng.integers(len(able)))]
            for j, message in one.wake():
                boxes[one.place.node, j].append(message)
            assert all(one.wakes - members[j].wakes <= 2 for j in one.place.in_neighbors), (
                "further ahead than allowed"
            )
        else:
            j, i = waiting[int(rng.integers(len(waiting)))]
            for _ in range(int(rng.integers(1, 1 + len(boxes[j, i])))):
                members[i].receive(j, boxes[j, i].pop(0))


# ---- algorithms that say little, or too much ----


@dataclass(frozen=True)
class _Quiet(RobustPushSum):
    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        return s, {}


@dataclass(frozen=True)
class _Giving(RobustPushSum):
    """Gives back what it is given."""

    channels: ClassVar[Mapping[str, Channel]] = {"u": Channel.RUNNING_SUM}

    def receive(self, s: Any, sender: int, parts: Parts, here: Here) -> tuple[Any, Any]:
        return s, parts

    def mass(self, s: Any) -> Mapping[str, Array]:
        return {"u": s.u}


@dataclass(frozen=True)
class _Broken(AsynchronousConsensus):
    how: str = ""

    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        if self.how == "raises":
            return 1 / 0  # type: ignore[return-value]
        state, sent = super().wake(s, problem, here)
        if self.how == "stranger":
            return state, {7: {"x": state.x}}
        if self.how == "shape":
            return state._replace(x=np.zeros(3)), {}
        return state, {j: {"x": np.full(2, np.nan)} for j in sent}
