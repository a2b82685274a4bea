"""A site's own code for the test of large data: something in every place that data pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2pdo.node.events import AFTER_TASK, BEFORE_TASK, Event, on
from p2pdo.node.executors import Context, Executor, Task, task
from p2pdo.node.messages import Message, on_message


class Echo(Executor):
    @task
    def plain(self, task: Task) -> object:
        return task.payload

    @task
    async def later(self, task: Task) -> object:
        return task.payload

    @task
    async def ask_around(self, task: Task, context: Context) -> object:
        replies = await context.request(await context.members(), "half", task.payload)
        return sum(float(np.sum(reply.unwrap())) for reply in replies.values())

    @on_message("half")
    async def half(self, message: Message) -> object:
        return message.value / 2


class Heavy(Executor):
    """In a worker process."""

    @task
    def far(self, task: Task) -> object:
        return task.payload


class Listener:
    """Sums what it hears of, on the workload's thread."""

    def __init__(self) -> None:
        self.heard = 0.0

    @on(BEFORE_TASK, AFTER_TASK)
    def note(self, event: Event) -> None:
        self.heard += float(np.sum(event.data["task"].payload))


class Negate:
    def apply(self, data: Any, _task: Task, _context: Context) -> Any:
        return -data if isinstance(data, np.ndarray) else data
