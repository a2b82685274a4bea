"""Two drivers at once over overlapping nodes: each has a client of its own at every node.

Nodes 0 to 3 are asked by one driver, nodes 2 to 5 by another. At nodes 2 and 3 both have work; the
slow tasks of the one do not hold up the quick ones of the other.
"""

import asyncio
import time

import numpy as np

import p2pdo
from p2pdo.reporting.curves import Curve, plot_curves


class Worker(p2pdo.Executor):
    def __init__(self) -> None:
        self.count = 0

    @p2pdo.task
    def work(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        context.abort.wait(task.payload)  # a plain handler has its workload's own thread
        self.count += 1
        return self.count


async def drive(name: str, tasks: p2pdo.Tasks, seconds: float, rounds: int) -> Curve:
    """How many rounds were done after so many milliseconds."""
    began = time.monotonic()
    ended = [0.0]
    for number in range(1, rounds + 1):
        results = await tasks.broadcast_and_wait("work", seconds)
        assert [result.unwrap() for result in results] == [number] * len(tasks.nodes)
        ended.append(time.monotonic() - began)
    print(f"{name}: {rounds} rounds on {', '.join(tasks.nodes)} in {ended[-1]:.2f} s")
    return Curve(name, 1e3 * np.array(ended), np.arange(rounds + 1.0)[:, None])


async def main() -> None:
    async with (
        p2pdo.local(nodes=6, executors={"worker": Worker}) as net,
        net.driver([f"node-{i}" for i in range(4)]) as slow,
        net.driver([f"node-{i}" for i in range(2, 6)]) as quick,
    ):
        curves = await asyncio.gather(
            drive("slow", slow, 0.5, rounds=4), drive("quick", quick, 0.01, rounds=20)
        )
    slow_took, quick_took = (curve.iterations[-1] for curve in curves)
    assert quick_took < slow_took  # it would take longer if it waited for the other's tasks
    subtitle = "rounds of two drivers over six nodes, two of which have work of both"
    plot_curves(curves, "two_drivers.png", "Two drivers", subtitle, along="milliseconds")


if __name__ == "__main__":
    asyncio.run(main())
