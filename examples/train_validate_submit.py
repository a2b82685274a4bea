"""Tasks without an algorithm: three sites train, are averaged, validate and hand in their models.

The flow of NVFlare's hello-numpy, as plain functions: who drives sends tasks by name, and each
site's executor does them on its own rows.
"""

import asyncio

import numpy as np

import p2pdo
from p2pdo.types import Array

TRUE = np.array([1.0, -2.0, 0.5])


class Site(p2pdo.Executor):
    """Least squares on rows that stay here."""

    def __init__(self, rows: int = 200) -> None:
        rng = np.random.default_rng()
        self.features = rng.normal(size=(rows, 3))
        self.labels = self.features @ TRUE + 0.01 * rng.normal(size=rows)
        self.best = np.inf
        self.model: Array | None = None

    def loss(self, model: Array) -> float:
        return float(np.mean((self.features @ model - self.labels) ** 2))

    @p2pdo.task
    def train(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        model = task.payload["model"]
        for _ in range(task.payload["steps"]):
            context.abort.check()
            residual = self.features @ model - self.labels
            model = model - 0.1 * self.features.T @ residual / len(residual)
        if self.loss(model) < self.best:
            self.best, self.model = self.loss(model), model
            context.fire_event("new_best_model", loss=self.best)
        return {"model": model, "rows": len(self.labels)}

    @p2pdo.task
    def validate(self, task: p2pdo.Task) -> object:
        return self.loss(task.payload)

    @p2pdo.task
    def submit_model(self, _task: p2pdo.Task) -> object:
        return self.model


async def average(tasks: p2pdo.Tasks, rounds: int) -> Array:
    """Federated averaging, weighted by rows."""
    model = np.zeros(3)
    for _ in range(rounds):
        results = await tasks.broadcast_and_wait(
            "train", {"model": model, "steps": 10}, min_responses=2, deadline=60
        )
        answers = [result.value for result in results if result.is_ok]
        rows = sum(answer["rows"] for answer in answers)
        model = sum(answer["model"] * answer["rows"] for answer in answers) / rows
    return model


async def main() -> None:
    async with p2pdo.local(nodes=3, executors={"site": Site}) as net, net.driver() as tasks:
        model = await average(tasks, rounds=5)
        print("averaged model", model)
        async for result in await tasks.broadcast("validate", model):
            print(f"{result.node}: mean squared error {result.unwrap():.1e}")
            assert result.value < 1e-3
        for result in await tasks.broadcast_and_wait("submit_model"):
            assert np.linalg.norm(result.unwrap() - TRUE) < 0.1
        assert np.linalg.norm(model - TRUE) < 0.05


if __name__ == "__main__":
    asyncio.run(main())
