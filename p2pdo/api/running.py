"""What all runs on this machine share: how they are followed, stopped and ended.

A run is owned by its network's block and ends with it. It settles once; its failure is raised by
`result()` and `metrics()`, never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, TypeVar

from p2pdo.api.timelines import TimelineFile
from p2pdo.errors import ConfigError, P2pdoError, WorkloadStopped
from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Plain

R = TypeVar("R")


class Running(ABC, Generic[R]):
    """A run in progress; its result is an R."""

    def __init__(self, workload_id: str, request_id: str, folder: RunFolder, nodes: int) -> None:
        self.workload_id = workload_id
        self.folder = folder
        self.is_temporary = False  # whether nobody wants the folder when the network is closed
        self.told: list[Metric] = []  # every metric so far
        self.timeline: TimelineFile | None = None  # where it was asked for
        self.on_metric: Callable[[Metric], None] = lambda _metric: None
        self._request_id = request_id
        self._nodes = nodes
        self._began = time.monotonic()
        self._first: float | None = None  # when the first observation was judged
        self._changed = asyncio.Event()  # set and replaced at every change
        self._stop_reason: str | None = None
        self._dead = 0
        self._work: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def _run(self) -> R:
        """Runs to the result."""

    # ---- for the caller ----

    async def result(self) -> R:
        """The result, once it is there.

        Raises:
            WorkloadFailed: the run failed; says node and iteration.
        """
        return await asyncio.shield(self._outcome)

    async def metrics(self, every: int = 1) -> AsyncIterator[Metric]:
        """Each observed iteration that is a multiple of `every`, from the first on."""
        seen = 0
        while True:
            while seen < len(self.told):
                metric = self.told[seen]
                seen += 1
                if metric.iteration % every == 0:
                    yield metric
            if self._outcome.done():
                self._outcome.result()
                return
            await self._changed.wait()

    async def stop(self, reason: str = "stopped by its owner") -> None:
        """Stops the run; `result()` raises `WorkloadStopped`."""
        if self._outcome.done():
            return
        self._stop_reason = reason
        if self._work is not None:  # else it has not begun, and will not
            self._work.cancel()
        await asyncio.wait([self._outcome])

    @property
    def alive(self) -> int:
        """Nodes that have not died."""
        return self._nodes - self._dead

    # ---- for its network ----

    async def work(self) -> None:
        """Runs to the end; keeps the outcome for whoever asks."""
        self._work = asyncio.current_task()
        try:
            if self._stop_reason is not None:
                raise self._stopped()  # noqa: TRY301 - it ends as if begun
            self._outcome.set_result(await self._run())
        except P2pdoError as error:
            self._settle(error)
        except asyncio.CancelledError:
            self._settle(self._stopped())
            if self._stop_reason is None:
                raise
        except BaseException as bug:
            self._settle(bug)
            raise
        finally:
            self._notify()

    def close(self) -> None:
        """Its network is closed. A task that was cancelled before it began has settled nothing."""
        if not self._outcome.done():
            self._settle(self._stopped())
            self._notify()
        self.folder.close()

    def happened(self, event: str, about: Mapping[str, Plain]) -> None:
        """Keeps an event in the run folder."""
        self._dead += event == "died" and about.get("process") != "coordinator"
        self.folder.append_event(event, seconds=time.monotonic() - self._began, **about)

    def _stopped(self) -> WorkloadStopped:
        if self._stop_reason is not None:
            return WorkloadStopped(self._stop_reason)
        return WorkloadStopped(
            "its network was closed",
            hint="await its result() inside the block: leaving that ends what still runs",
        )

    def _settle(self, error: BaseException) -> None:
        if isinstance(error, P2pdoError):
            error.workload = error.workload or self.workload_id
            event = "stopped" if isinstance(error, WorkloadStopped) else "failed"
            with contextlib.suppress(ConfigError):  # a folder that is gone: who waits is to hear
                self.happened(event, error.to_plain())
        if not self._outcome.done():
            self._outcome.set_exception(error)
            self._outcome.exception()  # asked for or not, it is no "never retrieved"

    def _told(self, metric: Metric) -> None:
        self.told.append(metric)
        self.folder.append_metric(metric)
        self.on_metric(metric)
        self._notify()

    def _seconds(self) -> float:
        """Since the first metric."""
        now = time.monotonic()
        self._first = self._first or now
        return now - self._first

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _in_thread(self, run: Callable[..., Any], tell: Callable[[Any], None]) -> Any:
        """Calls `run(tell, check_stop)` off the loop; what it tells comes in on the loop."""
        loop = asyncio.get_running_loop()
        is_cancelled = False

        def tell_loop(told: Any) -> None:
            loop.call_soon_threadsafe(tell, told)

        def check_stop() -> None:
            if is_cancelled:
                raise self._stopped()

        work = asyncio.ensure_future(asyncio.to_thread(run, tell_loop, check_stop))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            is_cancelled = True
            await asyncio.wait([work])
            work.exception()
            raise
