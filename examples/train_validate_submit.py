"""Tasks without an algorithm: three sites train, are averaged, validate and hand in their models.

The flow of NVFlare's hello-numpy, as plain functions: who drives sends tasks by name, and each
site's executor does them on its own rows.
"""

import asyncio

import numpy as np

import p2pdo
from p2pdo.reporting.curves import Curve, plot_curves
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


async def validated(tasks: p2pdo.Tasks, model: Array) -> list[float]:
    """The model's mean squared error at each site, in the order of the sites."""
    return [result.unwrap() for result in await tasks.broadcast_and_wait("validate", model)]


async def average(tasks: p2pdo.Tasks, rounds: int) -> tuple[Array, list[list[float]]]:
    """Federated averaging, weighted by rows; the model, and every round's errors."""
    model = np.zeros(3)
    errors = [await validated(tasks, model)]
    for _ in range(rounds):
        results = await tasks.broadcast_and_wait(
            "train", {"model": model, "steps": 10}, min_responses=2, deadline=60
        )
        answers = [result.value for result in results if result.is_ok]
        rows = sum(answer["rows"] for answer in answers)
        model = sum(answer["model"] * answer["rows"] for answer in answers) / rows
        errors.append(await validated(tasks, model))
    return model, errors


async def main() -> None:
    async with p2pdo.local(nodes=3, executors={"site": Site}) as net, net.driver() as tasks:
        model, errors = await average(tasks, rounds=5)
        print("averaged model", model)
        for node, error in zip(tasks.nodes, errors[-1], strict=True):
            print(f"{node}: mean squared error {error:.1e}")
            assert error < 1e-3
        for result in await tasks.broadcast_and_wait("submit_model"):
            assert np.linalg.norm(result.unwrap() - TRUE) < 0.1
        assert np.linalg.norm(model - TRUE) < 0.05
    curve = Curve("averaged model", np.arange(len(errors)), np.array(errors))
    subtitle = "mean squared error at the sites: mean, and best to worst"
    plot_curves([curve], "train_validate_submit.png", "Averaging", subtitle, along="round")


if __name__ == "__main__":
    asyncio.run(main())
