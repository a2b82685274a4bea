"""Asking: what a participant's exchanges mean, value by value.

A participant owns its loop and asks in the middle of it; an algorithm yields the same effects to
a stepper. Both freeze what is sent, find it finite, tag it with (iteration, exchange within it,
kind), hold what comes against the own value, and add up with the own row of W in node order. So a
participant that computes what an algorithm does gets its bits.

    outgoing = asking.outgoing(Mix((value,)))        # to the exchange
    (mixed,) = asking.reply(inbox)                   # what the exchange returned
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from p2pdo.effects import Exchange, Mix, freeze
from p2pdo.errors import RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.stepper import Outgoing, Place, describe, is_finite, same_layout, size_of
from p2pdo.types import Value


class Asking:
    """One node's questions, in order.

    Attributes:
        iteration: the round that the next question belongs to; its owner sets it.
        exchanges: how many have been asked for.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.iteration = 0
        self.exchanges = 0
        self.messages_sent = 0
        self.bytes_sent = 0
        self._next = (0, 0)  # (iteration, exchange within it) of the next question
        self._asked: Mix | Exchange = Exchange(())

    def outgoing(self, effect: Mix | Exchange) -> Outgoing:
        """What this effect sends to every out-neighbour.

        Raises:
            LocalProtocolError: the value holds something that cannot be exchanged.
            WorkloadFailed: it is not finite.
        """
        value: Value
        if isinstance(effect, Mix):
            self._asked = Mix(freeze(effect.values))
            kind, value = EffectKind.MIX, self._asked.values
        else:
            self._asked = Exchange(freeze(effect.value))
            kind, value = EffectKind.EXCHANGE, self._asked.value
        self._check_finite(value)
        phase = self._next[1] if self._next[0] == self.iteration else 0
        self._next = (self.iteration, phase + 1)
        receivers = len(self.place.out_neighbors)
        self.exchanges += 1
        self.messages_sent += receivers
        self.bytes_sent += receivers * size_of(value)
        return Outgoing(Tag(self.iteration, phase, kind), value)

    def reply(self, inbox: Mapping[int, Value]) -> Any:
        """The answer: weighted sums, or every in-neighbour's value by its index.

        Raises:
            RemoteProtocolError: a value to be mixed is laid out differently from the own one.
        """
        place = self.place
        if isinstance(self._asked, Exchange):
            return {j: inbox[j] for j in place.in_neighbors}
        own = self._asked.values
        for sender in place.in_neighbors:
            self._check_like(own, inbox[sender], sender)
        return place.row.weighted_sum({**inbox, place.node: own})

    def _check_like(self, own: tuple[Value, ...], theirs: Value, sender: int) -> None:
        if same_layout(own, theirs):
            return
        name = self.place.name_of(sender)
        if isinstance(theirs, tuple) and len(theirs) == len(own) == 1:
            own_one, their_one = own[0], theirs[0]  # so that names are told without an index
        else:
            own_one, their_one = own, theirs
        told = next(differences(own_one, their_one))
        raise RemoteProtocolError(
            f"{name} and {self.place.name} mix values of different layouts: {told}",
            hint="all nodes must mix values of the same names, shapes and dtypes: "
            "do they build the same model?",
            node=name,
            iteration=self.iteration,
        )

    def _check_finite(self, value: Value) -> None:
        if is_finite(value):
            return
        raise WorkloadFailed(
            f"{self._first_not_finite(value)} of {self.place.name} is not finite (NaN or infinite) "
            f"in round {self.iteration}",
            hint="a smaller step size or learning rate, or look at the loss there",
            node=self.place.name,
            iteration=self.iteration,
        )

    @staticmethod
    def _first_not_finite(value: Value) -> str:
        """Its name, where it has one."""
        name = next(name for name, leaf in leaves(value) if not is_finite(leaf))
        return f"'{name}'" if name else "a value"


def differences(own: Value, theirs: Value, where: str = "") -> Iterator[str]:
    """Where two values are not laid out alike, in words, from the first difference on."""
    if isinstance(own, dict) and isinstance(theirs, dict):
        for key in own:
            if key not in theirs:
                yield f"'{_join(where, key)}' is {describe(own[key])} here and absent there"
            else:
                yield from differences(own[key], theirs[key], _join(where, key))
        for key in theirs:
            if key not in own:
                yield f"'{_join(where, key)}' is absent here and {describe(theirs[key])} there"
    elif isinstance(own, tuple) and isinstance(theirs, tuple) and len(own) == len(theirs):
        for i, (a, b) in enumerate(zip(own, theirs, strict=True)):
            yield from differences(a, b, _join(where, str(i)))
    elif not same_layout(own, theirs):
        place = f"'{where}' is " if where else ""
        yield f"{place}{describe(own)} here, {describe(theirs)} there"


def leaves(value: Value, where: str = "") -> Iterator[tuple[str, Value]]:
    """Every array and scalar with the names that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, _join(where, key))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from leaves(item, where if len(value) == 1 else _join(where, str(i)))
    else:
        yield where, value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
