"""The controllers at work: one task for each workload that names one.

A controller is not durable: it is code in the middle of something. Where the coordinator was
restarted, its workloads fail and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from p2pdo.config import TasksSpec
from p2pdo.coordinator.desk import Desk
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.driving.client import Client
from p2pdo.driving.controllers import Controller, find, run_controller
from p2pdo.errors import P2pdoError, WorkloadFailed
from p2pdo.protocol.workload_words import ControllerFailed, ControllerFinished
from p2pdo.runtime.groups import task_group
from p2pdo.transports.host import THIS_HOST, Host
from p2pdo.types import WorkloadId


class Controlling:
    """Runs controllers for a desk, over connections to its own coordinator."""

    def __init__(
        self,
        desk: Desk,
        controllers: Mapping[str, Controller],
        token: str | None,
        host: Host = THIS_HOST,
    ) -> None:
        self._desk = desk
        self._host = host
        self._controllers = controllers
        self._token = token
        self._address = ""
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self, address: str) -> AsyncIterator[None]:
        """Controllers live inside this block; it begins by failing those that a restart ended."""
        self._address = address
        for record in self._desk.all():
            name = _controller_of(record)
            if name and not record.machine.is_terminal:
                lost = WorkloadFailed(
                    f"the coordinator was restarted while controller '{name}' ran",
                    hint="submit it again",
                )
                self._desk.tell_controller(record.workload, ControllerFailed(lost.to_plain()))
        async with task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self._group = None
                for task in self._running:
                    task.cancel()

    def start(self, record: WorkloadRecord) -> None:
        """Has a workload's controller begin, if it names one."""
        if _controller_of(record) and self._group is not None:
            work = self._run(record.workload, record.spec)  # type: ignore[arg-type]
            task = self._group.create_task(work, name=f"controller {record.workload}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, workload: WorkloadId, spec: TasksSpec) -> None:
        event: ControllerFinished | ControllerFailed
        try:
            controller = find(self._controllers, spec.controller or "")
            async with Client(self._address, self._token, self._host) as client:
                event = ControllerFinished(await run_controller(controller, client, workload, spec))
        except P2pdoError as error:
            event = ControllerFailed(error.to_plain())
        self._desk.tell_controller(workload, event)


def _controller_of(record: WorkloadRecord) -> str | None:
    return record.spec.controller if isinstance(record.spec, TasksSpec) else None
