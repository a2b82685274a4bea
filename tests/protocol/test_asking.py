"""What a participant asks is tagged, counted and checked as what a step asks is."""

from __future__ import annotations

import numpy as np
import pytest

from p2pdo.effects import Exchange, Mix, Row
from p2pdo.errors import LocalProtocolError, RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.asking import Asking
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.values import differences


def asking() -> Asking:
    row = Row(((0, 0.25), (1, 0.25), (2, 0.5)))
    return Asking(Place(1, "b", (0, 2), (2,), row, {0: "a", 2: "c"}))


def test_exchanges_are_numbered_within_their_round() -> None:
    made = asking()
    tags = []
    asked = [(0, Exchange(1.0)), (0, Mix((1.0,))), (3, Mix((1.0,))), (3, Mix((2,)))]
    for iteration, effect in asked:
        made.iteration = iteration
        tags.append(made.outgoing(effect).tag)
    assert tags == [
        Tag(0, 0, EffectKind.EXCHANGE),
        Tag(0, 1, EffectKind.MIX),
        Tag(3, 0, EffectKind.MIX),
        Tag(3, 1, EffectKind.MIX),
    ]
    assert (made.exchanges, made.messages_sent, made.bytes_sent) == (4, 4, 32)


def test_sums_are_in_node_order_with_the_own_value_in_its_place() -> None:
    made = asking()
    a, b, c = (np.array([10.0**k, 1 / 3]) for k in (16, 0, -16))
    made.outgoing(Mix((b,)))
    (mixed,) = made.reply({2: (c,), 0: (a,)})
    expected = ((0.0 + 0.25 * a) + 0.25 * b) + 0.5 * c
    assert mixed.tobytes() == expected.tobytes()
    made.outgoing(Exchange(b))
    assert list(made.reply({2: 1.0, 0: 2.0}).items()) == [(0, 2.0), (2, 1.0)]


def test_what_is_sent_is_frozen_finite_and_of_known_types() -> None:
    made = asking()
    sent = made.outgoing(Exchange({"x": np.zeros(2)})).value
    assert not sent["x"].flags.writeable  # type: ignore[index,call-overload,union-attr]
    with pytest.raises(WorkloadFailed, match=r"a value of b is not finite .* in round 0"):
        made.outgoing(Mix((np.array([np.nan]),)))
    with pytest.raises(WorkloadFailed, match=r"'deep\.1' of b is not finite"):
        made.outgoing(Exchange({"ok": 1.0, "deep": (0.0, float("inf"))}))
    with pytest.raises(LocalProtocolError, match="cannot be exchanged"):
        made.outgoing(Mix(("text",)))  # type: ignore[arg-type]


def test_a_neighbour_s_other_layout_is_told_in_words() -> None:
    made = asking()
    made.outgoing(Mix(({"w": np.zeros(2)},)))
    with pytest.raises(RemoteProtocolError, match=r"c and b .* 'w' is float64 \(2,\)") as error:
        made.reply({0: ({"w": np.zeros(2)},), 2: ({"w": np.zeros(3)},)})
    assert error.value.node == "c"
    made.outgoing(Mix((1.0,)))
    with pytest.raises(RemoteProtocolError, match=r"float here, float64 \(1,\) there"):
        made.reply({0: (np.zeros(1),), 2: (1.0,)})


def test_a_neighbour_that_mixes_another_number_of_values_is_told_too() -> None:
    for odd in ((1.0, 2.0), (), 3.0):
        made = asking()
        made.outgoing(Mix((1.0,)))
        with pytest.raises(RemoteProtocolError, match="c and b mix values of different layouts"):
            made.reply({0: (1.0,), 2: odd})


def test_every_difference_is_found() -> None:
    own = {"a": np.zeros(1), "b": (1.0, np.zeros(2)), "c": 1}
    theirs = {"a": np.zeros(1, np.float32), "b": (1.0, 2.0), "d": 1}
    assert list(differences(own, theirs)) == [
        "'a' is float64 (1,) here, float32 (1,) there",
        "'b.1' is float64 (2,) here, float there",
        "'c' is int here and absent there",
        "'d' is absent here and int there",
    ]
    assert list(differences(own, own)) == []
