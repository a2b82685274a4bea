"""A training loop of one's own; what it mixes goes to neighbours only. Run it: python PROJECT.py"""

import asyncio

import numpy as np

import p2pdo


@p2pdo.participant
def train(me, *, step_size=0.1, local_steps=5):
    rng = np.random.default_rng([me.seed, me.node])
    rows = rng.normal(size=(50, 3)) + me.node  # this site's private data
    x = np.zeros(3)
    for _ in me.rounds():
        for _ in range(local_steps):
            x = x - step_size * (x - rows.mean(axis=0))
        x = me.mix(x)
        me.log(distance=float(np.linalg.norm(x - rows.mean(axis=0))))
    return {"x": x.tolist()}


async def solve(rounds=100):
    async with p2pdo.local(nodes=6, topology="ring") as net:
        run = await net.submit(train, rounds=rounds, parameters={"step_size": 0.01})
        async for metric in run.metrics(every=20):
            print(metric.iteration, metric.logged["distance"])
        return (await run.result()).results


if __name__ == "__main__":
    for node, result in asyncio.run(solve()).items():
        print(node, result["x"])
