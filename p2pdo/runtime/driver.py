"""The driver runs a stepper over an exchange, watched by an observer.

    boundary ── observe ──▶ compute ──▶ exchange ──▶ compute ──▶ … ──▶ boundary

Steps compute on the workload's own thread; the loop only carries values. Between boundaries of
interest the end of one iteration and the start of the next are one call on that thread. Where all
neighbours are on this host, and exchange by memory, whole iterations follow each other in one call,
which comes back now and then for whoever else needs the thread.

At each multiple of `observe_every`, and at the end, the state is whole and is offered to the
observer. The observer may judge: then the result is the state that it names, however far this
node has gone on meanwhile. At most `SNAPSHOTS` states wait for judgement; a node that is further
ahead waits.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from p2pdo.errors import P2pdoError, WorkloadFailed
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.judging import Report
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import Compute
from p2pdo.runtime.exchange import Exchanger, LocalLane
from p2pdo.types import Value

TURN = 0.05
"""Seconds after which a thread that needs no loop comes back to it."""

SNAPSHOTS = 8
"""States that a node keeps until they are judged."""


class Observer(Protocol):
    """Somebody who is told of states. Called on the loop."""

    def observe(self, report: Report) -> None: ...


class _Judged(Exception):
    """The observer has chosen the result: stop waiting."""


class Driver:
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
    ) -> None:
        """With `judged`, states wait for `judge` to be called; otherwise they are only told."""
        self._stepper = stepper
        self._exchanger = exchanger
        self._compute = compute
        self._observer = observer
        self._rounds = rounds
        self._every = observe_every
        self._judged = judged
        self._unjudged: OrderedDict[int, Report] = OrderedDict()
        self._result: Report | None = None
        self._whole: Report | None = None  # at a boundary: the state there

    @property
    def iteration(self) -> int:
        """Completed iterations, for whoever asks how far it is."""
        return self._stepper.iteration

    def judge(self, iteration: int, *, stop: bool) -> None:
        """The observer's verdict on an observed iteration; verdicts come in order."""
        report = self._unjudged.pop(iteration, None)
        if stop and report is not None:
            self._result = report
            self._exchanger.fail(_Judged())
        self._exchanger.wake()

    async def run(self) -> Report:
        """Runs to the iteration limit, the observer's choice or to where the nodes have settled.

        Returns the resulting state.

        Raises:
            P2pdoError: the author's code, a peer or an abort ended it; with node and iteration.
        """
        try:
            self._whole = await self._compute.run(self._report)
            await self._exchanger.settled()
            while self._result is None:
                await self._observe()
                if self._is_at_end:
                    return await self._finish()
                await self._advance()
        except _Judged:
            pass
        assert self._result is not None, "only a verdict ends the loop"
        return self._result

    @property
    def _is_at_end(self) -> bool:
        return self._stepper.iteration >= self._rounds or self._stepper.has_settled

    async def _observe(self) -> None:
        stepper = self._stepper
        if stepper.iteration % self._every and not self._is_at_end:
            return
        report = self._at_boundary
        if self._judged and stepper.iteration % self._every == 0:
            await self._exchanger.until(lambda: len(self._unjudged) < SNAPSHOTS)
            self._unjudged[report.iteration] = report
        if self._observer is not None:
            self._observer.observe(report)

    async def _finish(self) -> Report:
        """At the limit: the last observed states may still be judged good enough."""
        self._exchanger.finish()
        self._exchanger.check()
        if self._unjudged:
            await self._exchanger.until(lambda: not self._unjudged)
        return self._at_boundary

    async def _advance(self) -> None:
        """To the next boundary of interest."""
        every, stepper = self._every, self._stepper
        pause_at = min((stepper.iteration // every + 1) * every, self._rounds)
        self._whole = None
        outgoing = await self._compute.run(self._compute_on, None, pause_at)
        while outgoing is not None:
            outgoing = await self._exchange(outgoing, pause_at)
        self._exchanger.check()

    async def _exchange(self, outgoing: Outgoing, pause_at: int) -> Outgoing | None:
        """An exchange, and what is computed with it; by memory, perhaps many. The next one."""
        exchanger, lane, run = self._exchanger, self._exchanger.lane, self._compute.run
        if lane is None:  # an inbox has no name here: used values are let go at once
            return await run(self._compute_on, await exchanger.exchange(outgoing), pause_at)
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
        while outgoing is not None and time.monotonic() < until:
            self._exchanger.at(outgoing.tag.iteration)
            inbox = lane.collect(outgoing.tag) if lane.publish(outgoing) else None
            if inbox is None:
                break
            outgoing = self._compute_on(inbox, pause_at)
        return outgoing

    def _compute_on(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """Off the loop, the state at the boundary too: freezing it may copy it."""
        outgoing = self._stepper.advance(inbox, pause_at)
        if outgoing is None:
            self._whole = self._report()
        return outgoing

    @property
    def _at_boundary(self) -> Report:
        assert self._whole is not None, "the state is whole at boundaries only"
        return self._whole

    def _report(self) -> Report:
        stepper = self._stepper
        return Report(
            stepper.place.node,
            stepper.iteration,
            stepper.x,
            stepper.bytes_sent,
            stepper.messages_sent,
            stepper.calls,
            stepper.dropped,
        )

    def abort(self, error: P2pdoError | None = None) -> None:
        """Ends the run at its next wait with `error`."""
        self._exchanger.fail(error or WorkloadFailed("the run was aborted", hint="start it again"))
