"""A site's own code, as its configuration names it."""

from __future__ import annotations

from typing import Any

import p2pdo
from p2pdo.node.context import Context
from p2pdo.node.events import Event
from p2pdo.node.executors import Executor, Task, task


class Trainer(Executor):
    def __init__(self, column: str, rate: float = 0.1) -> None:
        self.column, self.rate = column, rate

    @task("train")
    def train(self, order: Task, context: Context) -> object:
        context.components["store"].rows.append(order.payload)
        return {"column": self.column, "clinic": context.site.get("clinic")}

    @task("validate")
    def validate(self, _order: Task, context: Context) -> object:
        return list(context.components["store"].rows)


class Rival(Executor):
    @task("train")
    def train(self, _order: Task) -> object:
        return "rival"


class Store:
    def __init__(self) -> None:
        self.rows: list[Any] = []


class Double:
    def apply(self, data: Any, _order: Task, _context: Context) -> Any:
        return data * 2


def listen(event: Event, context: Context) -> None:
    context.components["store"].rows.append(event.name)


def cost(
    node_index: int, nodes: int, partition: str, seed: int, dtype: str, *, a: float = 1.0
) -> Any:
    return ("cost", node_index, nodes, partition, seed, dtype, a)


@p2pdo.participant
def fit(me: Any, *, rate: float = 0.1) -> None: ...


NOTHING = 3
