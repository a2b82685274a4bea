"""Tasks by name: each site trains on its own rows. Run it: python PROJECT.py"""

import asyncio

import numpy as np

import p2pdo


class Trainer(p2pdo.Executor):
    def __init__(self, rows: int = 100) -> None:  # made for each workload; arguments: p2pdo.toml
        rng = np.random.default_rng()
        self.rows = rng.normal(size=(rows, 3))  # this site's private data

    @p2pdo.task
    def train(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        weights = np.asarray(task.payload)
        for _ in range(10):
            context.abort.check()  # lets a deadline or a stop end this loop
            weights = weights + 0.1 * (self.rows.mean(axis=0) - weights)
        return weights


async def average(tasks: p2pdo.Tasks, rounds: int) -> np.ndarray:
    weights = np.zeros(3)
    for _ in range(rounds):
        results = await tasks.broadcast_and_wait("train", weights, min_responses=2, deadline=60)
        weights = np.mean([result.value for result in results if result.is_ok], axis=0)
    return weights


async def main() -> None:
    async with p2pdo.local(nodes=3, executors={"trainer": Trainer}) as net, net.driver() as tasks:
        print(await average(tasks, rounds=3))


if __name__ == "__main__":
    asyncio.run(main())
