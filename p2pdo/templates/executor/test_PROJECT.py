import asyncio

import p2pdo
from PROJECT import Trainer, average


def test_three_sites_train_and_are_averaged():
    async def main():
        async with p2pdo.local(nodes=3, executors={"trainer": Trainer}) as net:
            async with net.driver() as tasks:
                return await average(tasks, rounds=2)

    assert abs(asyncio.run(main())).max() < 0.5
