"""A node's run whose observed states may be judged, whatever it is made of: rounds or wake-ups.

At each multiple of `observe_every` the state is offered to the observer. The observer may judge:
then the result is the state that it names, however far this node has gone on meanwhile. At most
`SNAPSHOTS` states wait for judgement; a node that is further ahead waits.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from p2pdo.errors import P2pdoError, WorkloadFailed, WorkloadStopped
from p2pdo.protocol.judging import Report
from p2pdo.runtime.exchange import Exchanger

SNAPSHOTS = 8
"""States that a node keeps until they are judged."""


class Observer(Protocol):
    """Somebody who is told of states. Called on the loop."""

    def observe(self, report: Report) -> None: ...


class _Judged(Exception):
    """The observer has chosen the result: stop waiting."""


class JudgedRun(ABC):
    """What drivers have in common."""

    def __init__(
        self,
        exchanger: Exchanger,
        observer: Observer | None,
        *,
        observe_every: int,
        judged: bool,
    ) -> None:
        """With `judged`, states wait for `judge` to be called; otherwise they are only told."""
        self._exchanger = exchanger
        self._observer = observer
        self._every = observe_every
        self._is_judged = judged
        self._unjudged: OrderedDict[int, Report] = OrderedDict()
        self._result: Report | None = None

    @abstractmethod
    async def _to_the_end(self) -> Report:
        """The state at the end, where no verdict comes before."""

    async def run(self) -> Report:
        """Runs to its end or to the observer's choice; returns the resulting state.

        Raises:
            P2pdoError: the author's code, a peer or an abort ended it; with node and iteration.
        """
        try:
            return await self._to_the_end()
        except _Judged:
            assert self._result is not None, "a verdict has named it"
            return self._result
        except asyncio.CancelledError:
            # A thread that exchanges has to hear of it now: what else ends with us may take time.
            self._exchanger.fail(WorkloadStopped("the workload is over"))
            raise

    def judge(self, iteration: int, *, stop: bool) -> None:
        """The observer's verdict on an observed iteration; verdicts come in order."""
        report = self._unjudged.pop(iteration, None)
        if stop and report is not None:
            self._result = report
            self._exchanger.fail(_Judged())
        self._exchanger.wake()

    def abort(self, error: P2pdoError | None = None) -> None:
        """Ends the run at its next wait with `error`."""
        self._exchanger.fail(error or WorkloadFailed("the run was aborted", hint="start it again"))

    async def _show(self, report: Report) -> None:
        """To the observer; where it is to be judged, once there is room to keep it."""
        if self._is_judged and report.iteration % self._every == 0:
            await self._wait(lambda: len(self._unjudged) < SNAPSHOTS)
            self._unjudged[report.iteration] = report
        if self._observer is not None:
            self._observer.observe(report)

    async def _verdicts(self) -> None:
        """At the end: the last observed states may still be judged good enough."""
        self._exchanger.check()
        if self._unjudged:
            await self._wait(lambda: not self._unjudged)

    async def _wait(self, predicate: Callable[[], bool]) -> None:
        """For the observer."""
        await self._exchanger.until(predicate)
