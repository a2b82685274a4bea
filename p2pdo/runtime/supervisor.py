"""Supervision, one for one: a child that fails is made anew; its siblings do not notice.

At most `restarts` times within `within` seconds; the next failure in that time is final, and the
supervisor gives the child up and says why. A child that fails with `GiveUp` is given up at once: it
has tried again itself. Children come and go while others are busy, and no call here waits for one.

A restarted child is a new actor with an empty inbox: what the old one held is gone, and who sent
it learns by `restarted` that it has to send it again.

    async with Supervisor(restarted=..., gave_up=...).running() as supervisor:
        ref = supervisor.add("a", lambda: Worker("a"))
        supervisor.remove("a")
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Generic, TypeVar

from p2pdo.errors import LocalProtocolError, WorkloadFailed
from p2pdo.runtime.actor import Actor, ActorRef
from p2pdo.runtime.groups import task_group
from p2pdo.runtime.throttle import Throttle

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")

log = logging.getLogger(__name__)


class GiveUp(WorkloadFailed):
    """A child's failure that making it anew will not mend."""


class RestartLimit:
    """At most `restarts` restarts within `within` seconds."""

    def __init__(self, restarts: int = 3, within: float = 60.0) -> None:
        self.restarts = restarts
        self.within = within
        self._times: deque[float] = deque()  # of the restarts, within the window

    def allows(self, now: float) -> bool:
        """Whether there may be one more now; then it is counted."""
        while self._times and self._times[0] <= now - self.within:
            self._times.popleft()
        if len(self._times) >= self.restarts:
            return False
        self._times.append(now)
        return True


class Supervisor(Generic[K, M]):
    """Runs actors by key.

    Both callbacks are told the key and the failure; `restarted` also the new child's ref. `clock`
    is the running loop's time where none is given.
    """

    def __init__(
        self,
        *,
        restarted: Callable[[K, ActorRef[M], Exception], None],
        gave_up: Callable[[K, Exception], None],
        restarts: int = 3,
        within: float = 60.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._restarted = restarted
        self._gave_up = gave_up
        self._restarts = restarts
        self._within = within
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._children: dict[K, _Child[M]] = {}
        self._starts = Throttle()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Supervisor[K, M]]:
        """Children live inside this block; leaving it ends them all."""
        async with task_group() as group:
            self._group = group
            try:
                yield self
            finally:
                self._group = None
                for key in list(self._children):
                    self.remove(key)

    def add(self, key: K, make: Callable[[], Actor[M]]) -> ActorRef[M]:
        """Starts a child; its ref can be told at once."""
        if self._group is None:
            raise LocalProtocolError("a supervisor takes children inside its block only")
        if key in self._children:
            raise LocalProtocolError(f"there is a child {key!r} already")
        child = _Child(make, RestartLimit(self._restarts, self._within))
        self._children[key] = child
        child.task = self._group.create_task(self._supervise(key, child), name=child.actor.name)
        child.task.add_done_callback(lambda _: child.end())
        return child.actor.ref

    def remove(self, key: K) -> None:
        """Ends a child, also in the middle of a message; does nothing where there is none."""
        child = self._children.pop(key, None)
        if child is not None and child.task is not None:
            child.task.cancel()

    async def _supervise(self, key: K, child: _Child[M]) -> None:
        now = self._clock or asyncio.get_running_loop().time
        await self._starts.enter()
        while True:
            try:
                await child.actor.run()
            except Exception as error:
                if self._children.get(key) is not child:
                    log.warning("%s failed while it ended", child.actor.name, exc_info=error)
                    return
                if not isinstance(error, GiveUp) and child.limit.allows(now()):
                    child.actor = child.make()
                    self._restarted(key, child.actor.ref, error)
                    continue
                del self._children[key]
                self._gave_up(key, error)
                return


class _Child(Generic[M]):
    def __init__(self, make: Callable[[], Actor[M]], limit: RestartLimit) -> None:
        self.make = make
        self.limit = limit
        self.actor = make()
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """A cancelled task keeps its traceback, and with it the child and all that it held."""
        self.actor.close()
        self.task = None
