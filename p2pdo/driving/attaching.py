"""Taking over a workload of tasks whose driver is gone.

    async with net.attach("k3v9x2aa") as tasks:
        async for result in tasks.results():        # not acknowledged, or still to come
            save(result)
        more = await tasks.send_and_wait("train", to="a")

The workload goes on where it was. What the earlier driver was told and has acknowledged is told no
more; everything else is told from here on, in the same order, whenever it was accepted. A program
that keeps its own account says how much it has: `attach(ID, seen=...)` with the `place` of the last
result that it has stored gives each result exactly once, whatever was killed and when. Without it
one that was stored but not yet acknowledged comes again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from p2pdo.driving.acknowledging import Acknowledging
from p2pdo.driving.client import Client
from p2pdo.driving.patience import persist
from p2pdo.driving.results import TaskResult
from p2pdo.driving.tasks import Tasks
from p2pdo.errors import ConfigError, Conflict
from p2pdo.types import TaskId
from p2pdo.wire.v1 import coordinator_pb2 as pb


class AttachedTasks(Tasks):
    """The driver of a workload that another has begun; leaving its block ends the workload.

    The other one is gone: two that watch at once are both told.

    Attributes:
        outstanding: the tasks that the earlier driver had sent and of which it has no result in
            good hands: await one for its result. Told ones are done as soon as they have come.
    """

    def __init__(self, client: Client, workload_id: str, seen: int | None = None) -> None:
        """`seen`: so many of its first results are not told; default the acknowledged ones."""
        super().__init__(client, workload_id=workload_id)
        self._acknowledging = Acknowledging(client, by_itself=False)
        self.outstanding: Mapping[TaskId, asyncio.Future[TaskResult]] = MappingProxyType({})
        self._seen = seen

    async def _open(self) -> None:
        workload = await persist(self.client, lambda: self.client.find(self.workload_id))
        spec = json.loads(workload.spec)
        _check(workload, spec, self._seen)
        seen = workload.acknowledged if self._seen is None else self._seen
        self.nodes = [member.node for member in sorted(workload.members, key=lambda m: m.index)]
        self._roles = spec.get("roles", {})
        self._is_ours = True
        self._keep = bool(spec.get("keep"))
        self._acknowledging.begin(seen, workload.acknowledged)
        sent = await self._sent_behind(seen)
        self.outstanding = MappingProxyType(
            {task_id: self._waiting.future_of(task_id) for task_id in sent}
        )


def _check(workload: pb.Workload, spec: Mapping[str, Any], seen: int | None) -> None:
    """Refuses what nobody can take over.

    Raises:
        ConfigError: it is no workload of tasks, or has a controller.
        Conflict: so many results were never told, or some that were not seen are gone.
    """
    workload_id = workload.workload_id
    if spec.get("kind") != "tasks":
        raise ConfigError(
            f"workload {workload_id} is a run, which drives itself",
            hint=f"p2pdo watch {workload_id}, or net.run({workload_id!r})",
            workload=workload_id,
        )
    if spec.get("controller"):
        raise ConfigError(
            f"workload {workload_id} is driven by controller '{spec['controller']}'",
            hint=f"p2pdo show {workload_id}",
            workload=workload_id,
        )
    if seen is not None and not workload.acknowledged <= seen <= workload.results:
        raise Conflict(
            f"workload {workload_id} has results {workload.acknowledged + 1} to "
            f"{workload.results} to tell, and seen={seen} does not fit",
            hint="leave seen out to be told all that was not acknowledged",
            workload=workload_id,
        )
