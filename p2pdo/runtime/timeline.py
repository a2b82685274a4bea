"""Where a node's time goes: `protocol.spans` of what it does, for whoever looks at them afterwards.

A node does one thing at a time, so its spans follow each other or lie in each other. Where several
values are missing, the time counts for the first of them in node order: the waits of an exchange
add up to what it waited in all.

What is timed are subclasses that call what they override, so a run without a timeline is the same
code as before. Times are nanoseconds of CLOCK_MONOTONIC, which the processes of a host share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic_ns
from typing import Any, TypeVar

from p2pdo.algorithms.base import HasDecision
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import Tag
from p2pdo.protocol.settling import Settle
from p2pdo.protocol.settling_stepper import SettlingStepper
from p2pdo.protocol.spans import COMPUTE, MIX, ROOM, SEND, WAIT, Span
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.exchange import Exchanger
from p2pdo.types import Value

S = TypeVar("S", bound=HasDecision)


class Timeline:
    """One node's spans, the last `most` of them. Called by whichever thread is at work.

    Attributes:
        iteration: what the next span belongs to.
        now: the clock.
    """

    def __init__(self, most: int, now: Callable[[], int] = monotonic_ns) -> None:
        self.iteration = 0
        self.now = now
        self._spans: deque[tuple[str, int, int, int, str]] = deque(maxlen=most)
        self._added = 0

    def add(self, what: str, began: int, peer: str = "") -> int:
        """A span that ends now; returns when that is."""
        ended = self.now()
        self._spans.append((what, began, ended, self.iteration, peer))
        self._added += 1
        return ended

    def add_between(self, what: str, began: int, ended: int, peer: str = "") -> None:
        self._spans.append((what, began, ended, self.iteration, peer))
        self._added += 1

    @property
    def spans(self) -> list[Span]:
        """In the order of their ends."""
        return [Span(*span) for span in list(self._spans)]

    @property
    def dropped(self) -> int:
        """How many there were before those that are kept."""
        return self._added - len(self._spans)

    def to_plain(self) -> dict[str, Any]:
        return {"dropped": self.dropped, "spans": list(self._spans)}


class TimedStepper(Stepper[S]):
    """A stepper whose steps are timed."""

    def __init__(self, timeline: Timeline, *arguments: Any, **options: Any) -> None:
        self._timeline = timeline
        self._began = 0
        super().__init__(*arguments, **options)

    def advance_quietly(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """As without a clock."""
        self._began = self._timeline.now()
        try:
            return super().advance_quietly(inbox, pause_at)
        finally:
            self._timeline.add(COMPUTE, self._began)

    def reply(self, inbox: Mapping[int, Value]) -> Any:
        """As without a clock."""
        if self._mixed is None:
            return super().reply(inbox)
        began = self._timeline.now()
        try:
            return super().reply(inbox)
        finally:
            self._timeline.add(MIX, began)

    def _complete(self, state: S) -> None:
        super()._complete(state)
        self._began = self._timeline.add(COMPUTE, self._began)
        self._timeline.iteration = self.iteration


class _TimedSettlingStepper(TimedStepper[S], SettlingStepper[S]):
    """Both: the clock is outside, so that what is told of moves is computing too."""


def timed_stepper_that(
    settle: Settle | None, timeline: Timeline, codec: str = NONE
) -> Callable[..., Stepper[Any]]:
    """As `stepper_that`, of timed steppers."""
    if settle is None:
        return partial(TimedStepper, timeline, codec=codec)
    return partial(_TimedSettlingStepper, timeline, settle, codec=codec)


class TimedExchanger(Exchanger):
    """An exchanger whose exchanges by the link are timed."""

    def __init__(self, timeline: Timeline, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timeline = timeline

    async def _room(self) -> None:
        began = self._timeline.now()
        try:
            await super()._room()
        finally:
            self._timeline.add(ROOM, began)

    async def _hand_over(self, outgoing: Outgoing) -> None:
        began = self._timeline.now()
        try:
            await super()._hand_over(outgoing)
        finally:
            self._timeline.add(SEND, began)

    async def _arrival(self, tag: Tag) -> dict[int, Value]:
        began, waited_for = self._timeline.now(), ""

        def take() -> dict[int, Value] | None:
            nonlocal began, waited_for
            missing = self._rounds.missing()
            first = missing[0] if missing else ""
            if first != waited_for:
                if waited_for:
                    began = self._timeline.add(WAIT, began, waited_for)
                waited_for = first
            return self._rounds.take(tag)

        try:
            return await self.until(take)
        finally:
            if waited_for:
                self._timeline.add(WAIT, began, waited_for)
