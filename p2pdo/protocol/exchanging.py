"""Exchanging: what a node sends for an effect, and what the values that come mean.

What is sent is frozen, found finite and tagged with (iteration, exchange within it, kind). What
comes to be mixed is held against the own value and added up with the own row of W in node order.
An algorithm's stepper and a participant's asking are both this, so that they have the same bits;
they differ in how they tell a mistake.

    outgoing = one.outgoing(Mix((value,)))        # to the exchange
    (mixed,) = one.reply(inbox)                   # what the exchange returned
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from p2pdo.effects import By, Effect, Exchange, ExchangeEach, Mix, Row, freeze
from p2pdo.errors import LocalProtocolError
from p2pdo.protocol.coding import Coder
from p2pdo.protocol.drops import Drops
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.values import Layout, is_finite, size_of
from p2pdo.types import Value

_MIX, _EXCHANGE, _EXCHANGE_EACH = EffectKind.MIX, EffectKind.EXCHANGE, EffectKind.EXCHANGE_EACH


@dataclass(frozen=True, slots=True)
class Place:
    """A node's place in its workload: index, name, neighbours in node order, row of W.

    `names` tells the neighbours' names, so that an error can. `drops` says which values never
    arrive here; None, as everywhere but where it is asked for: all do.
    """

    node: int
    name: str
    in_neighbors: tuple[int, ...]
    out_neighbors: tuple[int, ...]
    row: Row
    names: Mapping[int, str] = field(default_factory=dict)
    drops: Drops | None = None

    def name_of(self, neighbor: int) -> str:
        return self.names.get(neighbor, f"node {neighbor}")


class Outgoing(NamedTuple):
    """The values of one exchange: the same one for every out-neighbour, or one for each."""

    tag: Tag
    value: Value
    each: Mapping[int, Value] | None = None

    def to(self, neighbor: int) -> Value:
        return self.value if self.each is None else self.each[neighbor]


class Exchanging(ABC):
    """One node's exchanges, in order.

    Attributes:
        iteration: what the next exchange belongs to.
        exchanges: how many have been asked for.
        coder: codes what is mixed; None where it goes as it is.
    """

    def __init__(self, place: Place, coder: Coder | None = None) -> None:
        self.place = place
        self._told = len(place.out_neighbors)
        self.coder = coder
        self.row = place.row  # of this iteration
        self.iteration = 0
        self.exchanges = 0
        self.messages_sent = 0
        self.bytes_sent = 0
        self._next = (0, 0)  # (iteration, exchange within it) of the next one
        self._layouts: dict[int, Layout] = {}  # of the own values, by the exchange in an iteration
        self._mixed: tuple[Value, ...] | None = None  # the own value, where it is to be mixed
        self._layout = Layout(())  # its
        self._by: tuple[By, ...] = ()
        drops = place.drops
        self._arrivals = None if drops is None else drops.at(place.node, place.in_neighbors)

    @property
    def dropped(self) -> int:
        """How many values have not arrived."""
        return 0 if self._arrivals is None else self._arrivals.dropped

    @abstractmethod
    def not_finite(self, value: Value) -> Exception:
        """What is told of an own value that is not finite."""

    @abstractmethod
    def unlike(self, own: tuple[Value, ...], theirs: Value, sender: int) -> Exception:
        """What is told of a value to be mixed that is not laid out as the own one."""

    def outgoing(self, effect: Effect) -> Outgoing:
        """What this effect sends to the out-neighbours.

        Raises:
            LocalProtocolError: it is no effect, or holds something that cannot be exchanged.
            WorkloadFailed: a value is not finite.
        """
        self._mixed = None
        if isinstance(effect, Mix):
            outgoing = self._to_mix(effect)
        elif isinstance(effect, Exchange):
            outgoing = self._to_all(_EXCHANGE, freeze(effect.value), effect)
        elif isinstance(effect, ExchangeEach):
            outgoing = self._to_each(effect)
        else:
            raise LocalProtocolError(
                f"the step yielded {effect!r}, which is no effect",
                hint="use 'yield from mix(…)', exchange(…) or exchange_each(…)",
            )
        self.exchanges += 1
        self.messages_sent += self._told
        return outgoing

    def _to_mix(self, effect: Mix) -> Outgoing:
        if self._arrivals is not None:
            raise LocalProtocolError(
                f"a value to be mixed may never arrive at {self.place.name}, and without it a "
                "weighted sum means nothing",
                hint="exchange(…) or exchange_each(…) return what has come",
            )
        by = self._by = effect.by
        own = self._mixed = freeze(self._shares(effect) if by else effect.values)
        return self._to_all(_MIX, own, effect)

    def _to_all(self, kind: EffectKind, value: Value, effect: Effect) -> Outgoing:
        """One value for every out-neighbour. Most are laid out as in the last iteration."""
        tag = self._tag(kind)
        if not is_finite(value):
            raise self.not_finite(value)
        layout = self._layouts.get(tag.phase)
        if layout is None or not layout.fits(value):
            layout = self._layouts[tag.phase] = Layout(value)
        self._layout, size = layout, layout.size
        if self.coder is not None:
            value = self._coded(self.coder, tag, effect)
            size = size_of(value)
        self.bytes_sent += self._told * size
        return Outgoing(tag, value)

    def _to_each(self, effect: ExchangeEach) -> Outgoing:
        each = self._each(effect.values)
        tag = self._tag(_EXCHANGE_EACH)
        for value in each.values():
            self._check_finite(value)
            self.bytes_sent += size_of(value)
        if self.coder is not None:
            raise self.coder.refuse()
        return Outgoing(tag, (), each)

    def _coded(self, coder: Coder, tag: Tag, effect: Effect) -> Value:
        """The bytes in the value's place."""
        own = self._mixed
        if own is None or not isinstance(effect, Mix):
            raise coder.refuse()
        return coder.encode(tag, effect.values if self._by else own, own, self._by)

    def _tag(self, kind: EffectKind) -> Tag:
        iteration, (last, phase) = self.iteration, self._next
        if iteration != last:
            phase = 0
        self._next = iteration, phase + 1
        return Tag(iteration, phase, kind)

    def _shares(self, effect: Mix) -> tuple[Value, ...]:
        """What is sent to be mixed: a value as it is, or the share of it that one receiver gets."""
        node = self.place.node
        share = Row(((node, 1.0 / (1 + len(self.place.out_neighbors))),))
        return tuple(
            share.weighted_sum({node: value}) if how is By.PUSH else value
            for value, how in zip(effect.values, effect.by, strict=True)
        )

    def _each(self, values: Mapping[int, Value]) -> dict[int, Value]:
        if set(values) != set(self.place.out_neighbors):
            raise LocalProtocolError(
                f"exchange_each names {sorted(values)}, "
                f"the out-neighbours are {list(self.place.out_neighbors)}",
                hint="send exactly one value to each of here.out_neighbors",
            )
        return {j: freeze(values[j]) for j in self.place.out_neighbors}

    def _check_finite(self, value: Value) -> None:
        if not is_finite(value):
            raise self.not_finite(value)

    def _arrived(self) -> tuple[int, ...]:
        """Whose values the last exchange has brought, where some never arrive."""
        assert self._arrivals is not None, "asked only then"
        iteration, after = self._next
        return self._arrivals.of(iteration, after - 1)

    def reply(self, inbox: Mapping[int, Value]) -> Any:
        """The answer: weighted sums, or every in-neighbour's value by its index.

        Raises:
            RemoteProtocolError: a value to be mixed is laid out differently from the own one.
        """
        place = self.place
        own = self._mixed
        if own is None:
            arrived = place.in_neighbors if self._arrivals is None else self._arrived()
            return {j: inbox[j] for j in arrived}
        if self.coder is not None:
            return self.coder.mix(inbox)
        fits = self._layout.fits
        for sender in place.in_neighbors:
            if not fits(inbox[sender]):
                raise self.unlike(own, inbox[sender], sender)
        heard: dict[int, Any] = {**inbox, place.node: own}
        if not self._by:
            return self.row.weighted_sum(heard)
        senders = sorted((place.node, *place.in_neighbors))
        rows = {By.PULL: self.row, By.PUSH: Row(tuple((j, 1.0) for j in senders))}
        return tuple(
            rows[how].weighted_sum({j: values[k] for j, values in heard.items()})
            for k, how in enumerate(self._by)
        )
