"""The accepted results of a workload of tasks: in their order, on disk, the latest in memory.

A watcher asks for what comes behind those that it has seen. Of every task there is a small record
in memory; the text of a result, which may have megabytes, stays there only while it is among the
latest, until `limit` characters of a workload come together. Who reads slowly, or comes back after
a while, is told older ones from the disk. So what a coordinator holds does not depend on how much
a workload has answered, or on whether anybody listens.

What its driver has acknowledged is dropped in both places: those are the first so many results, of
which only remains how their tasks ended. Whoever asks for them is refused.

The order is that of acceptance, which is kept with each result. As nothing is told before it is
durable, what a watcher has seen is a beginning of what any later start of the coordinator knows.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

from p2pdo.coordinator.rows import read_results
from p2pdo.coordinator.store import Store
from p2pdo.errors import Conflict, NotFound
from p2pdo.protocol.tasks import Task
from p2pdo.types import WorkloadId

_PAGE = 256  # results that are looked up at once
_PAGE_BYTES = 1 << 20  # characters that are read from the disk at once, about


class Results:
    """One workload's accepted results, in the order of acceptance.

    Attributes:
        forgotten: how many there were before they were pruned; 0 while they are kept.
        acknowledged: how many of the first ones are dropped.
    """

    def __init__(self, limit: int, forgotten: int = 0, acknowledged: int = 0) -> None:
        self.forgotten = forgotten
        self.acknowledged = acknowledged
        self._limit = limit
        self._tasks: list[Task] = []
        self._recent: deque[tuple[int, Task]] = deque()  # places of those with texts in memory
        self._size = 0  # Invariant: the characters of these texts

    def __len__(self) -> int:
        return self.forgotten or len(self._tasks)

    def __iter__(self) -> itertools.chain[Task]:
        return itertools.chain(self._tasks)

    def add(self, task: Task) -> None:
        """Takes the next one; its text is submitted to the store, or was read from there."""
        self._tasks.append(task)
        if task.result:
            self._recent.append((len(self._tasks), task))
            self._size += len(task.result)
            self._drop_beyond(self._limit)

    def drop_texts(self) -> None:
        """Leaves all of them to the disk."""
        self._drop_beyond(0)

    def acknowledge(self, workload: WorkloadId, seen: int) -> list[Task]:
        """Drops the texts of the first `seen`; returns whose were still kept.

        Raises:
            Conflict: so many were never told.
        """
        self._check_told(workload, seen)
        if self.forgotten or seen <= self.acknowledged:
            return []
        dropped = self._tasks[self.acknowledged : seen]
        self.acknowledged = seen
        while self._recent and self._recent[0][0] <= seen:
            self._drop_first()
        return [task for task in dropped if not task.is_open]

    def forget(self) -> None:
        """They are pruned."""
        self.forgotten = len(self)
        self._tasks.clear()
        self._recent.clear()
        self._size = 0

    def _drop_beyond(self, limit: int) -> None:
        while self._size > limit:
            self._drop_first()

    def _drop_first(self) -> None:
        _, task = self._recent.popleft()
        self._size -= len(task.result)
        if not task.is_open:  # the node is yet to be told why it was aborted
            task.result = ""

    def behind(self, workload: WorkloadId, seen: int) -> Sequence[Task]:
        """Some that follow the first `seen`; none if there are none yet.

        Raises:
            NotFound: they are pruned, or acknowledged.
            Conflict: so many were never told.
        """
        if self.forgotten > seen:
            raise NotFound(
                f"the results of workload {workload} are no longer kept",
                hint="a coordinator keeps those of the workloads that ended last",
                workload=workload,
            )
        self._check_told(workload, seen)
        if seen < self.acknowledged and not self.forgotten:
            raise NotFound(
                f"the first {self.acknowledged} results of workload {workload} are acknowledged, "
                "and no longer kept",
                hint="net.attach(ID) begins behind them",
                workload=workload,
            )
        return self._tasks[seen : seen + _PAGE]

    def tasks_behind(self, seen: int) -> Sequence[Task]:
        """All that follow the first `seen`."""
        return self._tasks[seen:]

    def _check_told(self, workload: WorkloadId, seen: int) -> None:
        if seen > len(self):
            raise Conflict(
                f"workload {workload} has {len(self)} results, and {seen} are said to be seen",
                hint="was the coordinator's state replaced by an older copy? start the driver anew",
                workload=workload,
            )


async def texts_of(store: Store, tasks: Sequence[Task]) -> list[str]:
    """The texts of the first of these results, one at least; of those that are at hand, or on disk.

    Raises:
        NotFound: they were pruned or acknowledged meanwhile.
    """
    at_hand = [task.result for task in itertools.takewhile(lambda task: task.result, tasks)]
    if at_hand:
        return at_hand
    ids = [task.task_id for task in itertools.takewhile(lambda task: not task.result, tasks)]
    texts = await store.query(read_results(ids, _PAGE_BYTES))
    if not texts:
        raise NotFound(
            f"the result of task {ids[0]} is no longer kept", hint="watch a workload as it runs"
        )
    return texts
