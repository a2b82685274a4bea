"""Holds the worker processes of an executor to a share of the CPU, by stopping and continuing them.

The node reads what they have used, asks the allowance, and sends SIGSTOP and SIGCONT to their
groups; all ranks stand still at the same time, because they wait for each other anyway. While they
do nothing they are hardly looked at. A stopped process can be killed, also by the system when its
node is gone, but not hear: `lifted` lets them run, for one who is told to end, and what they use
meanwhile is owed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from p2pdo.node.workers.allowance import LOOK, Allowance, next_look
from p2pdo.node.workers.cpu_time import CpuMeter

log = logging.getLogger(__name__)

_LONG = 10.0  # seconds of standing still that its operator may wonder about


class Stoppable(Protocol):
    """A process and what it has started."""

    @property
    def pid(self) -> int: ...

    def stop(self) -> None: ...

    def go_on(self) -> None: ...


class Meter(Protocol):
    """Reads what processes have used, in CPU seconds, of all that live together."""

    async def read(self, leaders: Sequence[int]) -> float: ...

    def close(self) -> None: ...


class CpuLimit:
    """One executor's, of one workload; over all groups of processes that come after each other.

    Args:
        who: has the limit; for the log.
        share: of one core, for all processes together; None is no limit.
        meter: makes one for each group.
    """

    def __init__(
        self,
        who: str,
        share: float | None,
        meter: Callable[[], Meter] = CpuMeter,
    ) -> None:
        self._who = who
        self._make_meter = meter
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(math.inf if share is None else share, self._loop.time())
        self._stirred = asyncio.Event()
        self._waits_until = 0.0
        self._lifted = 0

    async def hold(self, processes: Sequence[Stoppable]) -> None:
        """Holds these, and others that the sequence gets, until it is cancelled.

        Raises:
            OSError: the system does not tell what they use.
        """
        if math.isinf(self._allowance.share):
            return
        meter, total, wait = self._make_meter(), 0.0, LOOK
        self._pass_to_now(0.0)
        try:
            while True:
                await self._stand_still(processes)
                is_stirred = await self._wait(wait)
                told = await meter.read([process.pid for process in processes])
                used = max(told - total, 0.0)  # less is told where one has gone
                self._pass_to_now(used)
                total, wait = total + used, LOOK if is_stirred else next_look(wait, used)
        finally:
            meter.close()
            # what they used from the last look to their death nobody tells: at most a core each
            unseen = min(self._loop.time() - self._allowance.at, LOOK) * len(processes)
            self._pass_to_now(unseen)

    def look(self) -> None:
        """They got something to do: has them looked at now, unless that is soon in any case."""
        if self._waits_until > self._loop.time() + LOOK:
            self._stirred.set()

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """They run meanwhile, whatever they use."""
        self._lifted += 1
        self._stirred.set()
        try:
            yield
        finally:
            self._lifted -= 1

    async def _stand_still(self, processes: Sequence[Stoppable]) -> None:
        """Returns when they may run, and do."""
        rest = self._allowance.rest
        if rest == 0.0:
            return
        if rest > _LONG:
            log.warning("%s has used up its CPU limit and waits for %.0f s", self._who, rest)
        end = self._loop.time() + rest
        try:
            while not self._lifted and (left := end - self._loop.time()) > 0:
                for process in processes:  # there may be new ones
                    process.stop()
                await self._wait(left)
        finally:
            for process in processes:
                process.go_on()

    async def _wait(self, seconds: float) -> bool:
        """Waits so long, or until something is new; whether something is."""
        self._waits_until = self._loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        except TimeoutError:
            return False
        self._stirred.clear()
        return True

    def _pass_to_now(self, used: float) -> None:
        self._allowance = self._allowance.after(self._loop.time(), used)
