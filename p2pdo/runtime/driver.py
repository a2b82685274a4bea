"""The driver runs a stepper over an exchange, watched by an observer.

    boundary ── observe ──▶ compute ──▶ exchange ──▶ compute ──▶ … ──▶ boundary

Steps compute on the workload's own thread, or, where they are known to be short, on the loop; see
`compute`. Between boundaries of interest the end of one iteration and the start of the next are one
call. Where all neighbours are on this host, and exchange by memory, whole iterations follow each
other in one call on the thread, which comes back now and then for whoever else needs it.

At each multiple of `observe_every`, and at the end, the state is whole and is shown; see `judged`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.judging import Report
from p2pdo.protocol.stepper import Stepper, quiet
from p2pdo.runtime.compute import Compute
from p2pdo.runtime.exchange import Exchanger, LocalLane
from p2pdo.runtime.judged import JudgedRun, Observer
from p2pdo.types import Value

TURN = 0.05
"""Seconds after which a thread that needs no loop comes back to it."""


class Driver(JudgedRun):
    """One node's run of one algorithm."""

    def __init__(
        self,
        stepper: Stepper[Any],
        exchanger: Exchanger,
        compute: Compute,
        observer: Observer | None,
        *,
        rounds: int,
        observe_every: int,
        judged: bool,
        steps: Compute | None = None,
    ) -> None:
        """With `judged`, states wait for `judge` to be called; otherwise they are only told.

        Steps compute on `steps` where it is given; what may wait is always on `compute`.
        """
        super().__init__(exchanger, observer, observe_every=observe_every, judged=judged)
        self._stepper = stepper
        self._compute = compute
        self._steps = steps or compute
        self._rounds = rounds
        self._whole: Report | None = None  # at a boundary: the state there

    @property
    def iteration(self) -> int:
        """Completed iterations, for whoever asks how far it is."""
        return self._stepper.iteration

    async def _to_the_end(self) -> Report:
        """To the iteration limit, a verdict or to where the nodes have settled."""
        self._whole = await self._compute.run(self._stepper.report)
        await self._exchanger.settled()
        while self._result is None:
            await self._observe()
            if self._is_at_end:
                self._exchanger.finish()
                await self._verdicts()
                return self._at_boundary
            await self._advance()
        return self._result

    @property
    def _is_at_end(self) -> bool:
        return self._stepper.iteration >= self._rounds or self._stepper.has_settled

    async def _observe(self) -> None:
        if self._stepper.iteration % self._every == 0 or self._is_at_end:
            await self._show(self._at_boundary)

    async def _advance(self) -> None:
        """To the next boundary of interest."""
        every, stepper = self._every, self._stepper
        pause_at = min((stepper.iteration // every + 1) * every, self._rounds)
        self._whole = None
        outgoing = await self._steps.run(self._compute_on, None, pause_at)
        while outgoing is not None:
            outgoing = await self._exchange(outgoing, pause_at)
        self._exchanger.check()

    async def _exchange(self, outgoing: Outgoing, pause_at: int) -> Outgoing | None:
        """An exchange, and what is computed with it; by memory, perhaps many. The next one."""
        exchanger, lane, run = self._exchanger, self._exchanger.lane, self._compute.run
        if lane is None:  # an inbox has no name here: used values are let go at once
            step = self._steps.run
            return await step(self._compute_on, await exchanger.exchange(outgoing), pause_at)
        if not exchanger.has_links:
            return await run(self._exchange_here, lane, outgoing, pause_at)
        while not await run(lane.publish, outgoing):
            pass
        remote = await exchanger.exchange(outgoing)
        while (local := await run(lane.collect, outgoing.tag)) is None:
            pass
        return await run(self._compute_on, {**remote, **local}, pause_at)

    def _exchange_here(
        self, lane: LocalLane, outgoing: Outgoing | None, pause_at: int
    ) -> Outgoing | None:
        """On the workload's thread. Returns the exchange to go on with; it may have begun."""
        until = time.monotonic() + TURN
        with quiet():
            while outgoing is not None and time.monotonic() < until:
                self._exchanger.at(outgoing.tag.iteration)
                inbox = lane.collect(outgoing.tag) if lane.publish(outgoing) else None
                if inbox is None:
                    break
                outgoing = self._compute_quietly(inbox, pause_at)
        return outgoing

    def _compute_on(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        with quiet():
            return self._compute_quietly(inbox, pause_at)

    def _compute_quietly(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """The state at the boundary is part of it: freezing it may copy it."""
        outgoing = self._stepper.advance_quietly(inbox, pause_at)
        if outgoing is None:
            self._whole = self._stepper.report()
        return outgoing

    @property
    def _at_boundary(self) -> Report:
        assert self._whole is not None, "the state is whole at boundaries only"
        return self._whole
