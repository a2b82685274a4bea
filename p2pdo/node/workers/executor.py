"""Executors in worker processes: `processes = n` runs a site's handlers in n fresh interpreters.

The executor's code is the same. Its handlers run in every rank with the same task, and with a
context that knows `rank` and `world_size`; rank 0's answer is the task's. What it buys: a task that
looks at nothing can be ended, a crash takes no node with it, and several processes compute at once,
each with a GPU of its own where there are some.

The processes are started at the executor's first task of a workload and end with the workload. Each
makes the executor and the components anew; filters stay in the node. Events that a rank fires are
heard in that rank and at the node, not in the other ranks, which fire the same; the node's are
heard in all. START_RUN comes to a worker when it has started, END_RUN before its executor is
closed.

An exception fails the task, and the processes go on. A death fails the task at once, and so does
an abort that one does not heed; the next task gets fresh processes. After more than three deaths
within a minute the workload's client is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from p2pdo.errors import TaskFailed
from p2pdo.node.context import WorkloadContext
from p2pdo.node.events import BEFORE_TASK, END_RUN, Event, Events
from p2pdo.node.executors import Executor, ExecutorFactory, Handler, Task
from p2pdo.node.messages import Mailbox
from p2pdo.node.topics import Message
from p2pdo.node.workers.failures import WorkerDied
from p2pdo.node.workers.frames import pack_event
from p2pdo.node.workers.group import WorkerGroup
from p2pdo.node.workers.limit import CpuLimit
from p2pdo.node.workers.settings import find_gpus
from p2pdo.node.workers.spec import WorkerSpec, check_spec
from p2pdo.runtime.supervisor import GiveUp, RestartLimit


def worker_executor(spec: WorkerSpec) -> ExecutorFactory:
    """How a workload gets this executor.

    Raises:
        ConfigError: the specification is wrong, as far as that is seen without its code.
    """
    check_spec(spec)
    return lambda context: WorkerExecutor(spec, context)


class WorkerExecutor(Executor):
    """Has its handlers run in the processes of a group that it makes when a task needs one."""

    def __init__(self, spec: WorkerSpec, context: WorkloadContext) -> None:
        self._spec = spec
        self._context = context
        self._group: WorkerGroup | None = None
        self._gpus: list[str] | None = None  # looked for once: asking takes up to a second
        self._limit = CpuLimit(f"executor '{spec.name}'", spec.cpu)
        self._deaths = RestartLimit()
        self._relays = False
        self._loop = asyncio.get_running_loop()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(self._spec.tasks, self._perform)

    async def close(self) -> None:
        if (group := self._group) is not None:
            self._group = None
            await group.end()

    async def _perform(self, task: Task, context: WorkloadContext) -> object:
        try:
            group = await self._whole_group(task)
            return await group.perform(task)
        except asyncio.CancelledError:
            if self._group is not None:
                is_aborted = context.abort.is_set
                reason = context.abort.reason if is_aborted else "the workload has ended"
                await self._group.give_up(reason, at_end=not is_aborted)
            raise
        except WorkerDied as death:
            self._count(death)
            raise
        finally:
            await self._end_broken_group()

    async def _whole_group(self, task: Task) -> WorkerGroup:
        """The processes, started for this task where there are none."""
        if self._group is not None and (death := self._group.died_idle()) is not None:
            self._count(death)
        await self._end_broken_group()
        if self._group is None:
            if self._gpus is None:
                self._gpus = await find_gpus()
            group = WorkerGroup(
                self._spec,
                self._context,
                self._gpus,
                self._deliver,
                self._answer_from_now_on,
                limit=self._limit,
            )
            self._group = group
            try:
                with self._expected_to_answer():
                    await group.start()
                    for topic in group.topics:
                        self._answer_from_now_on(topic)
            except BaseException:
                group.kill()
                raise
            self._relay_from_now_on()
            await self._context.compute.run(self._relay, Event(BEFORE_TASK, {"task": task}))
        return self._group

    async def _end_broken_group(self) -> None:
        """Nothing of one that has lost a rank is left when this returns."""
        if (group := self._group) is not None and not group.is_whole:
            self._group = None
            await group.end(now=True)

    def _count(self, death: WorkerDied) -> None:
        limit = self._deaths
        self._context.log.warning("%s", death.message)
        if not limit.allows(self._loop.time()):
            raise GiveUp(
                f"executor '{self._spec.name}' lost worker processes more than {limit.restarts} "
                f"times within {limit.within:g} s, at last: {death.bare}",
                hint="look at their log files at the node",
            ) from None

    # ---- messages ----

    def _expected_to_answer(self) -> contextlib.AbstractContextManager[None]:
        """Who asks while the processes start waits for what they answer."""
        mailbox = self._context.mailbox
        return mailbox.expecting() if isinstance(mailbox, Mailbox) else contextlib.nullcontext()

    def _answer_from_now_on(self, topic: str) -> None:
        if self._context.mailbox is not None:
            self._context.mailbox.handle(topic, self._answer)

    async def _answer(self, message: Message) -> object:
        """What rank 0 answers, of the processes that there are then."""
        if self._group is None:
            raise TaskFailed(
                f"executor '{self._spec.name}' has no worker processes now",
                hint="its next task starts them",
            )
        return await self._group.answer(message)

    # ---- events ----

    def _relay_from_now_on(self) -> None:
        group, events = self._group, self._context.events
        if not self._relays and group is not None and group.hears and isinstance(events, Events):
            events.add_relay(self._relay)
            self._relays = True

    def _relay(self, event: Event) -> None:
        """Takes an event of the node's to the workers; on the thread that handles it."""
        group = self._group
        if group is None or event.name == END_RUN or not group.is_heard(event.name):
            return
        try:
            frame = pack_event(event)
        except ValueError as error:
            self._context.log.warning(
                "event %s does not reach executor '%s': %s", event.name, self._spec.name, error
            )
            return
        self._loop.call_soon_threadsafe(group.tell, frame)

    def _deliver(self, rank: int, event: Event) -> None:
        """Takes a worker's event to who listens at the node; on the workload's thread."""
        context = replace(self._context, rank=rank, world_size=self._spec.processes)
        if isinstance(context.events, Events):
            context.events.deliver(event, context)
