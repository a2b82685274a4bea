"""The two ends of a directed edge between asynchronous nodes.

    give(increments) ──▶ Message(wakes, number q, newest values and sums σ) ──▶ take ──▶ increments

Every message carries all there is to know: the newest value of each part that is `LATEST`, and of
each `RUNNING_SUM` the sum σ of all that was ever given. So the newest message is enough. The
receiving end keeps the number of the newest that it took and the sums ρ up to there; of a newer one
it passes on σ − ρ, and a message that is not newer changes nothing. A loss is made up for by the
next message, a double and one that was overtaken are dropped, and both ends keep as little as one
value a part.

Sums are float64 whatever is summed: increments of float32 would be lost in a sum of 10⁵ of them.
`wakes` tells how far the sender is, also where there is nothing else to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from p2pdo.algorithms.asynchronous.contract import Channel, Parts
from p2pdo.effects import freeze
from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.protocol.values import describe, is_finite, same_layout
from p2pdo.types import Array, Value

Channels = Mapping[str, Channel]


class Message(NamedTuple):
    """What goes over an edge.

    Attributes:
        wakes: the sender's wake-ups so far.
        number: q, + 1 with everything that was given; zero before anything was.
        parts: newest values and sums as of that number; none where only `wakes` is told.
    """

    wakes: int
    number: int
    parts: Parts


@dataclass
class SendingEnd:
    """What one node told one out-neighbour.

    Attributes:
        number: of the newest message.
        sums: σ, by name.
        latest: the newest message, to be told again.
    """

    channels: Channels
    number: int = 0
    sums: dict[str, Array] = field(default_factory=dict)
    latest: Message = field(default_factory=lambda: Message(0, 0, {}))

    def give(self, parts: Parts, wakes: int) -> Message:
        """The message that brings these parts too.

        Raises:
            LocalProtocolError: there are other parts than the channels name, or a sum is no array.
        """
        if parts.keys() != self.channels.keys():
            raise LocalProtocolError(
                f"what is sent has the parts {sorted(parts)}, declared are {sorted(self.channels)}",
                hint="send each neighbour all parts that 'channels' names",
            )
        sent: dict[str, Value] = {}
        for name, channel in self.channels.items():
            part: Any = freeze(parts[name])
            if channel is Channel.RUNNING_SUM:
                part = self._add(name, part)
            sent[name] = part
        self.number += 1
        self.latest = Message(wakes, self.number, sent)
        return self.latest

    def _add(self, name: str, part: Any) -> Array:
        if not (isinstance(part, np.ndarray) and part.dtype.kind in "fiu"):
            raise LocalProtocolError(
                f"{describe(part)} cannot be summed as '{name}'",
                hint="what goes by a running sum is an array of real numbers",
            )
        total = self.sums.get(name)
        added = part.astype(np.float64) if total is None else total + part
        self.sums[name] = freeze(added)
        return self.sums[name]

    def tell(self, wakes: int) -> Message:
        """Where there is nothing to give: how far this node is."""
        return Message(wakes, self.number, {})

    def again(self, wakes: int) -> Message:
        """All there is to know, once more."""
        return self.latest._replace(wakes=wakes)


@dataclass
class ReceivingEnd:
    """What one node took from one in-neighbour.

    Attributes:
        number: of the newest message that was taken.
        wakes: how far the sender is known to be.
        sums: ρ, by name.
    """

    sender: str
    channels: Channels
    number: int = 0
    wakes: int = 0
    sums: dict[str, Array] = field(default_factory=dict)

    def take(self, message: Message, like: Mapping[str, Value]) -> Parts | None:
        """The newest values and what the sums grew by; None where the message is no news.

        `like` has the layout of what is known of the parts already.

        Raises:
            RemoteProtocolError: what came is not what the channels name, or not finite.
        """
        self.wakes = max(self.wakes, message.wakes)
        if message.number <= self.number or not message.parts:
            return None  # only how far it is
        self._check(message, like)
        taken: dict[str, Value] = {}
        for name, channel in self.channels.items():
            part: Any = message.parts[name]
            if channel is Channel.RUNNING_SUM:
                before = self.sums.get(name)
                taken[name] = freeze(part - before if before is not None else part + 0.0)
                self.sums[name] = part
            else:
                taken[name] = part
        self.number = message.number
        return taken

    def _check(self, message: Message, like: Mapping[str, Value]) -> None:
        parts = message.parts
        if parts.keys() != self.channels.keys():
            raise self._error(
                message, f"sent the parts {sorted(parts)}, here are {sorted(self.channels)}"
            )
        for name, part in parts.items():
            if name in like and not same_layout(like[name], part):
                raise self._error(
                    message, f"sent {describe(part)} as '{name}', here it is {describe(like[name])}"
                )
            if not is_finite(part):
                raise self._error(message, f"sent '{name}' that is not finite (NaN or infinite)")

    def _error(self, message: Message, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"{self.sender} {what}",
            hint="all nodes must run one algorithm on problems of one dimension and dtype",
            node=self.sender,
            iteration=message.wakes,
        )
