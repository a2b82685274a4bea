"""Weather: how bad one link is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from p2pdo.simulation.links.delay import Constant, Delay, Exponential

BACK_OFF = 8
"""Doublings of the time until a lost frame is sent again, at most."""


@dataclass(frozen=True)
class Weather:
    """What one direction of a link does to frames.

    Attributes:
        delay: of a frame; a number is the mean of an exponential one, in seconds.
        bandwidth: bytes a second, one frame after another; None takes no time at all.
        loss: probability that a frame is lost on the way. The link sends it again after `resend`
            seconds, and after twice as many at each further loss; what comes behind it waits, as
            with TCP. So it costs time and nothing else.
        resend: the smallest of TCP's time-outs on Linux, unless something else is known.
        duplicate: probability that a frame is delivered twice.
        reorder: probability that a frame with a value or an acknowledgement takes its delay once
            more, and is overtaken meanwhile. No stream does that; the sessions bear it.
        cut: probability, per frame, that the link is cut under it: it and all that is on its way
            are lost, and the sessions repair it when the link is back.
        outage: how long a cut link stays down, in seconds.
    """

    delay: Delay | float = 0.01
    bandwidth: float | None = None
    loss: float = 0.0
    resend: float = 0.2
    duplicate: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0
    outage: float = 0.5

    @cached_property
    def delays(self) -> Delay:
        return Exponential(self.delay) if isinstance(self.delay, int | float) else self.delay

    def transmission(self, size: int) -> float:
        """How long the link is busy with so many bytes."""
        return 0.0 if self.bandwidth is None else size / self.bandwidth

    def losses(self, rng: np.random.Generator) -> int:
        """How many times a frame is lost before it comes through."""
        lost = 0
        while self.loss and rng.random() < self.loss:
            lost += 1
        return lost

    def waited(self, losses: int) -> float:
        """For what is sent again."""
        return sum(self.resend * 2.0 ** min(k, BACK_OFF) for k in range(losses))


CLEAR = Weather(delay=Constant(0.0))
