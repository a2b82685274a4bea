"""A site's own code for the tests of many workloads: one thing of each kind."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import numpy as np

import p2pdo
from p2pdo.node.executors import Context, Executor, Task, task


class Clerk(Executor):
    """In the node's own process."""

    def __init__(self) -> None:
        self.done = 0

    @task
    def add(self, task: Task) -> object:
        self.done += 1
        return task.payload + self.done

    @task
    async def hold(self, _task: Task) -> object:
        await asyncio.Event().wait()
        return None


class Crunch(Executor):
    """In worker processes."""

    def __init__(self) -> None:
        self.done = 0

    @task
    def total(self, task: Task, context: Context) -> object:
        self.done += 1
        return [context.rank, self.done, float(np.sum(task.payload))]

    @task
    def die(self, _task: Task) -> object:
        os._exit(3)


@p2pdo.participant
def learn(me: Any, *, lr: float = 0.1) -> Any:
    """Linear regression in PyTorch: each node has rows of its own, and all learn one slope."""
    import torch

    own = torch.Generator().manual_seed(me.node)  # the global one belongs to all workloads here
    inputs = torch.randn(32, 3, generator=own)
    targets = inputs @ torch.tensor([1.0, -2.0, 3.0])
    model = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for _ in me.rounds():
        loss = torch.nn.functional.mse_loss(model(inputs).squeeze(1), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        me.mix_(model)
        me.log(loss=loss)
    return model.weight.detach().flatten().tolist()
