"""One node trains in two processes that average their gradients with torch.distributed.

The executor's handler runs in both ranks with the same task. Each takes its half of the data and
gloo averages the gradients, as DistributedDataParallel does; so both walk the path of one process
that has all of the data, and the result is its result.

    pip install 'p2pdo[torch]' && python examples/worker_processes.py
"""

import asyncio
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import p2pdo
from p2pdo.reporting.curves import Curve, plot_curves

CONFIGURATION = f"""
[executors.trainer]
path = "{Path(__file__).resolve()}:Trainer"
args = {{ rows = 400 }}
processes = 2
"""


class Trainer(p2pdo.Executor):
    def __init__(self, rows: int) -> None:
        dist.init_process_group("gloo")  # rank, world size and address are in the environment
        draw = torch.Generator().manual_seed(0)
        self.a = torch.randn(rows, 5, generator=draw, dtype=torch.float64)
        self.b = torch.randn(rows, generator=draw, dtype=torch.float64)

    @p2pdo.task
    def train(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        a = self.a[context.rank :: context.world_size]
        b = self.b[context.rank :: context.world_size]
        x = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        losses = []
        for step in range(task.payload["steps"]):
            context.abort.check()
            loss = ((a @ x - b) ** 2).mean()
            (gradient,) = torch.autograd.grad(loss, x)
            dist.all_reduce(gradient)
            with torch.no_grad():
                x -= task.payload["rate"] * gradient / context.world_size
            losses.append(loss.item())
            if step % 50 == 0:
                print(f"step {step}: loss {loss.item():.6f}")  # into the log of this rank
        return {"x": x.detach().numpy(), "ranks": context.world_size, "losses": losses}

    @p2pdo.task
    def solve(self, task: p2pdo.Task) -> object:
        return np.linalg.lstsq(self.a.numpy(), self.b.numpy(), rcond=None)[0]


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "p2pdo.toml"
        config.write_text(CONFIGURATION)
        async with p2pdo.local(nodes=1, config=config) as net, net.driver() as tasks:
            trained = await tasks.send_and_wait(
                "train", {"steps": 200, "rate": 0.1}, to="node-0", deadline=120
            )
            exact = await tasks.send_and_wait("solve", None, to="node-0", deadline=120)
    result = trained.unwrap()
    distance = np.abs(result["x"] - exact.unwrap()).max()
    print(f"{result['ranks']} ranks, distance to the least-squares solution {distance:.1e}")
    assert result["ranks"] == 2
    assert distance < 1e-9
    losses = np.array(result["losses"])[:, None]
    curve = Curve("rank 0's half", np.arange(len(losses)), losses)
    plot_curves([curve], "worker_processes.png", "Two ranks", "loss of least squares", along="step")


if __name__ == "__main__":
    asyncio.run(main())
