"""The words that two nodes say about one workload. The link they travel on knows the workload.

Hello   opens the edges between the two, or opens them again on a new link
Data    one value, tagged with its place in the computation; it may carry an Ack
Ack     cumulative: what has arrived, and how far the sender may go on
Bye     closes the edges
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from p2pdo.types import Value


class EffectKind(IntEnum):
    """Which effect a value answers; part of its tag, so that a disagreement is an error."""

    MIX = 1
    EXCHANGE = 2
    EXCHANGE_EACH = 3
    MESSAGE = 4  # of an asynchronous algorithm; it answers none


class Tag(NamedTuple):
    """The place of a value: the `phase`-th exchange of `iteration`."""

    iteration: int
    phase: int
    effect: EffectKind

    def __str__(self) -> str:
        name = self.effect.name.lower()
        return f"iteration {self.iteration}, exchange {self.phase} ({name})"


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens edges.

    Attributes:
        digest: of the topology; both ends must have been given the same one.
        receive_next: the first sequence number that has not arrived here.
        credit_to: sequence numbers below this one may be sent here.
        answer: whether this answers the peer's Hello; one that does not asks for an answer.
        offer: how the peer finds values in memory that both share; empty where it cannot.
        attached: whether the peer's memory was found here; None where that is not known yet.
        share: the sender's part in the secret of the two, see `masking`; empty without a monitor.
    """

    digest: bytes
    receive_next: int
    credit_to: int
    answer: bool
    offer: bytes = b""
    attached: bool | None = False
    share: bytes = b""


class Ack(NamedTuple):
    """Absolute and monotone, so a lost or repeated one does no harm."""

    receive_next: int
    credit_to: int


class Data(NamedTuple):
    """A value with its sequence number: + 1 per exchange on each directed edge.

    Where values go both ways, one's acknowledgement travels with the other: half the frames.
    """

    seq: int
    tag: Tag
    value: Value
    ack: Ack | None = None


@dataclass(frozen=True, slots=True)
class Bye:
    reason: str


Frame: TypeAlias = Hello | Data | Ack | Bye
